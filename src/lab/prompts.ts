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
    const opening = named > 1 ? tree.tokensTo(tree.nodeAt(request, named - 1)) : 0;
    return {
      ...promptOfBlockIds(names.of(request, false), indexBlockTokens, promptTokens),
      anchor: node + 1,
      ownFrom: node < 0 ? 0 : (opening + tree.tokensTo(node)) / 2,
      continued: prompt.length > named,
      request,
    };
  });
}
