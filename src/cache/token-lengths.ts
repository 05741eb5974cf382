// How many bytes of canonical prompt a token takes, per model: learnt from what engines count, so that no tokenizer is needed.
// It forgets slowly, since a model's users change.

/** English text on today's vocabularies. */
const priorBytes = 4;
/** Weight of the prior, in tokens. */
const priorTokens = 2_000;
/** Older tokens lose half of their weight after so many new ones. */
const halfLifeTokens = 500_000;
const leastBytes = 0.5;
const mostBytes = 16;

interface Sums {
  bytes: number;
  tokens: number;
}

export class TokenLengths {
  readonly #models = new Map<string, Sums>();

  /** Bytes of a token of the model. */
  of(model: string): number {
    const sums = this.#models.get(model);
    return sums === undefined ? priorBytes : sums.bytes / sums.tokens;
  }

  /** An engine counted `tokens` in a prompt of so many canonical bytes. */
  learn(model: string, bytes: number, tokens: number): void {
    if (!(tokens > 0) || !(bytes > 0)) return;
    const perToken = bytes / tokens;
    // what no text has (an image that counts as thousands of tokens) must not spoil it for all others
    if (perToken < leastBytes || perToken > mostBytes) return;
    let sums = this.#models.get(model);
    if (sums === undefined) {
      sums = { bytes: priorBytes * priorTokens, tokens: priorTokens };
      this.#models.set(model, sums);
    }
    const keep = 2 ** (-tokens / halfLifeTokens);
    sums.bytes = sums.bytes * keep + bytes;
    sums.tokens = sums.tokens * keep + tokens;
  }
}
