// Bounds retries to a share of the requests, so that a brown-out is not amplified into an outage. Pure: time comes in.

/** Retries allowed without regard to traffic, per window. */
const floor = 100;
const share = 0.2;
const windowMs = 10_000;
const slots = 10;

/** 20 % of the requests of the last 10 s, and 100 more. */
export class RetryBudget {
  readonly #requests = new Float64Array(slots);
  readonly #retries = new Float64Array(slots);
  #slot = 0;

  request(nowMs: number): void {
    const at = this.#roll(nowMs);
    this.#requests[at] = (this.#requests[at] ?? 0) + 1;
  }

  /**
   * Takes one retry, or says no.
   * @param underWay retries allowed besides, for as many requests as are under way
   */
  take(nowMs: number, underWay = 0): boolean {
    const at = this.#roll(nowMs);
    const requests = this.#requests.reduce((sum, n) => sum + n, 0);
    const retries = this.#retries.reduce((sum, n) => sum + n, 0);
    if (retries >= floor + share * requests + underWay) return false;
    this.#retries[at] = (this.#retries[at] ?? 0) + 1;
    return true;
  }

  #roll(nowMs: number): number {
    const slot = Math.floor(nowMs / (windowMs / slots));
    const passed = Math.min(slots, slot - this.#slot);
    for (let i = 0; i < passed; i++) {
      const at = (slot - i) % slots;
      this.#requests[at] = 0;
      this.#retries[at] = 0;
    }
    this.#slot = slot;
    return slot % slots;
  }
}
