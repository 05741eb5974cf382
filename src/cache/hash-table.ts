// 64-bit hash -> small positive number, in flat arrays: open addressing with linear probing. Below the exact index, where
// millions of blocks would be too dear as objects. Pure. It shrinks as well as grows: nothing may grow with history.

const smallest = 1024;

export class HashTable {
  #lo = new Uint32Array(smallest);
  #hi = new Uint32Array(smallest);
  /** 0 = nobody here. */
  #values = new Int32Array(smallest);
  #mask = smallest - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#values.length * 12;
  }

  /** 0 = it is not there. */
  get(lo: number, hi: number): number {
    const at = this.#find(lo, hi);
    return this.#values[at] ?? 0;
  }

  /** @param value not 0 */
  set(lo: number, hi: number, value: number): void {
    let at = this.#find(lo, hi);
    if (this.#values[at] === 0) {
      if (this.#size * 4 >= this.#values.length * 3) {
        this.#resize(this.#values.length * 2);
        at = this.#find(lo, hi);
      }
      this.#size++;
      this.#lo[at] = lo;
      this.#hi[at] = hi;
    }
    this.#values[at] = value;
  }

  delete(lo: number, hi: number): void {
    let hole = this.#find(lo, hi);
    if (this.#values[hole] === 0) return;
    this.#size--;
    // those that were pushed on by it move up, so that no tombstone is needed
    for (let at = (hole + 1) & this.#mask; this.#values[at] !== 0; at = (at + 1) & this.#mask) {
      const home = this.#home(this.#lo[at] ?? 0, this.#hi[at] ?? 0);
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      this.#move(at, hole);
      hole = at;
    }
    this.#values[hole] = 0;
    if (this.#values.length > smallest && this.#size * 8 < this.#values.length) this.#resize(this.#values.length / 2);
  }

  clear(): void {
    this.#lo = new Uint32Array(smallest);
    this.#hi = new Uint32Array(smallest);
    this.#values = new Int32Array(smallest);
    this.#mask = smallest - 1;
    this.#size = 0;
  }

  /** Mixed, since ids may come in rows: neighbours would make runs that each deletion has to walk through. */
  #home(lo: number, hi: number): number {
    const mixed = Math.imul(lo ^ Math.imul(hi, 0x85ebca77), 0x9e3779b1);
    return (mixed ^ (mixed >>> 15)) & this.#mask;
  }

  #find(lo: number, hi: number): number {
    let at = this.#home(lo, hi);
    while (this.#values[at] !== 0 && (this.#lo[at] !== lo || this.#hi[at] !== hi)) at = (at + 1) & this.#mask;
    return at;
  }

  #move(from: number, to: number): void {
    this.#lo[to] = this.#lo[from] ?? 0;
    this.#hi[to] = this.#hi[from] ?? 0;
    this.#values[to] = this.#values[from] ?? 0;
  }

  #resize(length: number): void {
    const [lo, hi, values] = [this.#lo, this.#hi, this.#values];
    this.#lo = new Uint32Array(length);
    this.#hi = new Uint32Array(length);
    this.#values = new Int32Array(length);
    this.#mask = length - 1;
    for (let at = 0; at < values.length; at++) {
      const value = values[at] ?? 0;
      if (value === 0) continue;
      const to = this.#find(lo[at] ?? 0, hi[at] ?? 0);
      this.#lo[to] = lo[at] ?? 0;
      this.#hi[to] = hi[at] ?? 0;
      this.#values[to] = value;
    }
  }
}
