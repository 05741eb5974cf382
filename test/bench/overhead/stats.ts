// The few statistics that the report stands on. Pure, so that a test can hold them to worked examples.

/** The value below which a share `p` (0..1) of the samples lies; NaN without samples. Sorts a copy. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = Float64Array.from(samples).toSorted();
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}

export interface Interval {
  readonly low: number;
  readonly high: number;
  /** Probability that the true median lies inside, whatever the distribution. */
  readonly coverage: number;
}

/**
 * Interval of the median by order statistics: the narrowest symmetric pair of sorted samples that covers the true
 * median with 95 %, or the whole range where there are too few samples for that (5 samples: 93.75 %). It assumes
 * nothing about the distribution, which a bootstrap of five values cannot improve on: it returns the same two ends.
 */
export function medianInterval(samples: readonly number[], wanted = 0.95): Interval {
  const sorted = samples.toSorted((a, b) => a - b);
  const n = sorted.length;
  if (n === 0) return { low: Number.NaN, high: Number.NaN, coverage: 0 };
  let tail = 0.5 ** n; // P(Binomial(n, 1/2) <= cut - 1)
  let term = tail;
  let cut = 0;
  let coverage = 1 - 2 * tail;
  for (let next = 1; next < n / 2; next++) {
    term *= (n - next + 1) / next;
    tail += term;
    if (1 - 2 * tail < wanted) break;
    cut = next;
    coverage = 1 - 2 * tail;
  }
  return { low: sorted[cut] ?? Number.NaN, high: sorted[n - 1 - cut] ?? Number.NaN, coverage };
}

/** Random numbers that are the same in every run (mulberry32), so that an interval can be reproduced from the data. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * 95 % percentile bootstrap over blocks: `statistic` is recomputed on blocks that are drawn with replacement. Blocks
 * and not single samples, because neighbouring requests share the same disturbance.
 */
export function blockBootstrap<Block>(
  blocks: readonly Block[],
  statistic: (drawn: Block[]) => number,
  rounds = 1000,
): Interval {
  const random = seededRandom(20_260_101);
  const values: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const drawn: Block[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const block = blocks[Math.floor(random() * blocks.length)];
      if (block !== undefined) drawn.push(block);
    }
    values.push(statistic(drawn));
  }
  return { low: percentile(values, 0.025), high: percentile(values, 0.975), coverage: 0.95 };
}
