// What choices of endpoints rest on, as metrics: the queue in the router, the index of prompts, what is believed and learnt of
// each endpoint. Set when somebody scrapes.
import type { Registry } from "../fleet/registry.ts";
import type { MetricsRegistry } from "./registry.ts";

export interface RoutingState {
  readonly registry: Registry;
  readonly nowMs: () => number;
  readonly queueLength: (model: string) => number;
  readonly index: { readonly bytes: number; readonly nodes: number };
}

export function mirrorRouting(metrics: MetricsRegistry, state: RoutingState): void {
  metrics.onScrape(() => {
    const now = state.nowMs();
    const length = metrics.value("lmstack_queue_length");
    length.clear();
    for (const model of state.registry.models) length.child(model).value = state.queueLength(model);
    metrics.value("lmstack_prefix_index_bytes").child().value = state.index.bytes;
    metrics.value("lmstack_prefix_index_blocks").child().value = state.index.nodes;
    const tokens = metrics.value("lmstack_endpoint_queued_tokens");
    const rate = metrics.value("lmstack_endpoint_prefill_tokens_per_second");
    const step = metrics.value("lmstack_endpoint_step_seconds");
    for (const family of [tokens, rate, step]) family.clear();
    for (const { id, load } of state.registry.list()) {
      tokens.child(id).value += load.queuedTokens(now);
      rate.child(id).value = 1000 / load.prefillMsPerToken;
      step.child(id).value = load.stepMs / 1000;
    }
  });
}
