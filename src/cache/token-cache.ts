// Tokens of prompts that were read before, by a digest of what they were made from: the least recently used go first, and all
// together stay within a bound in bytes. Pure.

/** What an entry takes besides its tokens. */
const entryBytes = 200;

export class TokenCache {
  readonly #maxBytes: number;
  /** In the order of their use. */
  readonly #entries = new Map<string, Uint32Array>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Uint32Array | undefined {
    const tokens = this.#entries.get(key);
    if (tokens === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, tokens);
    return tokens;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  set(key: string, tokens: Uint32Array): void {
    this.delete(key);
    if (tokens.byteLength + entryBytes > this.#maxBytes) return;
    this.#entries.set(key, tokens);
    this.#bytes += tokens.byteLength + entryBytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const tokens = this.#entries.get(key);
    if (tokens === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= tokens.byteLength + entryBytes;
  }
}
