// The blocks of one publisher by the names that it gives them: which of our hashes each stands for, and how many copies of it
// there are. Below the exact index; pure. A block is gone only when its removals equal its stores, since an engine may hold
// the same block twice and then removes it twice.
import { HashTable } from "./hash-table.ts";
import type { Medium } from "./kv-events/decode.ts";

const smallest = 64;

/** Blocks live in numbered slots; slot 0 is none. */
export class SourceBlocks {
  readonly #slots = new HashTable();
  #idLo = new Uint32Array(smallest);
  #idHi = new Uint32Array(smallest);
  #lo = new Uint32Array(smallest);
  #hi = new Uint32Array(smallest);
  /** Copies on the accelerator and elsewhere. */
  #gpu = new Uint16Array(smallest);
  #other = new Uint16Array(smallest);
  #free: number[] = [];
  #used = 1;
  /** Where the search for the oldest block goes on. */
  #hand = 1;

  get count(): number {
    return this.#slots.size;
  }

  get bytes(): number {
    return this.#slots.bytes + this.#lo.length * 20 + this.#free.length * 8;
  }

  /** Slot of a block by the engine's name; 0 = not known. */
  find(idLo: number, idHi: number): number {
    return this.#slots.get(idLo, idHi);
  }

  hashLo(slot: number): number {
    return this.#lo[slot] ?? 0;
  }

  hashHi(slot: number): number {
    return this.#hi[slot] ?? 0;
  }

  /** @returns its slot, without a copy yet */
  add(idLo: number, idHi: number, lo: number, hi: number): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot >= this.#lo.length) this.#grow();
    this.#idLo[slot] = idLo;
    this.#idHi[slot] = idHi;
    this.#lo[slot] = lo;
    this.#hi[slot] = hi;
    this.#gpu[slot] = 0;
    this.#other[slot] = 0;
    this.#slots.set(idLo, idHi, slot);
    return slot;
  }

  addCopy(slot: number, medium: Medium): void {
    const copies = medium === "gpu" ? this.#gpu : this.#other;
    copies[slot] = Math.min(0xffff, (copies[slot] ?? 0) + 1);
  }

  /** @returns whether that was the last one: the block is gone, and its slot may be taken by another */
  removeCopy(slot: number, medium: Medium): boolean {
    const copies = medium === "gpu" ? this.#gpu : this.#other;
    copies[slot] = Math.max(0, (copies[slot] ?? 0) - 1);
    if ((this.#gpu[slot] ?? 0) + (this.#other[slot] ?? 0) > 0) return false;
    this.delete(slot);
    return true;
  }

  delete(slot: number): void {
    this.#slots.delete(this.#idLo[slot] ?? 0, this.#idHi[slot] ?? 0);
    this.#idLo[slot] = 0;
    this.#idHi[slot] = 0;
    this.#free.push(slot);
  }

  /** A slot among those filled longest ago, to be given up; 0 = there is none. */
  oldest(): number {
    for (let steps = 0; steps < this.#used; steps++) {
      if (this.#hand >= this.#used) this.#hand = 1;
      const slot = this.#hand++;
      if (this.isTaken(slot)) return slot;
    }
    return 0;
  }

  isTaken(slot: number): boolean {
    return this.#slots.get(this.#idLo[slot] ?? 0, this.#idHi[slot] ?? 0) === slot;
  }

  /** All slots that are taken. */
  *taken(): Generator<number> {
    for (let slot = 1; slot < this.#used; slot++) if (this.isTaken(slot)) yield slot;
  }

  #grow(): void {
    const length = Math.ceil(this.#lo.length * 1.5);
    const longer = (array: Uint32Array): Uint32Array<ArrayBuffer> => {
      const grown = new Uint32Array(length);
      grown.set(array);
      return grown;
    };
    this.#idLo = longer(this.#idLo);
    this.#idHi = longer(this.#idHi);
    this.#lo = longer(this.#lo);
    this.#hi = longer(this.#hi);
    const [gpu, other] = [new Uint16Array(length), new Uint16Array(length)];
    gpu.set(this.#gpu);
    other.set(this.#other);
    this.#gpu = gpu;
    this.#other = other;
  }
}
