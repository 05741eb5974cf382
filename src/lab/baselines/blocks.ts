// Dynamo's KV router: fewest blocks, those still to be prefilled plus those that decoding holds, with this request.
import { largest, type Baseline } from "./baseline.ts";

const blockTokens = 16;

export const blocks: Baseline = (promptTokens, endpoints, random) =>
  largest(
    endpoints,
    random,
    ({ activeBlocks, matchedTokens }) => -((promptTokens - matchedTokens) / blockTokens + activeBlocks),
  );
