// Fewest outstanding tokens, blind to caches: what a good load balancer does.
import { largest, type Baseline } from "./baseline.ts";

export const leastTokens: Baseline = (_promptTokens, endpoints, random) =>
  largest(endpoints, random, ({ outstandingTokens }) => -outstandingTokens);
