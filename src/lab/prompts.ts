// The prompts of a workload as the router's cache index sees them, once for all runs: block names instead of hashed bytes,
// 64 tokens a block, as many as the router's blocks of bytes hold. Pure.

import { promptOfBlockIds } from "../cache/prompt.ts";
import type { Workload } from "../bench/workload/workload.ts";
import type { LabPrompt } from "./policy-router.ts";
import type { PrefixTree } from "./prefix-tree.ts";

const indexBlockTokens = 64;

export function promptsOf(workload: Workload, tree: PrefixTree): LabPrompt[] {
  const names = tree.blocksOf(indexBlockTokens);
  return workload.requests.map(({ promptTokens, prompt, named }, request): LabPrompt => {
    const node = tree.nodeAt(request, named);
    return {
      ...promptOfBlockIds(names.of(request, false), indexBlockTokens, promptTokens),
      anchor: node + 1,
      anchorBlocks: node < 0 ? 0 : Math.floor(tree.tokensTo(node) / indexBlockTokens),
      continued: prompt.length > named,
      request,
    };
  });
}
