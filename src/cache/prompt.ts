// A prompt as the cache views compare it: a chain of hashes over its canonical form, one per whole block, where each hash
// covers all blocks before it. Equal hashes at equal places mean an equal prefix. It holds no text.
import type { TokenPrompt } from "./token-blocks.ts";

export interface Prompt {
  /** Length of the canonical form, in the unit that `blockSize` counts: bytes in the router, tokens in the lab. */
  readonly length: number;
  /** Two 32-bit halves for each block that was hashed. */
  readonly hashes: Uint32Array;
  /** Blocks in `hashes`; what is behind them is taken for new. */
  readonly blocks: number;
  /** Length of one block. */
  readonly blockSize: number;
  /** Length of one token in that unit: learnt for text, known for token ids. */
  readonly perToken: number;
  /** Token ids where they are known (a prompt of ids, or a tokenizer has been asked). */
  readonly tokenIds: ArrayLike<number> | null;
  /** The same as blocks of tokens, for the index of what engines say they hold; absent = its tokens are not known. */
  readonly byTokens?: TokenPrompt;
  /** Hash of what names the conversation (up to its first question): the same in all of its turns. 0 = there is none. */
  readonly anchor: number;
  /** A match of so much and more is this conversation's own: it reaches beyond what many begin with. In the unit of `length`. */
  readonly ownFrom: number;
  /** It holds an answer already: its earlier turns were served by some engine. */
  readonly continued: boolean;
}

/** Tokens of the whole prompt, as far as can be told; at least 1. */
export function promptTokens(prompt: Prompt): number {
  if (prompt.tokenIds !== null) return Math.max(1, prompt.tokenIds.length);
  return Math.max(1, Math.round(prompt.length / prompt.perToken));
}

/**
 * A prompt whose blocks are already known by ids, as in a trace: equal ids at equal places are an equal prefix.
 * @param ids one per block
 * @param blockSize tokens in a block; the prompt's unit is the token
 * @param tokens length of the prompt; a last block that it does not fill is no block
 */
export function promptOfBlockIds(ids: ArrayLike<number>, blockSize: number, tokens: number): Prompt {
  const blocks = Math.min(ids.length, Math.floor(tokens / blockSize));
  const hashes = new Uint32Array(blocks * 2);
  let lo = 0x9e3779b1;
  let hi = 0x85ebca77;
  for (let i = 0; i < blocks; i++) {
    const id = ids[i] ?? 0;
    lo = mix(lo ^ (id | 0), hi);
    hi = mix(hi + Math.trunc(id / 2 ** 32) + 1, lo);
    hashes[2 * i] = lo;
    hashes[2 * i + 1] = hi;
  }
  return {
    length: tokens,
    hashes,
    blocks,
    blockSize,
    perToken: 1,
    tokenIds: null,
    anchor: 0,
    ownFrom: 0,
    continued: false,
  };
}

/** 32 bits from two times 32 (the finaliser of MurmurHash3, Appleby, public domain). */
export function mix(a: number, b: number): number {
  let h = Math.imul(a, 0xcc9e2d51) ^ ((b << 13) | (b >>> 19));
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
