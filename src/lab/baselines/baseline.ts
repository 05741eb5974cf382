// What the policies of other routers look at, as far as they look. Each baseline is one small function of it, written from
// the other project's documentation, so that ours can be judged on the same workload. Nothing of this runs in the router.

/** One endpoint at the moment of a choice. */
export interface BaselineEndpoint {
  /** Requests sent and not ended. */
  readonly inFlight: number;
  /** Prompt tokens, not found in the cache, of those without a first token. */
  readonly prefillTokens: number;
  /** KV blocks of those. */
  readonly activeBlocks: number;
  /** Of this prompt, from its beginning. */
  readonly matchedTokens: number;
  /** The engine's own numbers, fresh: kinder than a scrape. */
  readonly waiting: number;
  readonly kvUsage: number;
}

/** @returns place of the chosen endpoint */
export type Baseline = (promptTokens: number, endpoints: readonly BaselineEndpoint[], random: () => number) => number;

/** Place of the largest value; among equals at random. */
export function largest(
  endpoints: readonly BaselineEndpoint[],
  random: () => number,
  value: (endpoint: BaselineEndpoint) => number,
): number {
  let best = 0;
  let bestValue = Number.NEGATIVE_INFINITY;
  let ties = 1;
  for (const [at, endpoint] of endpoints.entries()) {
    const current = value(endpoint);
    if (current > bestValue) {
      best = at;
      bestValue = current;
      ties = 1;
    } else if (current === bestValue && random() * ++ties < 1) best = at;
  }
  return best;
}
