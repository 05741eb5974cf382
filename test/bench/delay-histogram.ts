// Delays in buckets of fixed width: constant cost and memory per sample, so that a minute of 600 streams (1.8 million
// frames) neither grows the heap nor disturbs what is measured.

const BUCKET_US = 20;
/** Covers 4 s; what is later lands in the last bucket, and `maxMs` still tells the truth. */
const BUCKETS = 200_000;

export class DelayHistogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;
  #maxMs = 0;

  add(delayMs: number): void {
    const bucket = Math.floor((delayMs * 1000) / BUCKET_US);
    const index = Math.min(BUCKETS - 1, Math.max(0, bucket));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#total++;
    if (delayMs > this.#maxMs) this.#maxMs = delayMs;
  }

  get count(): number {
    return this.#total;
  }

  get maxMs(): number {
    return this.#total === 0 ? Number.NaN : this.#maxMs;
  }

  /** Upper end of the bucket that holds the percentile; NaN without samples. */
  percentileMs(p: number): number {
    if (this.#total === 0) return Number.NaN;
    const rank = Math.min(this.#total, Math.floor(p * this.#total) + 1);
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.#counts[i] ?? 0;
      if (seen >= rank) return ((i + 1) * BUCKET_US) / 1000;
    }
    return this.maxMs;
  }
}
