// A quantile over the last measurements of something that drifts: robust to the one that a pause or a preemption has spoilt.
// Sorted once in a while and not at each question, as it is asked far more often than it changes.

const keptSamples = 64;
/** Measurements that are older say nothing any more while there are newer ones. */
const maxAgeMs = 10 * 60_000;
/** And these nothing about how things are just now. */
const recentMs = 60_000;
const sortEvery = 16;
/** Below this the prior is mixed in. */
const trustedSamples = 8;

export class SlidingQuantile {
  readonly #quantile: number;
  readonly #values: number[] = [];
  readonly #times: number[] = [];
  #at = 0;
  #unsorted = 0;
  #value = 0;
  #weight = 0;
  #recentLow = 0;
  #recentWeight = 0;

  constructor(quantile: number) {
    this.#quantile = quantile;
  }

  add(value: number, nowMs: number): void {
    this.#values[this.#at] = value;
    this.#times[this.#at] = nowMs;
    this.#at = (this.#at + 1) % keptSamples;
    this.#unsorted++;
  }

  /** There are enough measurements to do without the prior. */
  get trusted(): boolean {
    return this.#values.length >= trustedSamples;
  }

  /** The lowest quarter of the measurements of the last minute ends here; 0 = there are none. */
  get recentLow(): number {
    this.#refresh();
    return this.#recentLow;
  }

  /** How far that can be trusted, 0 to 1. */
  get recentWeight(): number {
    this.#refresh();
    return this.#recentWeight;
  }

  /** @param prior what is believed without measurements */
  value(prior: number): number {
    this.#refresh();
    return this.#weight >= 1 ? this.#value : this.#value * this.#weight + prior * (1 - this.#weight);
  }

  #refresh(): void {
    if (this.#unsorted >= (this.#values.length < keptSamples ? 1 : sortEvery)) this.#sort();
  }

  /** In order, those that are not older than the newest by more. */
  #within(ageMs: number): number[] {
    const newest = Math.max(...this.#times);
    return this.#values.filter((_, i) => newest - (this.#times[i] ?? 0) <= ageMs).sort((a, b) => a - b);
  }

  #sort(): void {
    const kept = this.#within(maxAgeMs);
    this.#value = kept[Math.min(kept.length - 1, Math.floor(kept.length * this.#quantile))] ?? 0;
    this.#weight = Math.min(1, kept.length / trustedSamples);
    const recent = this.#within(recentMs);
    this.#recentLow = recent[Math.floor(recent.length / 4)] ?? 0;
    this.#recentWeight = Math.min(1, recent.length / trustedSamples);
    this.#unsorted = 0;
  }
}
