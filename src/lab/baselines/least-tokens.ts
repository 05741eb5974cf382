// Fewest prompt tokens that are still to be prefilled, blind to caches when it chooses: what a good load balancer does.
import { largest, type Baseline } from "./baseline.ts";

export const leastTokens: Baseline = (_promptTokens, endpoints, random) =>
  largest(endpoints, random, ({ prefillTokens }) => -prefillTokens);
