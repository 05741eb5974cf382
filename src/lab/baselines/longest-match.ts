// Longest cached prefix, ties by load: what "prefix aware" often means. It melts the engine that holds what all share.
import { largest, type Baseline } from "./baseline.ts";

export const longestMatch: Baseline = (_promptTokens, endpoints, random) =>
  largest(endpoints, random, ({ matchedTokens, inFlight }) => matchedTokens - inFlight / 1e6);
