// Chained hashes of KV blocks: a block is known by its parent's hash, its own tokens, and what else its content depends
// on (adapter, cache salt). Used by the cache; pure. It must never depend on a process: equal input, equal hash, always.

/** Identity of a full block. Any value that works as a Map key, so that a byte-exact hash can replace the fast one. */
export type BlockHash = number | string;

/**
 * Hash of the block `tokens[from, to)`, whose parent is `parent` (null for the first block of a sequence). `extra` is
 * null or names the adapter and salt.
 */
export type BlockHasher = (
  parent: BlockHash | null,
  tokens: readonly number[],
  from: number,
  to: number,
  extra: string | null,
) => BlockHash;

const lowSeed = 0x9e3779b9;
const highSeed = 0x85ebca6b;

function finish(lane: number): number {
  let h = lane ^ (lane >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * The default: 53 bits in a plain number, two murmur-like lanes. Fast enough for an hour of trace in the lab, wide
 * enough that a million blocks collide with a probability under 1e-4.
 */
export const fastBlockHash: BlockHasher = (parent, tokens, from, to, extra) => {
  const above = typeof parent === "number" ? parent : parent === null ? 0x1505 : textHash(parent);
  let low = Math.imul(lowSeed ^ (above >>> 0), 0xcc9e2d51);
  let high = Math.imul(highSeed ^ Math.floor(above / 0x1_0000_0000), 0x1b873593);
  if (extra !== null) {
    const mixed = textHash(extra);
    low = Math.imul(low ^ (mixed >>> 0), 0x2c1b3c6d);
    high = Math.imul(high ^ Math.floor(mixed / 0x1_0000_0000), 0x297a2d39);
  }
  for (let at = from; at < to; at++) {
    const token = tokens[at] ?? 0;
    low = Math.imul((low ^ token) + 0x7ed55d16, 0x5bd1e995);
    low ^= low >>> 15;
    high = Math.imul((high + token) ^ 0x165667b1, 0xd3a2646d);
    high ^= high >>> 13;
  }
  return (finish(high) & 0x1fffff) * 0x1_0000_0000 + finish(low);
};

/** 53-bit hash of a text. Also used to turn prompts into seeds. */
export function textHash(text: string): number {
  let low = lowSeed;
  let high = highSeed;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    low = Math.imul(low ^ unit, 0x01000193);
    high = Math.imul(high ^ unit, 0x5bd1e995) ^ (high >>> 15);
  }
  return (finish(high) & 0x1fffff) * 0x1_0000_0000 + finish(low);
}
