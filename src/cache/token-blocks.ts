// Hashes of the full blocks of a prompt's tokens, each covering all before it. The exact index hashes tokens itself, of
// prompts and of events alike, so that an engine's own algorithm, seed and version do not matter. Pure.
import { blockKeyText } from "./kv-events/decode.ts";

/** A hash as two 32-bit halves, never both 0. The root stands before the first block. */
export interface ChainHash {
  lo: number;
  hi: number;
}

export const rootHash: Readonly<ChainHash> = { lo: 0, hi: 0 };

const prime1 = 0x9e3779b1 | 0;
const prime2 = 0x85ebca77 | 0;
const prime3 = 0xc2b2ae3d | 0;

/**
 * Moves `chain` from the hash of the block before to that of the block `tokens[from, to)`.
 * @param key text of what else its content depends on; null = nothing
 */
export function chainBlock(
  chain: ChainHash,
  key: string | null,
  tokens: ArrayLike<number>,
  from: number,
  to: number,
): void {
  let a = chain.lo ^ prime3;
  let b = (chain.hi + prime1) | 0;
  if (key !== null) {
    for (let at = 0; at < key.length; at++) {
      const unit = key.charCodeAt(at);
      a = Math.imul(a ^ unit, prime2);
      b = Math.imul((b + unit) | 0, prime1) ^ (b >>> 15);
    }
    a = ~a;
  }
  for (let at = from; at < to; at++) {
    const token = tokens[at] ?? 0;
    a = Math.imul(a ^ token, prime1);
    a = (a << 13) | (a >>> 19);
    b = Math.imul((b + Math.imul(token, prime3)) | 0, prime2);
    b = (b << 17) | (b >>> 15);
  }
  a ^= to - from;
  a = Math.imul(a ^ (a >>> 16) ^ b, prime2);
  a = Math.imul(a ^ (a >>> 13), prime3);
  a ^= a >>> 16;
  b = Math.imul(b ^ (b >>> 15) ^ a, prime1);
  b = Math.imul(b ^ (b >>> 13), prime2);
  b ^= b >>> 16;
  chain.lo = a >>> 0;
  chain.hi = b >>> 0;
  if (a === 0 && b === 0) chain.lo = 1;
}

/** The tokens of a prompt with what its blocks depend on besides, and their hashes for each block size that is asked for. */
export class TokenPrompt {
  readonly tokens: ArrayLike<number>;
  readonly #firstKey: string | null;
  readonly #key: string | null;
  readonly #chains = new Map<number, Uint32Array>();

  /**
   * @param adapter name of the adapter that was asked for; null = the plain model
   * @param salt `cache_salt` of the request
   */
  constructor(tokens: ArrayLike<number>, adapter: string | null, salt: string | null) {
    this.tokens = tokens;
    this.#key = blockKeyText(adapter, []);
    // the salt only enters the first block: the others have it through their parent
    this.#firstKey = blockKeyText(adapter, salt === null || salt === "" ? [] : [salt]);
  }

  /** Hashes of its full blocks, two halves each, low half first. */
  chain(blockSize: number): Uint32Array {
    let hashes = this.#chains.get(blockSize);
    if (hashes !== undefined) return hashes;
    const blocks = Math.floor(this.tokens.length / blockSize);
    hashes = new Uint32Array(blocks * 2);
    const chain = { ...rootHash };
    for (let at = 0; at < blocks; at++) {
      chainBlock(chain, at === 0 ? this.#firstKey : this.#key, this.tokens, at * blockSize, (at + 1) * blockSize);
      hashes[at * 2] = chain.lo;
      hashes[at * 2 + 1] = chain.hi;
    }
    this.#chains.set(blockSize, hashes);
    return hashes;
  }
}
