// Gives sequences their KV blocks: prefix lookup at admission, growth while computing, release at the end. Between the
// scheduler and the block pool; pure. It must never count a block as hit that the sequence would have to compute.

import type { BlockHash, BlockHasher } from "./block-hash.ts";
import type { BlockPool } from "./block-pool.ts";
import type { Sequence } from "./sequence.ts";

/** Full blocks that became findable, in order; the source of a BlockStored event. */
export interface StoredBlocks {
  readonly sequence: Sequence;
  readonly parent: BlockHash | null;
  readonly hashes: readonly BlockHash[];
  /** Index of the first token of the first block in the sequence. */
  readonly fromToken: number;
}

export class SequenceCache {
  readonly #pool: BlockPool;
  readonly #blockSize: number;
  readonly #hasher: BlockHasher;
  readonly #enabled: boolean;
  readonly #stored: ((stored: StoredBlocks) => void) | undefined;

  constructor(
    pool: BlockPool,
    blockSize: number,
    hasher: BlockHasher,
    enabled: boolean,
    stored?: (stored: StoredBlocks) => void,
  ) {
    this.#pool = pool;
    this.#blockSize = blockSize;
    this.#hasher = hasher;
    this.#enabled = enabled;
    this.#stored = stored;
  }

  /**
   * Blocks of the longest cached prefix. At least one token is always left to compute, because the logits of the last
   * token are needed: a fully cached prompt of k blocks hits k - 1.
   */
  lookUp(sequence: Sequence): number[] {
    const hit: number[] = [];
    if (!this.#enabled) return hit;
    const limit = Math.floor((sequence.tokens.length - 1) / this.#blockSize);
    for (let at = 0; at < limit; at++) {
      const block = this.#pool.find(this.#hash(sequence, at));
      if (block === undefined) break;
      hit.push(block);
    }
    return hit;
  }

  /** Admits a waiting sequence on top of its hit blocks, or changes nothing and returns false. */
  admit(sequence: Sequence, hit: readonly number[], newTokens: number): boolean {
    const computed = hit.length * this.#blockSize;
    const needed = this.#blocksFor(computed + newTokens) - hit.length;
    // A hit block that nobody references lies in the free list and leaves it by being used.
    let revived = 0;
    for (const block of hit) if (this.#pool.refs(block) === 0) revived++;
    if (needed + revived > this.#pool.free) return false;
    for (const block of hit) this.#pool.acquire(block);
    sequence.blocks = hit.slice();
    sequence.published = hit.length;
    sequence.computed = computed;
    for (let count = 0; count < needed; count++) sequence.blocks.push(this.#pool.take());
    this.#publish(sequence, computed + newTokens);
    return true;
  }

  /** Gives a running sequence room for its next tokens, or changes nothing and returns false. */
  grow(sequence: Sequence, newTokens: number): boolean {
    const needed = this.#blocksFor(sequence.computed + newTokens) - sequence.blocks.length;
    if (needed > this.#pool.free) return false;
    for (let count = 0; count < needed; count++) sequence.blocks.push(this.#pool.take());
    this.#publish(sequence, sequence.computed + newTokens);
    return true;
  }

  release(sequence: Sequence): void {
    this.#pool.release(sequence.blocks);
    sequence.blocks = [];
    sequence.published = 0;
  }

  #blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.#blockSize);
  }

  /** As vLLM, a block is findable from the step that fills it, so that two equal prompts in one step share it. */
  #publish(sequence: Sequence, tokens: number): void {
    if (!this.#enabled) return;
    const full = Math.floor(tokens / this.#blockSize);
    const from = sequence.published;
    if (full <= from) return;
    for (let at = from; at < full; at++) {
      this.#pool.publish(sequence.blocks[at] ?? 0, this.#hash(sequence, at));
      const inPrompt = (at + 1) * this.#blockSize <= sequence.promptLength;
      if (inPrompt && sequence.preemptions === 0) sequence.createdTokens += this.#blockSize;
    }
    sequence.published = full;
    this.#stored?.({
      sequence,
      parent: from === 0 ? null : (sequence.hashes[from - 1] ?? null),
      hashes: sequence.hashes.slice(from, full),
      fromToken: from * this.#blockSize,
    });
  }

  #hash(sequence: Sequence, at: number): BlockHash {
    const { hashes } = sequence;
    while (hashes.length <= at) {
      const from = hashes.length * this.#blockSize;
      const parent = hashes.length === 0 ? null : (hashes[hashes.length - 1] ?? null);
      const extra = sequence.request.cacheKey ?? null;
      hashes.push(this.#hasher(parent, sequence.tokens, from, from + this.#blockSize, extra));
    }
    return hashes[at] ?? 0;
  }
}
