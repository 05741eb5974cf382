// Exact quantiles: of a few thousand latencies by sorting, of millions of gaps between tokens by counting. Pure.

/** Value below which the share `q` of the values lies (nearest rank). NaN without values. @param sorted ascending */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const rank = Math.ceil(q * sorted.length) - 1;
  return sorted[Math.min(sorted.length - 1, Math.max(0, rank))] ?? Number.NaN;
}

export function mean(values: ArrayLike<number>): number {
  if (values.length === 0) return Number.NaN;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ?? 0;
  return sum / values.length;
}

/** The largest value, or `least`. Spread into `Math.max`, a trace of 130,000 requests is more than a call's arguments may be. */
export function largest(values: Iterable<number>, least = 0): number {
  let found = least;
  for (const value of values) if (value > found) found = value;
  return found;
}

const stepMs = 0.01;
const counted = 200_000;

/** Counts durations in steps of 10 microseconds up to 2 s; longer ones, which are rare, are kept as they are. */
export class GapCounter {
  readonly #counts = new Uint32Array(counted);
  readonly #long: number[] = [];
  #total = 0;

  add(ms: number): void {
    this.#total++;
    const place = Math.round(ms / stepMs);
    if (place < counted) this.#counts[place] = (this.#counts[place] ?? 0) + 1;
    else this.#long.push(ms);
  }

  /** NaN without values. */
  quantile(q: number): number {
    if (this.#total === 0) return Number.NaN;
    let rank = Math.max(1, Math.ceil(q * this.#total));
    for (let place = 0; place < counted; place++) {
      rank -= this.#counts[place] ?? 0;
      if (rank <= 0) return place * stepMs;
    }
    return this.#long.toSorted((a, b) => a - b)[rank - 1] ?? Number.NaN;
  }
}
