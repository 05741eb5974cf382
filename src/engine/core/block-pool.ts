// The physical KV blocks of one engine: reference counts, the prefix map, and the LRU free list. Stands under the
// sequence cache; pure. It must never hand out a block that is referenced, nor lose one: free + referenced = usable.

import type { BlockHash } from "./block-hash.ts";

/** Told about every full block that enters or leaves the prefix map; the source of KV events. */
export interface BlockObserver {
  removed?(hash: BlockHash): void;
}

const none = -1;

/**
 * Blocks are numbers from 1 to `total - 1`; block 0 is vLLM's reserved null block and is never handed out. A freed
 * block keeps its hash and can be found again until it is taken for something else.
 */
export class BlockPool {
  readonly total: number;
  readonly #refs: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #hashes: (BlockHash | undefined)[];
  // Mostly one block per hash. Two happen when a prompt of exactly k blocks recomputes its last one.
  readonly #byHash = new Map<BlockHash, number | number[]>();
  readonly #observer: BlockObserver;
  #head = none;
  #tail = none;
  #free = 0;

  constructor(total: number, observer: BlockObserver = {}) {
    if (!Number.isInteger(total) || total < 2) throw new RangeError(`a KV cache needs at least 2 blocks, got ${total}`);
    this.total = total;
    this.#observer = observer;
    this.#refs = new Int32Array(total);
    this.#next = new Int32Array(total).fill(none);
    this.#previous = new Int32Array(total).fill(none);
    this.#hashes = [];
    for (let block = 1; block < total; block++) this.#append(block);
  }

  /** Blocks that can be taken: unreferenced ones, whether or not they still hold a reusable prefix. */
  get free(): number {
    return this.#free;
  }

  get usable(): number {
    return this.total - 1;
  }

  get used(): number {
    return this.usable - this.#free;
  }

  /** How many distinct prefixes can be reused now. */
  get cached(): number {
    return this.#byHash.size;
  }

  refs(block: number): number {
    return this.#refs[block] ?? 0;
  }

  /** A block that holds this hash, or undefined. */
  find(hash: BlockHash): number | undefined {
    const found = this.#byHash.get(hash);
    return typeof found === "object" ? found[0] : found;
  }

  /** Takes one more reference on a block found by {@link find}. */
  acquire(block: number): void {
    if (this.refs(block) === 0) this.#unlink(block);
    this.#refs[block] = this.refs(block) + 1;
  }

  /** Takes the least recently freed block; what it held is forgotten. The caller has checked {@link free}. */
  take(): number {
    const block = this.#head;
    if (block === none) throw new Error("took a block from an empty pool");
    this.#unlink(block);
    this.#forget(block);
    this.#refs[block] = 1;
    return block;
  }

  /** Makes a full block findable. */
  publish(block: number, hash: BlockHash): void {
    if (this.#hashes[block] !== undefined) return;
    this.#hashes[block] = hash;
    const known = this.#byHash.get(hash);
    if (known === undefined) this.#byHash.set(hash, block);
    else if (typeof known === "object") known.push(block);
    else this.#byHash.set(hash, [known, block]);
  }

  /**
   * Drops one reference of each block, last block first: a prefix is worth more than its tail, so the tail must be the
   * first to be taken. A block that holds no prefix is worth nothing and goes to the front, as recorded.
   */
  release(blocks: readonly number[]): void {
    let last = none;
    for (let at = blocks.length - 1; at >= 0; at--) {
      const block = blocks[at] ?? 0;
      const refs = this.refs(block) - 1;
      if (refs < 0) throw new Error(`block ${block} was released more often than acquired`);
      this.#refs[block] = refs;
      if (refs > 0) continue;
      if (this.#hashes[block] !== undefined) this.#append(block);
      else {
        this.#insertAfter(last, block);
        last = block;
      }
    }
  }

  /** Forgets every prefix; only possible while nothing is referenced. */
  reset(): boolean {
    if (this.used > 0) return false;
    this.#byHash.clear();
    this.#hashes.length = 0;
    return true;
  }

  #forget(block: number): void {
    const hash = this.#hashes[block];
    if (hash === undefined) return;
    this.#hashes[block] = undefined;
    const known = this.#byHash.get(hash);
    if (typeof known === "object") {
      known.splice(known.indexOf(block), 1);
      if (known.length === 0) this.#byHash.delete(hash);
    } else {
      this.#byHash.delete(hash);
    }
    this.#observer.removed?.(hash);
  }

  /** Puts a block behind another of the free list, or at its head. */
  #insertAfter(previous: number, block: number): void {
    const next = previous === none ? this.#head : (this.#next[previous] ?? none);
    this.#previous[block] = previous;
    this.#next[block] = next;
    if (previous === none) this.#head = block;
    else this.#next[previous] = block;
    if (next === none) this.#tail = block;
    else this.#previous[next] = block;
    this.#free++;
  }

  #append(block: number): void {
    this.#previous[block] = this.#tail;
    this.#next[block] = none;
    if (this.#tail === none) this.#head = block;
    else this.#next[this.#tail] = block;
    this.#tail = block;
    this.#free++;
  }

  #unlink(block: number): void {
    const previous = this.#previous[block] ?? none;
    const next = this.#next[block] ?? none;
    if (previous === none) this.#head = next;
    else this.#next[previous] = next;
    if (next === none) this.#tail = previous;
    else this.#previous[next] = previous;
    this.#free--;
  }
}
