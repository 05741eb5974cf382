// What choices of endpoints rest on, as metrics: the queue in the router and the index of prompts. Set when somebody scrapes.
import type { Registry } from "../fleet/registry.ts";
import type { MetricsRegistry } from "./registry.ts";

export interface RoutingState {
  readonly registry: Registry;
  readonly queueLength: (model: string) => number;
  readonly queueOldestMs: (model: string) => number;
  readonly index: { readonly bytes: number; readonly nodes: number };
}

export function mirrorRouting(metrics: MetricsRegistry, state: RoutingState): void {
  metrics.onScrape(() => {
    const length = metrics.value("lmstack_queue_length");
    const oldest = metrics.value("lmstack_queue_oldest_seconds");
    for (const family of [length, oldest]) family.clear();
    for (const model of state.registry.models) {
      length.child(model).value = state.queueLength(model);
      oldest.child(model).value = state.queueOldestMs(model) / 1000;
    }
    metrics.value("lmstack_prefix_index_bytes").child().value = state.index.bytes;
    metrics.value("lmstack_prefix_index_blocks").child().value = state.index.nodes;
  });
}
