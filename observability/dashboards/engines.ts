// Engine beside engine: one look shows the one that is hot, slow or failing.
import { dashboardUids, thresholds } from "../constants.ts";
import { ofEndpoint, ofEngine, type DashboardSpec } from "./panels.ts";

export const engines: DashboardSpec = {
  uid: dashboardUids.engines,
  title: "LMStack / Engines",
  description: "Engine beside engine, to spot the odd one.",
  rows: [
    {
      title: "As the router sees them",
      panels: [
        {
          kind: "series",
          title: "Requests per second",
          description: "Tries that ended, by endpoint.",
          unit: "reqps",
          queries: [
            {
              expr: `sum by (endpoint) (rate(lmstack_attempts_total{${ofEndpoint}}[$__rate_interval]))`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "TTFT",
          description: "Mean time from handing a request to an endpoint to the first event of its stream.",
          unit: "s",
          queries: [
            {
              expr: `sum by (endpoint) (rate(lmstack_endpoint_time_to_first_token_seconds_sum{${ofEndpoint}}[$__rate_interval])) / (sum by (endpoint) (rate(lmstack_endpoint_time_to_first_token_seconds_count{${ofEndpoint}}[$__rate_interval])) > 0)`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Pending at the endpoint",
          description: "Requests of the routers on an endpoint before their first token.",
          unit: "none",
          queries: [
            {
              expr: `sum by (endpoint) (lmstack_endpoint_in_flight{${ofEndpoint}, phase="queued"})`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Running at the endpoint",
          description: "Requests of the routers on an endpoint after their first token.",
          unit: "none",
          queries: [
            {
              expr: `sum by (endpoint) (lmstack_endpoint_in_flight{${ofEndpoint}, phase="running"})`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Finished",
          description: "Tries that ended well.",
          unit: "reqps",
          queries: [
            {
              expr: `sum by (endpoint) (rate(lmstack_attempts_total{${ofEndpoint}, outcome="ok"}[$__rate_interval]))`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Uptime",
          description: "How long an endpoint has been in service; 0 while it is not.",
          unit: "s",
          queries: [
            { expr: `max by (endpoint) (lmstack_endpoint_uptime_seconds{${ofEndpoint}})`, legend: "{{endpoint}}" },
          ],
        },
        {
          kind: "series",
          title: "State",
          description: "1 for the state that an endpoint is in.",
          unit: "none",
          queries: [
            {
              expr: `max by (endpoint, state) (lmstack_endpoint_state{${ofEndpoint}})`,
              legend: "{{endpoint}} {{state}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Share of the traffic",
          description: "An engine far above the others is hot, one far below is shunned.",
          unit: "percentunit",
          queries: [
            {
              expr: `sum by (endpoint) (rate(lmstack_attempts_total{${ofEndpoint}}[$__rate_interval])) / on () group_left () (sum(rate(lmstack_attempts_total{${ofEndpoint}}[$__rate_interval])) > 0)`,
              legend: "{{endpoint}}",
            },
          ],
        },
      ],
    },
    {
      title: "As the router believes them to be",
      panels: [
        {
          kind: "series",
          title: "Estimated wait",
          description:
            "How long a new request would wait before its prompt is begun: what is queued there, at the learnt rate.",
          unit: "s",
          queries: [
            {
              expr: `max by (endpoint) (lmstack_endpoint_estimated_wait_seconds{${ofEndpoint}})`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Learnt prefill rate",
          description:
            "Prompt tokens that an engine computes in a second, as first tokens have told. One far below its sisters is slow by itself.",
          unit: "short",
          queries: [
            {
              expr: `avg by (endpoint) (lmstack_endpoint_prefill_tokens_per_second{${ofEndpoint}})`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Requests in the engine, whoever sent them",
          description:
            "What the router last read of the engine's own metrics; above what routers have there, somebody else sends too.",
          unit: "none",
          queries: [
            {
              expr: `max by (endpoint) (sum by (endpoint, instance) (lmstack_engine_requests{${ofEndpoint}}))`,
              legend: "{{endpoint}}",
            },
          ],
        },
        {
          kind: "series",
          title: "KV usage and hit rate, as read",
          description:
            "The same as below for engines that only the router scrapes; under the older names of vLLM 0.9 too.",
          unit: "percentunit",
          max: 1,
          queries: [
            { expr: `max by (endpoint) (lmstack_engine_kv_usage_ratio{${ofEndpoint}})`, legend: "{{endpoint}} KV" },
            {
              expr: `max by (endpoint) (rate(lmstack_engine_cache_hit_tokens_total{${ofEndpoint}}[$__rate_interval])) / (max by (endpoint) (rate(lmstack_engine_cache_query_tokens_total{${ofEndpoint}}[$__rate_interval])) > 0)`,
              legend: "{{endpoint}} hits",
            },
          ],
        },
        {
          kind: "series",
          title: "Age of what was read",
          description:
            "How long ago the router read an engine's metrics. A line that climbs: the engine tells nothing any more.",
          unit: "s",
          queries: [
            { expr: `max by (endpoint) (lmstack_engine_scrape_age_seconds{${ofEndpoint}})`, legend: "{{endpoint}}" },
          ],
        },
        {
          kind: "series",
          title: "Uptime of the process",
          description: "How long an engine's process has been running: a drop to 0 is a restart, and an empty cache.",
          unit: "s",
          queries: [
            { expr: `max by (endpoint) (lmstack_engine_uptime_seconds{${ofEndpoint}})`, legend: "{{endpoint}}" },
          ],
        },
      ],
    },
    {
      title: "As they see themselves",
      panels: [
        {
          kind: "series",
          title: "KV cache usage",
          description: "Share of the KV blocks in use.",
          unit: "percentunit",
          max: 1,
          threshold: thresholds.kvUsage,
          queries: [{ expr: `max by (instance) (vllm:kv_cache_usage_perc{${ofEngine}})`, legend: "{{instance}}" }],
        },
        {
          kind: "series",
          title: "Preemptions",
          description: "Requests thrown out of a batch for want of KV blocks: they start anew.",
          unit: "reqps",
          queries: [
            {
              expr: `sum by (instance) (rate(vllm:num_preemptions_total{${ofEngine}}[$__rate_interval]))`,
              legend: "{{instance}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Generation throughput",
          description: "Generated tokens per second.",
          unit: "short",
          queries: [
            {
              expr: `sum by (instance) (rate(vllm:generation_tokens_total{${ofEngine}}[$__rate_interval]))`,
              legend: "{{instance}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Prefill throughput",
          description: "Prompt tokens per second, cached ones included.",
          unit: "short",
          queries: [
            {
              expr: `sum by (instance) (rate(vllm:prompt_tokens_total{${ofEngine}}[$__rate_interval]))`,
              legend: "{{instance}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Queue time p95",
          description: "Time that requests wait in an engine before they are scheduled.",
          unit: "s",
          queries: [
            {
              expr: `histogram_quantile(0.95, sum by (instance, le) (rate(vllm:request_queue_time_seconds_bucket{${ofEngine}}[$__rate_interval])))`,
              legend: "{{instance}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Time between tokens p95",
          description: "As engines measure it.",
          unit: "s",
          queries: [
            {
              expr: `histogram_quantile(0.95, sum by (instance, le) (rate(vllm:inter_token_latency_seconds_bucket{${ofEngine}}[$__rate_interval])))`,
              legend: "{{instance}}",
            },
          ],
        },
      ],
    },
  ],
};
