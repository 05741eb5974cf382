// The named baselines.

import { blocks } from "./blocks.ts";
import type { Baseline } from "./baseline.ts";
import { leastTokens } from "./least-tokens.ts";
import { loadAware } from "./load-aware.ts";
import { longestMatch } from "./longest-match.ts";
import { thresholdGate } from "./threshold-gate.ts";
import { weightedScorers } from "./weighted-scorers.ts";

/** What each stands for, for tables and help. */
export const baselines = {
  "least-tokens": { choose: leastTokens, of: "fewest prompt tokens still to be prefilled" },
  "longest-match": { choose: longestMatch, of: "longest cached prefix, ties by load" },
  "threshold-gate": {
    choose: thresholdGate,
    of: "SGLang, vllm-project/router, smg: match over 0.3 unless load differs by 64 requests and 1.5 x",
  },
  "load-aware": { choose: loadAware, of: "production-stack loadaware: matched ratio - load deviation" },
  "weighted-scorers": { choose: weightedScorers, of: "llm-d defaults: queue 2, kv 2, prefix 3" },
  blocks: { choose: blocks, of: "Dynamo: blocks to prefill + decode blocks" },
} as const satisfies Record<string, { readonly choose: Baseline; readonly of: string }>;
