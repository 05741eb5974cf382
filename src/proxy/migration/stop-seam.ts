// Finds a stop string of which one engine has said the beginning and another one says the end: neither can see it. Pure. vLLM
// holds back what may be the beginning, but not where the stop string is to stay in the text, and other engines may not at all.

export interface StopSeam {
  /** What may go to the client now. */
  readonly text: string;
  /** The stop string that is complete, and ends the answer. */
  readonly stop: string | null;
}

export class StopScan {
  readonly #stops: readonly string[];
  readonly #includes: boolean;
  /** Text before the seam that a stop string may begin in. */
  readonly #before: string;
  readonly #longest: number;
  /** Text since the seam, and how much of it has been given. */
  #after = "";
  #given = 0;

  /** @param includes the stop string stays in the text */
  constructor(stops: readonly string[], includes: boolean, begun: string) {
    this.#stops = stops;
    this.#includes = includes;
    this.#longest = stops.reduce((longest, stop) => Math.max(longest, stop.length), 0);
    this.#before = this.#longest > 1 ? begun.slice(-(this.#longest - 1)) : "";
  }

  /** Adds what the second engine says. */
  push(text: string): StopSeam {
    if (this.#before === "" || this.#after.length >= this.#longest) return { text, stop: null };
    this.#after += text;
    const joined = this.#before + this.#after;
    const stop = this.#complete(joined);
    if (stop !== null) {
      const end = stop.at + stop.text.length - this.#before.length;
      return { text: this.#includes ? this.#after.slice(this.#given, end) : "", stop: stop.text };
    }
    return { text: this.#give(this.#includes || !this.#isOpen(joined)), stop: null };
  }

  /** What was held back, once nothing follows. */
  rest(): string {
    return this.#give(true);
  }

  #give(all: boolean): string {
    if (!all) return "";
    const text = this.#after.slice(this.#given);
    this.#given = this.#after.length;
    return text;
  }

  /** The first stop string that lies across the seam. */
  #complete(joined: string): { at: number; text: string } | null {
    let found: { at: number; text: string } | null = null;
    for (const text of this.#stops) {
      const from = Math.max(0, this.#before.length - text.length + 1);
      const at = joined.indexOf(text, from);
      if (at < 0 || at >= this.#before.length) continue;
      if (found === null || at < found.at) found = { at, text };
    }
    return found;
  }

  /** Whether what was said up to now may be the beginning of a stop string that begins before the seam. */
  #isOpen(joined: string): boolean {
    for (let at = 0; at < this.#before.length; at++) {
      const rest = joined.slice(at);
      if (this.#stops.some((stop) => stop.length > rest.length && stop.startsWith(rest))) return true;
    }
    return false;
  }
}
