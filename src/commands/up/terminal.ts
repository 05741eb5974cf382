// Draws the live view in place, twice a second, and keeps the last log lines for it. The terminal is left as it was found.
import type { WriteStream } from "node:tty";
import type { LogSink } from "../../observe/log.ts";

export class Terminal implements LogSink {
  readonly #out: WriteStream;
  #drawn = 0;
  readonly log: string[] = [];

  constructor(out: WriteStream) {
    this.#out = out;
    out.write("\u001b[?25l"); // no cursor in the middle of the picture
  }

  get columns(): number {
    return this.#out.columns || 80;
  }

  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, Math.max(1, (this.#out.rows || 24) - 1));
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : "";
    this.#out.write(`${up}${shown.map((line) => `\u001b[2K${line}\n`).join("")}\u001b[J`);
    this.#drawn = shown.length;
  }

  close(): void {
    this.#out.write("\u001b[?25h");
  }

  // log lines go into the picture, not between its lines
  write(text: string): void {
    this.log.push(...text.split("\n").filter((line) => line !== ""));
    this.log.splice(0, this.log.length - 20);
  }

  flush(): void {}

  flushSync(): void {}
}
