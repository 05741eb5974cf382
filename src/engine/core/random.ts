// Seeded pseudo-random numbers. Bottom of the engine core; pure. Never Math.random in this room: a run must repeat.

/** A stream of 32-bit integers (splitmix32-like); equal seeds give equal streams. */
export class Random {
  #state: number;

  /** `seed` may be any finite number; its high part counts too. */
  constructor(seed: number) {
    this.#state = (seed ^ Math.imul(Math.floor(seed / 0x1_0000_0000), 0x9e3779b1)) | 0;
  }

  /** An integer in [0, 2^32). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state ^ (this.#state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return this.next() % bound;
  }

  /** A number in [0, 1). */
  unit(): number {
    return this.next() / 0x1_0000_0000;
  }
}
