// How far long work is: a bar that is drawn over on a terminal, a line now and then where the output goes into a file. Writes
// to standard error, so that the result can be piped.

const barWidth = 28;
const drawEveryMs = 100;
const lineEveryShare = 0.1;

export interface ProgressBar {
  /** @param share 0 to 1 @param text what is at work */
  update(share: number, text: string): void;
  /** Takes the bar away. */
  end(): void;
}

export interface ProgressOutput {
  readonly isTTY: boolean;
  readonly columns: number;
  write(text: string): void;
}

export function progressBar(out: ProgressOutput, nowMs: () => number): ProgressBar {
  const startMs = nowMs();
  let drawnMs = Number.NEGATIVE_INFINITY;
  let told = 0;
  let drawn = false;
  return {
    update(share, text) {
      const percent = `${Math.floor(share * 100)}`.padStart(3);
      if (!out.isTTY) {
        if (share < told + lineEveryShare) return;
        told = share;
        out.write(`${percent} % ${text}\n`);
        return;
      }
      const now = nowMs();
      if (now - drawnMs < drawEveryMs) return;
      drawnMs = now;
      const done = Math.round(share * barWidth);
      const left = share > 0.02 ? `, ${duration(((now - startMs) / share) * (1 - share))} left` : "";
      const line = `${"█".repeat(done)}${"░".repeat(barWidth - done)} ${percent} %${left}  ${text}`;
      out.write(`\r\u001b[K${line.slice(0, Math.max(20, out.columns - 1))}`);
      drawn = true;
    },
    end() {
      if (drawn) out.write("\r\u001b[K");
    },
  };
}

function duration(ms: number): string {
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}
