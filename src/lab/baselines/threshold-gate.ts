// The cache-aware policy of SGLang's router, smg and vllm-project/router: the shortest queue while the fleet is out of
// balance, else the longest match if it is long enough, else the shortest queue.
import { largest, type Baseline } from "./baseline.ts";

const cacheThreshold = 0.3;
const balanceAbsolute = 64;
const balanceRelative = 1.5;

export const thresholdGate: Baseline = (promptTokens, endpoints, random) => {
  const shortest = (): number => largest(endpoints, random, ({ inFlight }) => -inFlight);
  let most = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const { inFlight } of endpoints) {
    most = Math.max(most, inFlight);
    least = Math.min(least, inFlight);
  }
  if (most - least > balanceAbsolute && most > balanceRelative * least) return shortest();
  const best = largest(endpoints, random, ({ matchedTokens }) => matchedTokens);
  return (endpoints[best]?.matchedTokens ?? 0) / promptTokens > cacheThreshold ? best : shortest();
};
