// Draws the live view in place, twice a second, and keeps the last log lines for it. The terminal is left as it was found.
import type { WriteStream } from "node:tty";
import type { LogSink } from "../../observe/log.ts";

export class Terminal implements LogSink {
  readonly #out: WriteStream;
  #drawn = 0;
  #released = false;
  readonly log: string[] = [];

  constructor(out: WriteStream) {
    this.#out = out;
    out.write("\u001b[?25l"); // no cursor in the middle of the picture
    out.on("resize", this.#clear);
  }

  get columns(): number {
    return this.#out.columns || 80;
  }

  get rows(): number {
    return this.#out.rows || 24;
  }

  draw(lines: readonly string[]): void {
    if (this.#released) return;
    const shown = lines.slice(0, Math.max(1, this.rows - 1));
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : "";
    this.#out.write(`${up}${shown.map((line) => `\u001b[2K${line}\n`).join("")}\u001b[J`);
    this.#drawn = shown.length;
  }

  /** No more pictures: the last one stays, and log lines follow below it. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#out.off("resize", this.#clear);
    this.#out.write("\u001b[?25h");
  }

  // log lines go into the picture, not between its lines
  write(text: string): void {
    if (this.#released) {
      this.#out.write(text);
      return;
    }
    this.log.push(...text.split("\n").filter((line) => line !== ""));
    this.log.splice(0, this.log.length - 20);
  }

  flush(): void {}

  flushSync(): void {}

  /** Another width breaks lines anew: where the picture begins is not known any more. */
  readonly #clear = (): void => {
    this.#out.write("\u001b[H\u001b[2J");
    this.#drawn = 0;
  };
}
