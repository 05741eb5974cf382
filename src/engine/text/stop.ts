// Puts generated pieces together and finds stop strings in them, as vLLM's detokenizer does. Pure. Text that may be the
// beginning of a stop string must be held back: once it is sent it cannot be taken again.

export class StopScanner {
  readonly #stops: readonly string[];
  readonly #include: boolean;
  readonly #holdBack: number;
  #text = "";
  #sent = 0;
  /** The stop string that ended the text, or null. */
  matched: string | null = null;

  constructor(stops: readonly string[], includeInOutput: boolean) {
    this.#stops = stops;
    this.#include = includeInOutput;
    this.#holdBack = includeInOutput ? 0 : stops.reduce((longest, stop) => Math.max(longest, stop.length - 1), 0);
  }

  /** Text so far, cut at the stop string if one was found. */
  get text(): string {
    return this.#text;
  }

  /** Adds a piece and gives what may be sent now. Sets {@link matched} when a stop string is complete. */
  push(piece: string, mayStop: boolean): string {
    const before = this.#text.length;
    this.#text += piece;
    if (mayStop && this.#stops.length > 0) this.#scan(before);
    if (this.matched !== null) return this.rest();
    const until = Math.max(this.#sent, this.#text.length - this.#holdBack);
    const delta = this.#text.slice(this.#sent, until);
    this.#sent = until;
    return delta;
  }

  /** What was held back, once nothing can follow. */
  rest(): string {
    const delta = this.#text.slice(this.#sent);
    this.#sent = this.#text.length;
    return delta;
  }

  #scan(before: number): void {
    for (const stop of this.#stops) {
      const at = this.#text.indexOf(stop, Math.max(0, before - stop.length + 1));
      if (at < 0) continue;
      this.matched = stop;
      this.#text = this.#text.slice(0, this.#include ? at + stop.length : at);
      return;
    }
  }
}
