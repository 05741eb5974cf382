// llm-d's default profile: three scores between 0 and 1, weighted: shortest waiting queue 2, free KV cache 2, matched
// share of the prompt 3.
import { largest, type Baseline } from "./baseline.ts";

const queueWeight = 2;
const kvWeight = 2;
const prefixWeight = 3;

export const weightedScorers: Baseline = (promptTokens, endpoints, random) => {
  let most = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const { waiting } of endpoints) {
    most = Math.max(most, waiting);
    least = Math.min(least, waiting);
  }
  return largest(endpoints, random, ({ waiting, kvUsage, matchedTokens }) => {
    const queue = most === least ? 1 : (most - waiting) / (most - least);
    return queueWeight * queue + kvWeight * (1 - kvUsage) + (prefixWeight * matchedTokens) / promptTokens;
  });
};
