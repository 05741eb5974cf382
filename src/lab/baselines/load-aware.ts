// production-stack's `loadaware`: matched share of the prompt less the relative deviation of the load, in requests.
import { largest, type Baseline } from "./baseline.ts";

const beta = 1;

export const loadAware: Baseline = (promptTokens, endpoints, random) => {
  let total = 0;
  for (const { inFlight } of endpoints) total += inFlight;
  const mean = total / endpoints.length;
  return largest(
    endpoints,
    random,
    ({ matchedTokens, inFlight }) => matchedTokens / promptTokens - (beta * (inFlight - mean)) / Math.max(1, mean),
  );
};
