// Times between the reads of a stream, without asking the clock at each: a few times a second, and at the end, it is looked
// how many reads there were since the last look, and the time is shared out among them. A silence that is longer than that is
// measured as one.
import type { Distribution } from "../observe/series.ts";

export class StreamPace {
  readonly #gaps: Distribution;
  #reads: number;
  /** The last look that found something. */
  #sinceMs: number;
  #lookedMs: number;

  /** @param reads so far, at the first event */
  constructor(gaps: Distribution, reads: number, nowMs: number) {
    this.#gaps = gaps;
    this.#reads = reads;
    this.#sinceMs = nowMs;
    this.#lookedMs = nowMs;
  }

  look(reads: number, nowMs: number): void {
    const count = reads - this.#reads;
    if (count > 0) {
      const eachMs = (nowMs - this.#lookedMs) / count;
      // whole looks without a read came before the first of these
      this.#gaps.observe((this.#lookedMs - this.#sinceMs + eachMs) / 1000);
      if (count > 1) this.#gaps.observeMany(eachMs / 1000, count - 1);
      this.#reads = reads;
      this.#sinceMs = nowMs;
    }
    this.#lookedMs = nowMs;
  }

  /** The client holds the engine back: that is no time of the engine's. */
  skip(reads: number, nowMs: number): void {
    this.#reads = reads;
    this.#sinceMs = nowMs;
    this.#lookedMs = nowMs;
  }
}
