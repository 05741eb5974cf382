// Metrics of KV events and of the exact index. Gauges mirror it when somebody scrapes.
import { untokenizedReasons, type UntokenizedReason } from "../api/tokenize.ts";
import type { ExactIndex } from "../cache/exact.ts";
import { recoveryReasons, type RecoveryReason } from "../cache/kv-events/feed.ts";
import { kvStates, type KvEventSources, type KvState } from "../fleet/kv-events/sources.ts";
import { tokenFailures, type TokenFailure } from "../fleet/tokens/prompt-tokens.ts";
import type { Registry } from "../fleet/registry.ts";
import { endpointValues, type MetricDefinition } from "./metric-definition.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { Value } from "./series.ts";

/** What decided whether a request was judged by the exact index: what was wrong with its tokens, else its endpoint's events. */
export type KvLookupReason = UntokenizedReason | TokenFailure | KvState;

const kvEventKinds = ["stored", "removed", "cleared", "ignored", "bad"] as const;
type KvEventKind = (typeof kvEventKinds)[number];

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
  lmstack_kv_event_lag_seconds: {
    type: "histogram",
    help: "Time from an engine's writing of a message of KV events until the router has read it, by the clocks of both.",
    labels: {},
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 60],
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
  lagged(seconds: number): void;
}

/** Where the gauges look. */
export interface KvMirror {
  readonly index: Pick<ExactIndex, "bytes">;
  readonly sources: Pick<KvEventSources, "endpoints" | "stateOf" | "blocksOf" | "countsOf">;
  readonly registry: Pick<Registry, "list">;
}

/** Series of one endpoint, and what was counted of it at the last scrape: a new subscription begins at 0 again. */
interface Followed {
  state: KvState;
  readonly blocks: Value;
  readonly events: Partial<Record<KvEventKind, Value>>;
  counts: Readonly<Record<KvEventKind, number>>;
}

const nothing: Readonly<Record<KvEventKind, number>> = { stored: 0, removed: 0, cleared: 0, ignored: 0, bad: 0 };

export function kvMetrics(metrics: MetricsRegistry, mirrored: () => KvMirror): KvMetrics {
  const lookups = metrics.value("lmstack_kv_lookups_total");
  const predictions = metrics.value("lmstack_kv_predictions_total");
  const recoveries = metrics.value("lmstack_kv_event_recoveries_total");
  const events = metrics.value("lmstack_kv_events_total");
  const lag = metrics.distribution("lmstack_kv_event_lag_seconds").child();
  const states = metrics.value("lmstack_kv_event_state");
  const blocks = metrics.value("lmstack_kv_index_blocks");
  const followed = new Map<string, Followed>();

  function follow(id: string, state: KvState): Followed {
    states.child(id, state).value = 1;
    const made = { state, blocks: blocks.child(id), events: {}, counts: nothing };
    followed.set(id, made);
    return made;
  }

  metrics.onScrape(() => {
    const { index, sources, registry } = mirrored();
    metrics.value("lmstack_kv_index_bytes").child().value = index.bytes;
    const present = new Set(registry.list().map(({ id }) => id));
    for (const family of [recoveries, events]) family.prune((id) => present.has(id));
    const now = new Set(sources.endpoints);
    for (const [id, { state }] of followed) {
      if (now.has(id)) continue;
      states.remove(id, state);
      blocks.remove(id);
      followed.delete(id);
    }
    for (const id of now) {
      const state = sources.stateOf(id);
      const one = followed.get(id) ?? follow(id, state);
      if (one.state !== state) {
        states.remove(id, one.state);
        states.child(id, state).value = 1;
        one.state = state;
      }
      one.blocks.value = sources.blocksOf(id);
      const counts = sources.countsOf(id);
      for (const kind of kvEventKinds) {
        const more = counts[kind] < one.counts[kind] ? counts[kind] : counts[kind] - one.counts[kind];
        // of most kinds most endpoints have none
        if (more > 0 || kind === "stored") (one.events[kind] ??= events.child(id, kind)).value += more;
      }
      one.counts = counts;
    }
  });
  return {
    lookedUp: (view, reason) => lookups.child(view, reason).value++,
    predicted: (result) => predictions.child(result).value++,
    recovered: (endpoint, reason) => recoveries.child(endpoint, reason).value++,
    lagged: (seconds) => lag.observe(seconds),
  };
}
