// Metrics of KV events and of the exact index. Gauges mirror it when somebody scrapes.
import { untokenizedReasons, type UntokenizedReason } from "../api/tokenize.ts";
import type { ExactIndex } from "../cache/exact.ts";
import { recoveryReasons, type RecoveryReason } from "../cache/kv-events/feed.ts";
import { kvStates, type KvEventSources, type KvState } from "../fleet/kv-events/sources.ts";
import { tokenFailures, type TokenFailure } from "../fleet/tokens/prompt-tokens.ts";
import type { Registry } from "../fleet/registry.ts";
import { endpointValues, type MetricDefinition } from "./metric-definition.ts";
import type { MetricsRegistry } from "./registry.ts";

/** What decided whether a request was judged by the exact index: what was wrong with its tokens, else its endpoint's events. */
export type KvLookupReason = UntokenizedReason | TokenFailure | KvState;

const kvEventKinds = ["stored", "removed", "cleared", "ignored", "bad"] as const;

export const kvCatalogue = {
  lmstack_kv_lookups_total: {
    type: "counter",
    help: "Requests under `kvaware`, by what judged their endpoint: the exact index of KV events, or what was sent where; and why. Anything but `exact` and `partial` is a degradation.",
    labels: {
      view: ["exact", "approximate"],
      reason: [...new Set<string>([...kvStates, ...tokenFailures, ...untokenizedReasons])],
    },
  },
  lmstack_kv_predictions_total: {
    type: "counter",
    help: "Answers whose cached tokens the exact index had predicted, against what the engine then counted: as many, less, or more.",
    labels: { result: ["equal", "less", "more"] },
  },
  lmstack_kv_event_state: {
    type: "gauge",
    help: "1 for the state of an endpoint's KV events under `kvaware`: exact, partial (a lower bound), or why its cache is not known.",
    labels: { endpoint: endpointValues, state: kvStates },
  },
  lmstack_kv_events_total: {
    type: "counter",
    help: "KV events of an endpoint, by kind; `bad` counts what could not be read, `ignored` what is left aside by design.",
    labels: { endpoint: endpointValues, event: kvEventKinds },
  },
  lmstack_kv_event_recoveries_total: {
    type: "counter",
    help: "Times that an endpoint's KV events were asked for again, by why; `poll` is a look whether any are missing.",
    labels: { endpoint: endpointValues, reason: recoveryReasons },
  },
  lmstack_kv_index_blocks: {
    type: "gauge",
    help: "KV blocks that an endpoint holds, by its events.",
    labels: { endpoint: endpointValues },
  },
  lmstack_kv_index_bytes: { type: "gauge", help: "Memory of the exact index.", labels: {} },
} as const satisfies Record<string, MetricDefinition>;

export interface KvMetrics {
  lookedUp(view: "exact" | "approximate", reason: KvLookupReason): void;
  predicted(result: "equal" | "less" | "more"): void;
  recovered(endpoint: string, reason: RecoveryReason): void;
}

export interface KvMirror {
  readonly index: ExactIndex;
  readonly sources: KvEventSources;
  readonly registry: Registry;
}

export function kvMetrics(metrics: MetricsRegistry, mirrored: () => KvMirror): KvMetrics {
  const lookups = metrics.value("lmstack_kv_lookups_total");
  const predictions = metrics.value("lmstack_kv_predictions_total");
  const recoveries = metrics.value("lmstack_kv_event_recoveries_total");
  const events = metrics.value("lmstack_kv_events_total");
  /** What was counted of each endpoint at the last scrape; a new subscription begins at 0 again. */
  const seen = new Map<string, Readonly<Record<(typeof kvEventKinds)[number], number>>>();
  metrics.onScrape(() => {
    const { index, sources, registry } = mirrored();
    const state = metrics.value("lmstack_kv_event_state");
    const blocks = metrics.value("lmstack_kv_index_blocks");
    for (const family of [state, blocks]) family.clear();
    metrics.value("lmstack_kv_index_bytes").child().value = index.bytes;
    const present = new Set(registry.list().map(({ id }) => id));
    for (const family of [recoveries, events]) family.prune((id) => present.has(id));
    for (const id of seen.keys()) if (!present.has(id)) seen.delete(id);
    for (const id of sources.endpoints) {
      state.child(id, sources.stateOf(id)).value = 1;
      blocks.child(id).value = sources.blocksOf(id);
      const counts = sources.countsOf(id);
      const before = seen.get(id);
      for (const kind of kvEventKinds) {
        const known = before?.[kind] ?? 0;
        events.child(id, kind).value += counts[kind] < known ? counts[kind] : counts[kind] - known;
      }
      seen.set(id, counts);
    }
  });
  return {
    lookedUp: (view, reason) => lookups.child(view, reason).value++,
    predicted: (result) => predictions.child(result).value++,
    recovered: (endpoint, reason) => recoveries.child(endpoint, reason).value++,
  };
}
