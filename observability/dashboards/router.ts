// What the router itself does: its cost, its choices, what it retried and whom it took out. Long, as one row of panels follows
// the other; a panel is data.
import { dashboardUids, thresholds } from "../constants.ts";
import { ofEndpoint, ofModel, ofRouter, type DashboardSpec } from "./panels.ts";

const quantile = (q: number, metric: string, matchers: string): string =>
  `histogram_quantile(${q}, sum by (le) (rate(${metric}_bucket{${matchers}}[$__rate_interval])))`;

export const router: DashboardSpec = {
  uid: dashboardUids.router,
  title: "LMStack / Router",
  description: "What the router costs, why it chose as it did, what it retried and whom it took out.",
  rows: [
    {
      title: "Cost",
      panels: [
        {
          kind: "series",
          title: "Overhead",
          description: "Time in the router that waits neither for a client nor for an engine.",
          unit: "s",
          threshold: thresholds.overheadSeconds,
          queries: [0.5, 0.99].map((q) => ({
            expr: quantile(q, "lmstack_router_overhead_seconds", ofModel),
            legend: `p${q * 100}`,
          })),
        },
        {
          kind: "series",
          title: "Event loop delay",
          description: "How late the router's one thread ran. All streams wait for it.",
          unit: "s",
          threshold: thresholds.eventLoopSeconds,
          queries: [
            {
              expr: `max by (stat) (lmstack_event_loop_delay_seconds{${ofRouter}})`,
              legend: "{{stat}}",
            },
          ],
        },
        {
          kind: "series",
          title: "CPU and memory",
          description: "CPU in cores; memory is on the panel beside.",
          unit: "none",
          width: 8,
          queries: [
            {
              expr: `sum(rate(process_cpu_seconds_total{${ofRouter}}[$__rate_interval]) and on (instance, job) lmstack_build_info{${ofRouter}})`,
              legend: "cores",
            },
          ],
        },
        {
          kind: "series",
          title: "Memory",
          description:
            "Resident memory, JavaScript objects, what they hold outside the heap, and request bodies that wait for their first event.",
          unit: "bytes",
          width: 8,
          queries: [
            {
              expr: `sum(process_resident_memory_bytes{${ofRouter}} and on (instance, job) lmstack_build_info{${ofRouter}})`,
              legend: "resident",
            },
            { expr: `sum(lmstack_heap_used_bytes{${ofRouter}})`, legend: "heap" },
            { expr: `sum(lmstack_external_memory_bytes{${ofRouter}})`, legend: "external" },
            { expr: `sum(lmstack_buffered_bytes{${ofRouter}})`, legend: "request bodies" },
          ],
        },
        {
          kind: "series",
          title: "Connections",
          description: "Open connections of clients and to engines.",
          unit: "none",
          width: 8,
          queries: [
            { expr: `sum(lmstack_client_connections{${ofRouter}})`, legend: "clients" },
            { expr: `sum(lmstack_engine_connections{${ofRouter}})`, legend: "engines" },
          ],
        },
      ],
    },
    {
      title: "Choices",
      panels: [
        {
          kind: "series",
          title: "Choices by reason",
          description: "Why endpoints were chosen, by the policy in force.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (policy, reason) (rate(lmstack_choices_total{${ofRouter}}[$__rate_interval]))`,
              legend: "{{policy}}: {{reason}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Predicted and actual cache hits",
          description: "Share of the prompt tokens that the router expected engines to have cached, and that they had.",
          unit: "percentunit",
          max: 1,
          queries: [
            {
              expr: `sum(rate(lmstack_predicted_cached_tokens_total{${ofModel}}[$__rate_interval])) / (sum(rate(lmstack_prompt_tokens_total{${ofModel}}[$__rate_interval])) > 0)`,
              legend: "predicted",
            },
            {
              expr: `sum(rate(lmstack_cached_tokens_total{${ofModel}}[$__rate_interval])) / (sum(rate(lmstack_prompt_tokens_total{${ofModel}}[$__rate_interval])) > 0)`,
              legend: "actual",
            },
          ],
        },
        {
          kind: "series",
          title: "Queue",
          description: "Requests that wait in the router for room on an endpoint, or for an endpoint.",
          unit: "none",
          queries: [{ expr: `sum by (model) (lmstack_queue_length{${ofModel}})`, legend: "{{model}}" }],
        },
        {
          kind: "series",
          title: "Time in the queue",
          description: "Of the requests that waited in the router.",
          unit: "s",
          queries: [
            ...[0.5, 0.99].map((q) => ({
              expr: quantile(q, "lmstack_queue_time_seconds", ofModel),
              legend: `p${q * 100}`,
            })),
            { expr: `max(lmstack_queue_oldest_seconds{${ofModel}})`, legend: "oldest now" },
          ],
        },
        {
          kind: "series",
          title: "Held for an endpoint",
          description:
            "Requests whose model had no endpoint, by what came of it: one was found, none came in time, or the client left.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (result) (rate(lmstack_held_requests_total{${ofModel}}[$__rate_interval]))`,
              legend: "{{result}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Index of prompts",
          description: "Memory of the index of which endpoint was sent which prompt.",
          unit: "bytes",
          queries: [{ expr: `sum(lmstack_prefix_index_bytes{${ofRouter}})`, legend: "index" }],
        },
      ],
    },
    {
      title: "KV events (kvaware)",
      panels: [
        {
          kind: "series",
          title: "State of KV events",
          description:
            "1 for what the exact index is worth for an endpoint: exact, partial (a lower bound), or why nothing. Alerts: KV events lost.",
          unit: "none",
          queries: [
            {
              expr: `max by (endpoint, state) (lmstack_kv_event_state{${ofEndpoint}})`,
              legend: "{{endpoint}} {{state}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Lookups under kvaware",
          description:
            "Requests by what judged their endpoint, the exact index or what was sent where, and why. All but exact and partial are a degradation.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (view, reason) (rate(lmstack_kv_lookups_total{${ofRouter}}[$__rate_interval]))`,
              legend: "{{view}}: {{reason}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Predictions of the exact index",
          description: "Answers whose cached tokens were as many as predicted, less, or more.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (result) (rate(lmstack_kv_predictions_total{${ofRouter}}[$__rate_interval]))`,
              legend: "{{result}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Lag of KV events",
          description: "From an engine's writing of a message until the router has read it, by the clocks of both.",
          unit: "s",
          threshold: thresholds.kvLagSeconds,
          queries: [0.5, 0.99].map((q) => ({
            expr: quantile(q, "lmstack_kv_event_lag_seconds", ofRouter),
            legend: `p${q * 100}`,
          })),
        },
        {
          kind: "series",
          title: "KV events",
          description: "By kind. Many that are removed: caches are too small for the traffic.",
          unit: "cps",
          stacked: true,
          queries: [
            {
              expr: `sum by (event) (rate(lmstack_kv_events_total{${ofEndpoint}}[$__rate_interval]))`,
              legend: "{{event}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Events asked for again",
          description:
            "By endpoint and by why: a gap in their numbers, an engine that began anew, a connection that was lost.",
          unit: "short",
          queries: [
            {
              expr: `sum by (endpoint, reason) (increase(lmstack_kv_event_recoveries_total{${ofEndpoint}}[$__rate_interval]))`,
              legend: "{{endpoint}} {{reason}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Exact index",
          description: "Memory of the index of what engines say they hold.",
          unit: "bytes",
          queries: [{ expr: `max by (instance) (lmstack_kv_index_bytes{${ofRouter}})`, legend: "{{instance}}" }],
        },
        {
          kind: "series",
          title: "Blocks held",
          description: "KV blocks that an endpoint holds, by its events.",
          unit: "short",
          queries: [{ expr: `max by (endpoint) (lmstack_kv_index_blocks{${ofEndpoint}})`, legend: "{{endpoint}}" }],
        },
      ],
    },
    {
      title: "Streams that lose their engine",
      panels: [
        {
          kind: "series",
          title: "Migrations by result",
          description:
            "Streams whose engine failed in mid-answer: another one went on (continued, finished), or why they ended with an error.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (result) (rate(lmstack_migrations_total{${ofRouter}}[$__rate_interval]))`,
              legend: "{{result}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Migrations by cause",
          description: "What ended an engine's part of a stream before its time.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (cause) (rate(lmstack_migrations_total{${ofRouter}}[$__rate_interval]))`,
              legend: "{{cause}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Streams that were saved",
          description: "Share of the streams whose engine failed that went on elsewhere.",
          unit: "percentunit",
          max: 1,
          queries: [
            {
              expr: `sum(rate(lmstack_migrations_total{${ofRouter}, result=~"continued|finished"}[$__rate_interval])) / (sum(rate(lmstack_migrations_total{${ofRouter}}[$__rate_interval])) > 0)`,
              legend: "saved",
            },
          ],
        },
        {
          kind: "series",
          title: "Kept for migration",
          description:
            "What is kept of streams, as a share of --migration-budget-bytes: at 100 % new streams end with their engine. Nothing where migration is off.",
          unit: "percentunit",
          queries: [
            {
              expr: `max by (instance) (lmstack_migration_kept_bytes{${ofRouter}} / (lmstack_migration_kept_limit_bytes{${ofRouter}} > 0))`,
              legend: "{{instance}}",
            },
          ],
        },
      ],
    },
    {
      title: "Failures",
      panels: [
        {
          kind: "series",
          title: "Retries by reason",
          description: "Further tries before the first event, by what went wrong with the one before.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (reason) (rate(lmstack_retries_total{${ofRouter}}[$__rate_interval]))`,
              legend: "{{reason}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Attempts that failed",
          description: "By endpoint and by how they ended.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (endpoint, outcome) (rate(lmstack_attempts_total{${ofEndpoint}, outcome!~"ok|client_gone"}[$__rate_interval]))`,
              legend: "{{endpoint}} {{outcome}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Breaker",
          description: "Times that an endpoint came into a state: ejected is taken out, slow start is on its way back.",
          unit: "short",
          queries: [
            {
              expr: `sum by (endpoint, to) (increase(lmstack_endpoint_breaker_transitions_total{${ofEndpoint}}[$__rate_interval]))`,
              legend: "{{endpoint}} to {{to}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Connections made and reused",
          description: "A router that rarely reuses connections pays for a new one with each request.",
          unit: "reqps",
          queries: [
            {
              expr: `sum(rate(lmstack_engine_connections_opened_total{${ofEndpoint}}[$__rate_interval]))`,
              legend: "opened",
            },
            {
              expr: `sum(rate(lmstack_engine_connections_reused_total{${ofEndpoint}}[$__rate_interval]))`,
              legend: "reused",
            },
          ],
        },
        {
          kind: "series",
          title: "Connect time",
          description: "Time to make a connection to an engine.",
          unit: "s",
          queries: [0.5, 0.99].map((q) => ({
            expr: quantile(q, "lmstack_engine_connect_seconds", ofRouter),
            legend: `p${q * 100}`,
          })),
        },
        {
          kind: "series",
          title: "Age of the list of endpoints",
          description:
            "For how long the endpoints may have been out of date, since their source can't be read; 0 is up to date.",
          unit: "s",
          threshold: thresholds.discoveryStaleSeconds,
          queries: [
            { expr: `max by (instance) (lmstack_discovery_stale_seconds{${ofRouter}})`, legend: "{{instance}}" },
          ],
        },
        {
          kind: "stat",
          title: "Configuration in force",
          description: "1 when the last change of the configuration was taken, 0 when it was rejected.",
          unit: "none",
          threshold: 1,
          low: true,
          queries: [{ expr: `min(lmstack_config_last_reload_successful{${ofRouter}})` }],
        },
      ],
    },
  ],
};
