// How full it is, what an engine yields, and what an autoscaler sees.
import { dashboardUids, thresholds } from "../constants.ts";
import { ofEndpoint, ofEngine, ofModel, type DashboardSpec } from "./panels.ts";

export const capacity: DashboardSpec = {
  uid: dashboardUids.capacity,
  title: "LMStack / Capacity and cost",
  description: "How full it is, what an engine yields, and what an autoscaler sees.",
  rows: [
    {
      title: "Yield",
      panels: [
        {
          kind: "series",
          title: "Generated tokens per second and engine",
          description: "What each engine in service yields on average. A falling line at equal load is money lost.",
          unit: "short",
          queries: [
            {
              expr: `sum by (model) (rate(lmstack_generated_tokens_total{${ofModel}}[$__rate_interval])) / (sum by (model) (max by (model, instance) (lmstack_endpoints{${ofModel}, state="ready"})) > 0)`,
              legend: "{{model}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Prompt tokens that were computed",
          description: "Prompt tokens per second that no cache had: what the GPUs worked for.",
          unit: "short",
          queries: [
            {
              expr: `sum by (model) (rate(lmstack_prompt_tokens_total{${ofModel}}[$__rate_interval])) - sum by (model) (rate(lmstack_cached_tokens_total{${ofModel}}[$__rate_interval]))`,
              legend: "{{model}}",
            },
          ],
        },
        {
          kind: "series",
          title: "GPU seconds per million generated tokens",
          description:
            "Engines in service, over the tokens that they generate. Times the price of a GPU second it is the cost.",
          unit: "s",
          queries: [
            {
              expr: `1e6 * sum by (model) (max by (model, instance) (lmstack_endpoints{${ofModel}, state="ready"})) / (sum by (model) (rate(lmstack_generated_tokens_total{${ofModel}}[$__rate_interval])) > 0)`,
              legend: "{{model}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Hit rate",
          description: "Share of the prompt tokens that engines had cached.",
          unit: "percentunit",
          max: 1,
          queries: [{ expr: `model:lmstack_cached_tokens:ratio_5m{${ofModel}}`, legend: "{{model}}" }],
        },
      ],
    },
    {
      title: "Saturation",
      panels: [
        {
          kind: "series",
          title: "Waiting per engine",
          description: "The signal to scale on: requests that wait, per engine in service.",
          unit: "none",
          threshold: thresholds.waitingPerEngine,
          queries: [{ expr: "model:vllm_requests_waiting:per_engine", legend: "{{model_name}}" }],
        },
        {
          kind: "series",
          title: "KV usage, fullest and mean",
          description: "A gap between the two means that requests are spread badly.",
          unit: "percentunit",
          max: 1,
          threshold: thresholds.kvUsage,
          queries: [
            { expr: `max by (model_name) (vllm:kv_cache_usage_perc{${ofEngine}})`, legend: "{{model_name}} fullest" },
            { expr: `avg by (model_name) (vllm:kv_cache_usage_perc{${ofEngine}})`, legend: "{{model_name}} mean" },
          ],
        },
        {
          kind: "series",
          title: "In flight per engine",
          description: "Requests on an engine, before and after their first token.",
          unit: "none",
          queries: [
            {
              expr: `avg by (phase) (sum by (endpoint, phase) (lmstack_endpoint_in_flight{${ofEndpoint}}))`,
              legend: "{{phase}}",
            },
          ],
        },
        {
          kind: "series",
          title: "Imbalance",
          description: "In flight of the busiest engine over the mean: 1 is even.",
          unit: "none",
          queries: [
            {
              expr: `max(sum by (endpoint) (lmstack_endpoint_in_flight{${ofEndpoint}})) / (avg(sum by (endpoint) (lmstack_endpoint_in_flight{${ofEndpoint}})) > 0)`,
              legend: "busiest / mean",
            },
          ],
        },
      ],
    },
  ],
};
