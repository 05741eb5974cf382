// Sets of sources that hold a block, each kept once however many blocks it stands for: neighbours in a prompt nearly always
// have the same holders, so that a look-up compares a number where it would compare lists. Pure.

interface HolderSet {
  readonly members: Int32Array;
  readonly key: number;
  /** Blocks that it stands for. */
  blocks: number;
}

/** Number of a set; 0 = the empty one. */
export type SetId = number;

export class HolderSets {
  readonly #sets: (HolderSet | null)[] = [null];
  readonly #free: SetId[] = [];
  readonly #byKey = new Map<number, SetId>();
  #members = 0;

  /** What lists of members take. */
  get bytes(): number {
    return this.#members * 4 + this.#sets.length * 100;
  }

  get count(): number {
    return this.#byKey.size;
  }

  /** Sources in it, in no order. */
  members(id: SetId): Int32Array {
    return this.#sets[id]?.members ?? nobody;
  }

  has(id: SetId, source: number): boolean {
    return this.members(id).includes(source);
  }

  /** The set with one more, for one block; that block's use of `id` ends. */
  plus(id: SetId, source: number): SetId {
    const before = this.members(id);
    if (before.includes(source)) return id;
    const key = (this.#sets[id]?.key ?? 0) + keyOf(source);
    return this.#swap(id, key, () => {
      const members = new Int32Array(before.length + 1);
      members.set(before);
      members[before.length] = source;
      return members;
    });
  }

  /** The set with one less, for one block; that block's use of `id` ends. */
  minus(id: SetId, source: number): SetId {
    const before = this.members(id);
    if (!before.includes(source)) return id;
    if (before.length === 1) {
      this.#release(id);
      return 0;
    }
    const key = (this.#sets[id]?.key ?? 0) - keyOf(source);
    return this.#swap(id, key, () => before.filter((member) => member !== source));
  }

  #swap(from: SetId, key: number, make: () => Int32Array): SetId {
    const known = this.#byKey.get(key);
    const to = known ?? this.#add(key, make());
    const set = this.#sets[to];
    if (set !== undefined && set !== null) set.blocks++;
    this.#release(from);
    return to;
  }

  #add(key: number, members: Int32Array): SetId {
    const id = this.#free.pop() ?? this.#sets.length;
    this.#sets[id] = { members, key, blocks: 0 };
    this.#byKey.set(key, id);
    this.#members += members.length;
    return id;
  }

  #release(id: SetId): void {
    const set = this.#sets[id];
    if (set === undefined || set === null || --set.blocks > 0) return;
    this.#byKey.delete(set.key);
    this.#members -= set.members.length;
    this.#sets[id] = null;
    this.#free.push(id);
  }
}

const nobody = new Int32Array(0);

/**
 * Keys of sets are sums of 40-bit numbers drawn from the members' own: exact up to 8,192 members, the same whatever the order in
 * which they came, and different for different sets but for one chance in a million millions.
 */
function keyOf(source: number): number {
  let a = Math.imul(source + 1, 0x9e3779b1);
  a = Math.imul(a ^ (a >>> 15), 0x85ebca77);
  let b = Math.imul((source + 1) ^ a, 0xc2b2ae3d);
  b ^= b >>> 13;
  return ((a ^ (a >>> 16)) >>> 0) * 256 + ((b >>> 0) & 0xff) + 1;
}
