// The exact index: which engine holds which blocks, from the KV events that engines publish. Blocks are compared by our own
// hashes of their tokens; an engine's names of blocks are opaque and serve to find a parent and to remove. One table for all
// engines: a look-up costs one probe per block of the prompt, however many engines there are. Bounded in bytes. Pure. Long, since
// each kind of event has to keep the same tables in step.
import { chainBlock, rootHash, type TokenPrompt } from "./token-blocks.ts";
import { HashTable } from "./hash-table.ts";
import { HolderSets } from "./holder-sets.ts";
import type { Batch, KvEvent, RemovedEvent, StoredEvent } from "./kv-events/decode.ts";
import { SourceBlocks } from "./source-blocks.ts";

/** Kinds of attention whose blocks make a prefix hit. The blocks of others (sliding windows, state spaces) come and go. */
const indexedKinds: ReadonlySet<string> = new Set([
  "full_attention",
  "mla",
  "mla_attention",
  "sink_full_attention",
  "sink_full",
]);

/** What a block takes at most in all tables together, with room for the moment in which one of them grows. */
const bytesPerBlock = 96;

/** One publisher: an engine, or one data-parallel rank of it. */
interface Source {
  readonly number: number;
  readonly endpoint: string;
  blocks: SourceBlocks;
  /** Tokens in a block, from its events; 0 = none has come. */
  blockSize: number;
  /** Groups that were seen to be of no use for a prefix. */
  readonly otherGroups: Set<number>;
  readonly counts: SourceCounts;
  /** Speculations under way: until there are none its number is not given to another. */
  pending: number;
  removed: boolean;
}

/** What came of a source's events. */
export interface SourceCounts {
  stored: number;
  removed: number;
  cleared: number;
  /** Left aside by design. */
  ignored: number;
  /** Made no sense. */
  bad: number;
  /** Blocks whose parent is not known, so that nobody can say what is before them. */
  orphans: number;
  /** Blocks given up for want of memory. */
  evicted: number;
}

export interface ExactIndexOptions {
  readonly maxBytes: number;
}

/** A prompt on its way to an endpoint, until its blocks are reported or its request ends. */
export interface Speculation {
  readonly source: number;
  readonly hashes: readonly number[];
}

export class ExactIndex {
  readonly #sets = new HolderSets();
  /** Hash of a block -> set of the sources that hold it. */
  readonly #holders = new HashTable();
  /** The same for blocks that requests under way will bring. */
  readonly #awaited = new HashTable();
  /** Blocks that a source holds under several names: how many more than one. */
  readonly #names = new Map<string, number>();
  readonly #sources: (Source | null)[] = [];
  readonly #byEndpoint = new Map<string, Source[]>();
  /** Block sizes in use -> how many sources use them. */
  readonly #blockSizes = new Map<number, number>();
  readonly #maxBlocks: number;
  #blocks = 0;
  /** Counts changes, so that the answers of a look-up are good for all endpoints until something changes. */
  #version = 0;
  #last: { prompt: TokenPrompt; version: number } | null = null;
  /** Matched tokens by number of the source, of the last look-up. */
  #matched = new Float64Array(16);
  #stamps = new Int32Array(16);
  #stamp = 0;

  constructor(options: ExactIndexOptions) {
    this.#maxBlocks = Math.max(1024, Math.floor(options.maxBytes / bytesPerBlock));
  }

  /** Blocks that it knows, each counted for every source that holds it. */
  get blocks(): number {
    return this.#blocks;
  }

  get bytes(): number {
    let sum = this.#holders.bytes + this.#awaited.bytes + this.#sets.bytes + this.#names.size * 100;
    for (const source of this.#sources) sum += source?.blocks.bytes ?? 0;
    return sum;
  }

  /** @returns the number by which events of this publisher are handed in */
  addSource(endpoint: string): number {
    const gap = this.#sources.indexOf(null);
    const number = gap < 0 ? this.#sources.length : gap;
    const source: Source = {
      number,
      endpoint,
      blocks: new SourceBlocks(),
      blockSize: 0,
      otherGroups: new Set(),
      counts: { stored: 0, removed: 0, cleared: 0, ignored: 0, bad: 0, orphans: 0, evicted: 0 },
      pending: 0,
      removed: false,
    };
    this.#sources[number] = source;
    const others = this.#byEndpoint.get(endpoint);
    if (others === undefined) this.#byEndpoint.set(endpoint, [source]);
    else others.push(source);
    if (this.#matched.length <= number) {
      this.#matched = new Float64Array(number * 2);
      this.#stamps = new Int32Array(number * 2);
    }
    this.#version++;
    return number;
  }

  removeSource(number: number): void {
    const source = this.#source(number);
    if (source === null) return;
    this.#forget(source);
    source.removed = true;
    if (source.pending === 0) this.#sources[number] = null;
    const left = this.#byEndpoint.get(source.endpoint)?.filter((other) => other !== source) ?? [];
    if (left.length === 0) this.#byEndpoint.delete(source.endpoint);
    else this.#byEndpoint.set(source.endpoint, left);
  }

  /** Everything that a source held is forgotten: it has started anew, or what is known of it can't be trusted. */
  clear(number: number): void {
    const source = this.#source(number);
    if (source !== null) this.#forget(source);
  }

  apply(number: number, batch: Batch): void {
    const source = this.#source(number);
    if (source === null) return;
    this.#version++;
    source.counts.bad += batch.bad.length;
    source.counts.ignored += batch.ignored;
    for (const event of batch.events) this.#event(source, event);
  }

  counts(number: number): SourceCounts | null {
    return this.#source(number)?.counts ?? null;
  }

  /** Blocks that a source holds. */
  held(number: number): number {
    return this.#source(number)?.blocks.count ?? 0;
  }

  /** Tokens in an endpoint's block; 0 = not known. */
  blockSize(endpoint: string): number {
    return this.#byEndpoint.get(endpoint)?.find((source) => source.blockSize > 0)?.blockSize ?? 0;
  }

  /**
   * Tokens at the start of the prompt that an endpoint holds, as it will count them: whole blocks, and never the whole prompt,
   * since at least one token is always computed. Of several ranks that which holds most. -1 = the endpoint has no source.
   */
  match(endpoint: string, prompt: TokenPrompt): number {
    const sources = this.#byEndpoint.get(endpoint);
    if (sources === undefined) return -1;
    if (this.#last?.prompt !== prompt || this.#last.version !== this.#version) this.#lookUp(prompt);
    let most = 0;
    for (const source of sources) most = Math.max(most, this.#matched[source.number] ?? 0);
    return most;
  }

  /**
   * The prompt is sent to an endpoint: its blocks count from now on, as the engine will have them before a later request is
   * looked at. Of an endpoint with several ranks nobody knows which one gets it, so that nothing is entered.
   * @returns what {@link settle} needs; null = nothing was entered
   */
  speculate(endpoint: string, prompt: TokenPrompt): Speculation | null {
    const [source, another] = this.#byEndpoint.get(endpoint) ?? [];
    if (source === undefined || another !== undefined || source.blockSize === 0) return null;
    const chain = prompt.chain(source.blockSize);
    const hashes: number[] = [];
    // what was just found there needs no second look
    const known = this.match(endpoint, prompt) / source.blockSize;
    for (let at = known * 2; at < chain.length; at += 2) {
      const [lo, hi] = [chain[at] ?? 0, chain[at + 1] ?? 0];
      if (this.#sets.has(this.#holders.get(lo, hi), source.number)) continue;
      const set = this.#awaited.get(lo, hi);
      if (this.#sets.has(set, source.number)) continue;
      this.#awaited.set(lo, hi, this.#sets.plus(set, source.number));
      hashes.push(lo, hi);
    }
    if (hashes.length === 0) return null;
    this.#version++;
    source.pending++;
    return { source: source.number, hashes };
  }

  /** The request has ended: from now on only what the engine reports counts. */
  settle({ source, hashes }: Speculation): void {
    for (let at = 0; at < hashes.length; at += 2)
      this.#drop(this.#awaited, hashes[at] ?? 0, hashes[at + 1] ?? 0, source);
    this.#version++;
    const owner = this.#sources[source] ?? null;
    if (owner !== null && --owner.pending === 0 && owner.removed) this.#sources[source] = null;
  }

  #source(number: number): Source | null {
    const source = this.#sources[number] ?? null;
    return source === null || source.removed ? null : source;
  }

  #event(source: Source, event: KvEvent): void {
    switch (event.type) {
      case "stored":
        this.#stored(source, event);
        break;
      case "removed":
        this.#removed(source, event);
        break;
      case "cleared":
        source.counts.cleared++;
        this.#forgetBlocks(source);
    }
  }

  #stored(source: Source, event: StoredEvent): void {
    const { counts, blocks } = source;
    if (event.kind !== null && !indexedKinds.has(event.kind)) {
      if (event.group !== null) source.otherGroups.add(event.group);
      counts.ignored++;
      return;
    }
    if (event.tokens.length > 0 && !this.#agreeOnSize(source, event.blockSize)) {
      counts.ignored++;
      return;
    }
    if (event.session && this.#isReport(source, event)) {
      counts.ignored++;
      return;
    }
    counts.stored++;
    const chain = { ...rootHash };
    // whether the hash of what stands before the next block is known
    let placed = event.parent === null;
    if (event.parent !== null)
      placed = this.#enter(source, blocks.find(event.parent[0] ?? 0, event.parent[1] ?? 0), chain);
    for (let at = 0; at < event.ids.length / 2; at++) {
      const [idLo, idHi] = [event.ids[at * 2] ?? 0, event.ids[at * 2 + 1] ?? 0];
      let slot = blocks.find(idLo, idHi);
      if (slot !== 0) placed = this.#enter(source, slot, chain);
      else if (placed && event.tokens.length > 0) {
        const from = at * event.blockSize;
        chainBlock(chain, event.keys?.[at] ?? null, event.tokens, from, from + event.blockSize);
        slot = this.#add(source, idLo, idHi, chain.lo, chain.hi);
      } else {
        // a copy of a block that was never seen, or one behind blocks that were never seen
        counts.orphans++;
        placed = false;
        continue;
      }
      blocks.addCopy(slot, event.medium);
    }
  }

  /** Goes on from a block that is known. */
  #enter(source: Source, slot: number, chain: { lo: number; hi: number }): boolean {
    if (slot === 0) return false;
    chain.lo = source.blocks.hashLo(slot);
    chain.hi = source.blocks.hashHi(slot);
    return true;
  }

  /** The first size is that of the engine's blocks; entries of another one are parts of blocks, which make no hit of their own. */
  #agreeOnSize(source: Source, size: number): boolean {
    if (source.blockSize === 0) {
      source.blockSize = size;
      this.#blockSizes.set(size, (this.#blockSizes.get(size) ?? 0) + 1);
    }
    return source.blockSize === size;
  }

  /**
   * vLLM can be asked to report the blocks that a request has found in the cache (`kv_cache_report_mode: full`). Such an event
   * looks like a store, but no copy has come, and none will be removed for it.
   */
  #isReport(source: Source, event: StoredEvent): boolean {
    if (event.parent !== null || event.medium !== "gpu") return false;
    for (let at = 0; at < event.ids.length; at += 2) {
      if (source.blocks.find(event.ids[at] ?? 0, event.ids[at + 1] ?? 0) === 0) return false;
    }
    return true;
  }

  #removed(source: Source, event: RemovedEvent): void {
    if (event.group !== null && source.otherGroups.has(event.group)) {
      source.counts.ignored++;
      return;
    }
    source.counts.removed++;
    const { blocks } = source;
    for (let at = 0; at < event.ids.length; at += 2) {
      const slot = blocks.find(event.ids[at] ?? 0, event.ids[at + 1] ?? 0);
      if (slot === 0) continue;
      const [lo, hi] = [blocks.hashLo(slot), blocks.hashHi(slot)];
      if (blocks.removeCopy(slot, event.medium)) this.#lost(source, lo, hi);
    }
  }

  #add(source: Source, idLo: number, idHi: number, lo: number, hi: number): number {
    if (this.#blocks >= this.#maxBlocks) this.#makeRoom(source);
    const slot = source.blocks.add(idLo, idHi, lo, hi);
    const set = this.#holders.get(lo, hi);
    if (this.#sets.has(set, source.number)) {
      const name = nameKey(source.number, lo, hi);
      this.#names.set(name, (this.#names.get(name) ?? 0) + 1);
    } else this.#holders.set(lo, hi, this.#sets.plus(set, source.number));
    this.#blocks++;
    return slot;
  }

  /** A block is gone under one of its names. */
  #lost(source: Source, lo: number, hi: number): void {
    this.#blocks--;
    if (this.#names.size > 0) {
      const name = nameKey(source.number, lo, hi);
      const more = this.#names.get(name) ?? 0;
      if (more > 0) {
        if (more === 1) this.#names.delete(name);
        else this.#names.set(name, more - 1);
        return;
      }
    }
    this.#drop(this.#holders, lo, hi, source.number);
  }

  #drop(table: HashTable, lo: number, hi: number, source: number): void {
    const set = table.get(lo, hi);
    if (set === 0) return;
    const left = this.#sets.minus(set, source);
    if (left === 0) table.delete(lo, hi);
    else if (left !== set) table.set(lo, hi, left);
  }

  /** Gives up old blocks of whoever has more than its share: of the source itself, or of the largest. */
  #makeRoom(source: Source): void {
    const share = this.#maxBlocks / this.#byEndpoint.size;
    let victim = source;
    if (source.blocks.count < share) {
      for (const other of this.#sources) if (other !== null && other.blocks.count > victim.blocks.count) victim = other;
    }
    const many = Math.max(1, Math.min(1024, victim.blocks.count >> 4));
    for (let left = many; left > 0; left--) {
      const slot = victim.blocks.oldest();
      if (slot === 0) return;
      const [lo, hi] = [victim.blocks.hashLo(slot), victim.blocks.hashHi(slot)];
      victim.blocks.delete(slot);
      victim.counts.evicted++;
      this.#lost(victim, lo, hi);
    }
  }

  #forgetBlocks(source: Source): void {
    const { blocks } = source;
    for (const slot of blocks.taken()) this.#lost(source, blocks.hashLo(slot), blocks.hashHi(slot));
    source.blocks = new SourceBlocks();
    this.#version++;
  }

  #forget(source: Source): void {
    this.#forgetBlocks(source);
    if (source.blockSize > 0) {
      const users = (this.#blockSizes.get(source.blockSize) ?? 0) - 1;
      if (users > 0) this.#blockSizes.set(source.blockSize, users);
      else this.#blockSizes.delete(source.blockSize);
    }
    source.blockSize = 0;
    source.otherGroups.clear();
  }

  /** Fills `#matched` for all sources: walks down the prompt until nobody holds the next block. */
  #lookUp(prompt: TokenPrompt): void {
    this.#last = { prompt, version: this.#version };
    this.#matched.fill(0);
    const length = prompt.tokens.length;
    for (const size of this.#blockSizes.keys()) {
      const blocks = Math.floor((length - 1) / size);
      if (blocks > 0) this.#walk(prompt.chain(size), blocks, size);
    }
  }

  #walk(chain: Uint32Array, blocks: number, size: number): void {
    let active: number[] | null = null;
    let held = 0;
    let awaited = 0;
    for (let at = 0; at < blocks; at++) {
      const [lo, hi] = [chain[at * 2] ?? 0, chain[at * 2 + 1] ?? 0];
      const nowHeld = this.#holders.get(lo, hi);
      const nowAwaited = this.#awaited.size === 0 ? 0 : this.#awaited.get(lo, hi);
      if (active !== null && nowHeld === held && nowAwaited === awaited) continue;
      held = nowHeld;
      awaited = nowAwaited;
      active = this.#narrow(active, held, awaited, at * size);
      if (active.length === 0) return;
    }
    for (const source of active ?? []) this.#matched[source] = blocks * size;
  }

  /** Those of `active` that hold the next block; the others have matched what came before it. */
  #narrow(active: readonly number[] | null, held: number, awaited: number, before: number): number[] {
    const stamp = ++this.#stamp;
    const left: number[] = [];
    for (const members of [this.#sets.members(held), this.#sets.members(awaited)]) {
      for (const source of members) {
        if (active === null && this.#stamps[source] !== stamp) left.push(source);
        this.#stamps[source] = stamp;
      }
    }
    if (active === null) return left;
    for (const source of active) {
      if (this.#stamps[source] === stamp) left.push(source);
      else this.#matched[source] = before;
    }
    return left;
  }
}

const nameKey = (source: number, lo: number, hi: number): string => `${source}:${lo}:${hi}`;
