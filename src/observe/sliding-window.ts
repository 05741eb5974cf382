// Count and sum of what happened in the last so many seconds, in constant memory and time: the window is cut into slots that
// are used in turn, and the oldest one counts with the part of it that is still inside.

const slots = 12;

export class SlidingWindow {
  readonly #slotMs: number;
  readonly #counts = new Float64Array(slots + 1);
  readonly #sums = new Float64Array(slots + 1);
  /** Number of the present slot since the beginning of time. */
  #present = Number.NEGATIVE_INFINITY;

  constructor(windowMs: number) {
    this.#slotMs = windowMs / slots;
  }

  add(nowMs: number, value: number): void {
    const at = this.#advance(nowMs);
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#sums[at] = (this.#sums[at] ?? 0) + value;
  }

  count(nowMs: number): number {
    return this.#total(this.#counts, nowMs);
  }

  sum(nowMs: number): number {
    return this.#total(this.#sums, nowMs);
  }

  /** @returns null when nothing happened */
  mean(nowMs: number): number | null {
    const count = this.count(nowMs);
    return count === 0 ? null : this.sum(nowMs) / count;
  }

  #total(values: Float64Array, nowMs: number): number {
    const at = this.#advance(nowMs);
    const elapsed = (nowMs - this.#present * this.#slotMs) / this.#slotMs;
    const oldest = (at + 1) % (slots + 1);
    let total = 0;
    for (let i = 0; i <= slots; i++) total += (values[i] ?? 0) * (i === oldest ? 1 - elapsed : 1);
    return total;
  }

  /** @returns place of the present slot */
  #advance(nowMs: number): number {
    const slot = Math.floor(nowMs / this.#slotMs);
    const passed = slot - this.#present;
    if (passed > slots) {
      this.#counts.fill(0);
      this.#sums.fill(0);
    } else {
      for (let i = 1; i <= passed; i++) {
        const at = (this.#present + i) % (slots + 1);
        this.#counts[at] = 0;
        this.#sums[at] = 0;
      }
    }
    if (passed > 0) this.#present = slot;
    return this.#present % (slots + 1);
  }
}
