// The blocks that one endpoint is believed to hold: a hash table and a list by last use, both in typed arrays, as there may be
// millions. A block is never there without those before it, and goes before them: using one moves it, and then each of its
// ancestors, to the young end of the list, so the oldest is always a leaf, which is also what vLLM evicts first.
import type { Prompt } from "./prompt.ts";

const none = -1;
const firstCapacity = 64;
/** In the place of a hash's second half: what was generated, and where a conversation began. */
const isTail = 0xffffffff;
const isBeginning = 0xfffffffe;

/** Six arrays of 4 bytes for each node, and the table. */
function bytesOf(capacity: number): number {
  return capacity * 24 + slotsOf(capacity) * 4;
}

function slotsOf(capacity: number): number {
  return capacity === 0 ? 0 : 2 ** Math.ceil(Math.log2(capacity * 1.5));
}

export class EndpointBlocks {
  #capacity = 0;
  #lo = new Uint32Array(0);
  #hi = new Uint32Array(0);
  #parent = new Int32Array(0);
  #older = new Int32Array(0);
  #younger = new Int32Array(0);
  /** Blocks that a node stands for: 1, or more for generated tokens, which nobody looks up. */
  #size = new Uint32Array(0);
  /** Node + 1; 0 = empty. */
  #table = new Int32Array(0);
  #mask = 0;
  #count = 0;
  #used = 0;
  #oldest = none;
  #youngest = none;
  #free = none;
  #top = 0;
  #tails = 0;

  /** Blocks held. */
  get used(): number {
    return this.#used;
  }

  get nodes(): number {
    return this.#count;
  }

  /** Memory of the arrays. */
  get bytes(): number {
    return bytesOf(this.#capacity);
  }

  /** Whole blocks at the start of the prompt that are here. */
  match(prompt: Prompt): number {
    const { hashes, blocks } = prompt;
    if (this.#count === 0 || blocks === 0 || this.#at(hashes, 0) < 0) return 0;
    if (this.#at(hashes, blocks - 1) >= 0) return blocks;
    // block `low - 1` is here, block `high` is not
    let low = 1;
    let high = blocks - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#at(hashes, middle) >= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether a conversation began here whose first question ended within a block, so that no block tells it from others. */
  began(prompt: Prompt): boolean {
    return this.#count > 0 && this.#find(prompt.anchor, isBeginning) >= 0;
  }

  /**
   * The prompt is computed here: all of its blocks are here now, and are the youngest.
   * @param limit blocks that may be held; what is oldest goes
   * @param mayGrow asked before more memory is taken
   */
  record(prompt: Prompt, limit: number, mayGrow: (bytes: number) => boolean): void {
    const { hashes } = prompt;
    const known = this.match(prompt);
    // the part that would not fit is not entered at all: the engine can't hold it either
    const wanted = Math.min(prompt.blocks, limit);
    let parent = known === 0 ? none : this.#at(hashes, known - 1);
    // Moved to the young end first, so that making room takes others. Until the chain is whole its children are younger than
    // their parents: `guard`, the oldest of it, says where eviction would begin to cut it.
    if (parent >= 0) this.#touchChain(parent);
    let guard = parent;
    for (let i = known; i < wanted; i++) {
      const node = this.#take(limit, mayGrow, guard);
      if (node < 0) break;
      this.#insert(node, hashes[2 * i] ?? 0, hashes[2 * i + 1] ?? 0, parent, 1);
      parent = node;
      if (guard < 0) guard = node;
    }
    if (parent >= 0) this.#touchChain(parent);
    // only where the chain is whole: without it the engine has no use for what comes behind
    if (hidesBeginning(prompt) && parent >= 0 && this.#at(hashes, prompt.blocks - 1) === parent)
      this.#recordBeginning(prompt.anchor, parent, limit, mayGrow);
    while (this.#used > limit && this.#count > 0) this.#evict();
  }

  /**
   * The request has ended: its blocks were in use up to now, and its answer has taken blocks too.
   * @param lo, hi hash of the prompt's last block
   */
  finished(lo: number, hi: number, answerBlocks: number, limit: number, mayGrow: (bytes: number) => boolean): void {
    const leaf = this.#find(lo, hi);
    if (leaf < 0) return;
    this.#touchChain(leaf);
    if (answerBlocks <= 0 || answerBlocks >= limit) return;
    const node = this.#take(limit, mayGrow, leaf);
    if (node >= 0) {
      this.#tails = (this.#tails + 1) >>> 0;
      this.#insert(node, this.#tails, isTail, leaf, answerBlocks);
    }
    this.#touchChain(leaf);
    while (this.#used > limit && this.#count > 0) this.#evict();
  }

  clear(): void {
    this.#rebuild(0);
  }

  /** Gives half of the memory back, with the older half of what is here. */
  halve(): void {
    const keep = Math.max(firstCapacity, this.#capacity >> 1);
    if (keep >= this.#capacity) return;
    while (this.#count > keep) this.#evict();
    this.#rebuild(keep);
  }

  /** The part of a block that the first question fills counts as one: the engine holds it. */
  #recordBeginning(anchor: number, parent: number, limit: number, mayGrow: (bytes: number) => boolean): void {
    const known = this.#find(anchor, isBeginning);
    const node = known >= 0 ? known : this.#take(limit, mayGrow, parent);
    if (node < 0) return;
    if (node === known) this.#touchChain(node);
    else {
      this.#insert(node, anchor, isBeginning, parent, 1);
      this.#touchChain(parent);
    }
  }

  /** A node for one more; none = not even by eviction. `guard` and what is younger must stay. */
  #take(limit: number, mayGrow: (bytes: number) => boolean, guard: number): number {
    if (this.#free < 0 && this.#top >= this.#capacity) {
      const next = Math.max(firstCapacity, Math.min(this.#capacity * 2, Math.ceil(limit * 1.05) + 1));
      if (next > this.#capacity && mayGrow(bytesOf(next) - this.bytes)) this.#grow(next);
      else {
        if (this.#oldest < 0 || this.#oldest === guard) return none;
        this.#evict();
      }
    }
    if (this.#free >= 0) {
      const node = this.#free;
      this.#free = this.#younger[node] ?? none;
      return node;
    }
    return this.#top < this.#capacity ? this.#top++ : none;
  }

  #insert(node: number, lo: number, hi: number, parent: number, size: number): void {
    this.#lo[node] = lo;
    this.#hi[node] = hi;
    this.#parent[node] = parent;
    this.#size[node] = size;
    this.#append(node);
    this.#enter(node);
    this.#count++;
    this.#used += size;
  }

  #enter(node: number): void {
    const table = this.#table;
    let slot = slotOf(this.#lo[node] ?? 0, this.#hi[node] ?? 0) & this.#mask;
    while (table[slot] !== 0) slot = (slot + 1) & this.#mask;
    table[slot] = node + 1;
  }

  /** Makes a node and all before it the youngest, the first block of all last. */
  #touchChain(leaf: number): void {
    for (let node = leaf; node >= 0; node = this.#parent[node] ?? none) {
      this.#unlink(node);
      this.#append(node);
    }
  }

  #append(node: number): void {
    const before = this.#youngest;
    this.#older[node] = before;
    this.#younger[node] = none;
    if (before >= 0) this.#younger[before] = node;
    else this.#oldest = node;
    this.#youngest = node;
  }

  #unlink(node: number): void {
    const older = this.#older[node] ?? none;
    const younger = this.#younger[node] ?? none;
    if (older >= 0) this.#younger[older] = younger;
    else this.#oldest = younger;
    if (younger >= 0) this.#older[younger] = older;
    else this.#youngest = older;
  }

  #evict(): void {
    const node = this.#oldest;
    if (node < 0) return;
    this.#unlink(node);
    this.#remove(node);
    this.#count--;
    this.#used -= this.#size[node] ?? 0;
    this.#younger[node] = this.#free;
    this.#free = node;
  }

  /** Takes a node out of the table and closes the gap (linear probing; Knuth, 6.4, algorithm R). */
  #remove(node: number): void {
    const table = this.#table;
    const mask = this.#mask;
    let slot = slotOf(this.#lo[node] ?? 0, this.#hi[node] ?? 0) & mask;
    while (table[slot] !== node + 1) slot = (slot + 1) & mask;
    let gap = slot;
    for (;;) {
      slot = (slot + 1) & mask;
      const entry = table[slot] ?? 0;
      if (entry === 0) break;
      const home = slotOf(this.#lo[entry - 1] ?? 0, this.#hi[entry - 1] ?? 0) & mask;
      if (((slot - home) & mask) >= ((slot - gap) & mask)) {
        table[gap] = entry;
        gap = slot;
      }
    }
    table[gap] = 0;
  }

  #at(hashes: Uint32Array, block: number): number {
    return this.#find(hashes[2 * block] ?? 0, hashes[2 * block + 1] ?? 0);
  }

  #find(lo: number, hi: number): number {
    const table = this.#table;
    if (table.length === 0) return none;
    let slot = slotOf(lo, hi) & this.#mask;
    for (;;) {
      const entry = table[slot] ?? 0;
      if (entry === 0) return none;
      if (this.#lo[entry - 1] === lo && this.#hi[entry - 1] === hi) return entry - 1;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** More room; nodes keep their places. */
  #grow(capacity: number): void {
    this.#lo = grown(this.#lo, new Uint32Array(capacity));
    this.#hi = grown(this.#hi, new Uint32Array(capacity));
    this.#parent = grown(this.#parent, new Int32Array(capacity));
    this.#older = grown(this.#older, new Int32Array(capacity));
    this.#younger = grown(this.#younger, new Int32Array(capacity));
    this.#size = grown(this.#size, new Uint32Array(capacity));
    this.#capacity = capacity;
    this.#table = new Int32Array(slotsOf(capacity));
    this.#mask = this.#table.length - 1;
    for (let node = this.#oldest; node >= 0; node = this.#younger[node] ?? none) this.#enter(node);
  }

  /** Less room, for at least as many nodes as there are: they get new places, in order of age. 0 forgets all. */
  #rebuild(capacity: number): void {
    const lo = this.#lo;
    const hi = this.#hi;
    const parent = this.#parent;
    const younger = this.#younger;
    const size = this.#size;
    const from = capacity === 0 ? none : this.#oldest;
    const moved = new Int32Array(this.#capacity);
    let place = 0;
    for (let node = from; node >= 0; node = younger[node] ?? none) moved[node] = place++;
    this.#capacity = capacity;
    this.#lo = new Uint32Array(capacity);
    this.#hi = new Uint32Array(capacity);
    this.#parent = new Int32Array(capacity);
    this.#older = new Int32Array(capacity);
    this.#younger = new Int32Array(capacity);
    this.#size = new Uint32Array(capacity);
    this.#table = new Int32Array(slotsOf(capacity));
    this.#mask = this.#table.length - 1;
    this.#count = 0;
    this.#used = 0;
    this.#oldest = none;
    this.#youngest = none;
    this.#free = none;
    this.#top = 0;
    for (let node = from; node >= 0; node = younger[node] ?? none) {
      const above = parent[node] ?? none;
      const to = this.#top++;
      this.#insert(to, lo[node] ?? 0, hi[node] ?? 0, above < 0 ? none : (moved[above] ?? none), size[node] ?? 0);
    }
  }
}

/** Its whole blocks end before what is its own does: a further turn could not be told from other conversations' by them. */
function hidesBeginning({ anchor, ownFrom, blocks, blockSize }: Prompt): boolean {
  return anchor !== 0 && blocks * blockSize < ownFrom;
}

function grown<T extends Uint32Array | Int32Array>(before: T, after: T): T {
  after.set(before);
  return after;
}

function slotOf(lo: number, hi: number): number {
  // the hash is mixed already; the halves of a tail are not
  return Math.imul(lo, 0x9e3779b1) ^ hi ^ (hi >>> 15);
}
