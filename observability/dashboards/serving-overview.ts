// Is it serving, how fast, and who is the odd one: the seven panels that the project promised first, then traffic, errors and
// what is left of the error budget.
import { badOutcomes, dashboardUids, objectives, thresholds } from "../constants.ts";
import { ofEndpoint, ofEngine, ofModel, ofRouter, type DashboardSpec } from "./panels.ts";

const bad = `outcome=~"${badOutcomes.join("|")}"`;

export const servingOverview: DashboardSpec = {
  uid: dashboardUids.overview,
  title: "LMStack / Serving overview",
  description: "Is it serving, how fast, and which engine is the odd one.",
  rows: [
    {
      title: "Serving",
      panels: [
        {
          kind: "stat",
          title: "Available vLLM instances",
          description: "Engines that get requests: checked, and not taken out by the breaker.",
          unit: "none",
          width: 4,
          threshold: 1,
          low: true,
          queries: [
            { expr: `sum(max by (endpoint) (lmstack_endpoint_state{${ofEndpoint}, state="ready"})) or vector(0)` },
          ],
        },
        {
          kind: "heatmap",
          title: "Request latency distribution",
          description: "From a request's head to the end of its answer.",
          unit: "s",
          width: 10,
          queries: [
            { expr: `sum by (le) (increase(lmstack_request_duration_seconds_bucket{${ofModel}}[$__rate_interval]))` },
          ],
        },
        {
          kind: "heatmap",
          title: "TTFT distribution",
          description: "From a request's head to the first event of its stream.",
          unit: "s",
          width: 10,
          queries: [
            {
              expr: `sum by (le) (increase(lmstack_time_to_first_token_seconds_bucket{${ofModel}}[$__rate_interval]))`,
            },
          ],
        },
        {
          kind: "series",
          title: "Running requests",
          description: "Requests in an engine's batches, as the engine says.",
          unit: "none",
          queries: [{ expr: `sum by (instance) (vllm:num_requests_running{${ofEngine}})`, legend: "{{instance}}" }],
        },
        {
          kind: "series",
          title: "Pending requests",
          description:
            "Requests that wait for a place in an engine's batch, as the engine says, and those that wait in the router.",
          unit: "none",
          threshold: thresholds.waitingPerEngine,
          queries: [
            { expr: `sum by (instance) (vllm:num_requests_waiting{${ofEngine}})`, legend: "{{instance}}" },
            { expr: `sum(lmstack_queue_length{${ofModel}})`, legend: "router" },
          ],
        },
        {
          kind: "series",
          title: "GPU KV usage",
          description: "Share of an engine's KV blocks in use.",
          unit: "percentunit",
          max: 1,
          threshold: thresholds.kvUsage,
          queries: [{ expr: `max by (instance) (vllm:kv_cache_usage_perc{${ofEngine}})`, legend: "{{instance}}" }],
        },
        {
          kind: "series",
          title: "GPU KV cache hit rate",
          description: "Share of the prompt tokens that an engine found in its prefix cache.",
          unit: "percentunit",
          max: 1,
          queries: [
            {
              expr: `sum by (instance) (rate(vllm:prefix_cache_hits_total{${ofEngine}}[$__rate_interval])) / (sum by (instance) (rate(vllm:prefix_cache_queries_total{${ofEngine}}[$__rate_interval])) > 0)`,
              legend: "{{instance}}",
            },
          ],
        },
      ],
    },
    {
      title: "Traffic and errors",
      panels: [
        {
          kind: "series",
          title: "Requests by outcome",
          description: "Requests that ended, by how they ended.",
          unit: "reqps",
          stacked: true,
          queries: [
            {
              expr: `sum by (outcome) (rate(lmstack_requests_total{${ofModel}}[$__rate_interval]))`,
              legend: "{{outcome}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Tokens",
          description: "Prompt, cached and generated tokens, from the usage that engines tell.",
          unit: "short",
          queries: [
            { expr: `sum(rate(lmstack_prompt_tokens_total{${ofModel}}[$__rate_interval]))`, legend: "prompt" },
            { expr: `sum(rate(lmstack_cached_tokens_total{${ofModel}}[$__rate_interval]))`, legend: "of them cached" },
            { expr: `sum(rate(lmstack_generated_tokens_total{${ofModel}}[$__rate_interval]))`, legend: "generated" },
          ],
        },
        {
          kind: "series",
          title: "Latency quantiles",
          description: "Medians and tails of the whole answer, of the first token, and between tokens.",
          unit: "s",
          queries: (["0.5", "0.95"] as const).flatMap((q) => [
            {
              expr: `histogram_quantile(${q}, sum by (le) (rate(lmstack_request_duration_seconds_bucket{${ofModel}}[$__rate_interval])))`,
              legend: `answer p${Number(q) * 100}`,
            },
            {
              expr: `histogram_quantile(${q}, sum by (le) (rate(lmstack_time_to_first_token_seconds_bucket{${ofModel}}[$__rate_interval])))`,
              legend: `first token p${Number(q) * 100}`,
            },
            {
              expr: `histogram_quantile(${q}, sum by (le) (rate(lmstack_inter_token_latency_seconds_bucket{${ofModel}}[$__rate_interval])))`,
              legend: `between tokens p${Number(q) * 100}`,
            },
          ]),
        },
        {
          kind: "series",
          title: "Errors that the router answered",
          description: "By whose fault: caller, policy, engine or router. docs/errors.md has the way out of each.",
          unit: "reqps",
          stacked: true,
          queries: [
            { expr: `sum by (error) (rate(lmstack_errors_total{${ofRouter}}[$__rate_interval]))`, legend: "{{error}}" },
          ],
        },
      ],
    },
    {
      title: "Service level",
      panels: [
        {
          kind: "series",
          title: "Error budget burn",
          description: `How many times faster than allowed (${objectives.availability * 100} % good) requests fail. 1 uses the budget up just in time.`,
          unit: "none",
          threshold: 14.4,
          queries: [
            {
              expr: `sum by (model) (rate(lmstack_requests_total{${ofModel}, ${bad}}[$__rate_interval])) / (sum by (model) (rate(lmstack_requests_total{${ofModel}}[$__rate_interval])) > 0) / ${(1 - objectives.availability).toFixed(3)}`,
              legend: "{{model}} now",
            },
            {
              expr: `model:lmstack_request_errors:ratio_1h{${ofModel}} / ${(1 - objectives.availability).toFixed(3)}`,
              legend: "{{model}} 1 h",
            },
          ],
        },
        {
          kind: "series",
          title: "TTFT budget burn",
          description: `How many times faster than allowed (${objectives.ttft * 100} % within ${objectives.ttftSeconds} s) first tokens are late.`,
          unit: "none",
          threshold: 14.4,
          queries: [
            {
              expr: `model:lmstack_slow_first_tokens:ratio_5m{${ofModel}} / ${(1 - objectives.ttft).toFixed(3)}`,
              legend: "{{model}} 5 min",
            },
            {
              expr: `model:lmstack_slow_first_tokens:ratio_1h{${ofModel}} / ${(1 - objectives.ttft).toFixed(3)}`,
              legend: "{{model}} 1 h",
            },
          ],
        },
      ],
    },
  ],
};
