// Names that production-stack's dashboards, adapters and KEDA triggers query, with true values; off with
// `--no-legacy-metrics`. Some carry the name of an engine's own metric with another label, or a counter's suffix on a gauge:
// they are kept as they are, since whoever reads them has stored them. Part of the catalogue.
import { modelValues, type MetricDefinition } from "./metric-definition.ts";

const server = "URLs of the endpoints that discovery lists";

/** `cancelled`: production-stack counts a client's leaving as success. */
export const legacyStatuses = ["success", "error", "cancelled"] as const;
export type LegacyStatus = (typeof legacyStatuses)[number];

function gauge<const Labels extends MetricDefinition["labels"]>(help: string, labels: Labels) {
  return { type: "gauge", help, labels, legacy: true } as const;
}

export const legacyMetrics = {
  "vllm:current_qps": gauge("Requests per second sent to a server, over --request-stats-window.", { server }),
  "vllm:avg_decoding_length": gauge(
    "Mean seconds from first token to end of the requests that ended within --request-stats-window; -1 = none did.",
    { server },
  ),
  "vllm:num_prefill_requests": gauge("Requests of this router on a server, before their first token.", { server }),
  "vllm:num_decoding_requests": gauge("Requests of this router on a server, after their first token.", { server }),
  "vllm:num_requests_running": gauge("Requests of this router on a server, before or after their first token.", {
    server,
  }),
  "vllm:num_requests_waiting": gauge("Requests of this router on a server that wait for their first token.", {
    server,
  }),
  "vllm:num_requests_swapped": gauge("Always 0: engines of today swap nothing out.", { server }),
  "vllm:avg_latency": gauge("Mean seconds of the requests that ended within --request-stats-window; -1 = none did.", {
    server,
  }),
  "vllm:avg_itl": gauge(
    "Mean seconds per token after the first of the streams that ended within --request-stats-window; -1 = none did.",
    { server },
  ),
  "vllm:healthy_pods_total": gauge("1 for a server that gets requests, 0 for one that does not.", { server }),
  "vllm:gpu_prefix_cache_hit_rate": gauge(
    "Share of the prompt tokens that an engine found in its prefix cache, between the router's last two looks at its metrics.",
    { server },
  ),
  "vllm:gpu_prefix_cache_hits_total": {
    type: "counter",
    help: "Prompt tokens that an engine has found in its prefix cache, as it says.",
    labels: { server },
    legacy: true,
  },
  "vllm:gpu_prefix_cache_queries_total": {
    type: "counter",
    help: "Prompt tokens that an engine has looked up in its prefix cache, as it says.",
    labels: { server },
    legacy: true,
  },
  router_cpu_usage_percent: gauge("CPU of the router's process since the last scrape, in percent of one core.", {}),
  router_memory_usage_percent: gauge("Resident memory of the router's process, in percent of what it may have.", {}),
  router_disk_usage_percent: gauge("Used space of the file system that holds /.", {}),
  "vllm:num_incoming_requests_total": {
    type: "counter",
    help: "Requests for a model.",
    labels: { model: modelValues },
    legacy: true,
  },
  "vllm:input_tokens_total": {
    type: "counter",
    help: "Prompt tokens, from usage, streams too.",
    labels: { server, model: modelValues },
    legacy: true,
  },
  "vllm:output_tokens_total": {
    type: "counter",
    help: "Generated tokens, from usage, streams too.",
    labels: { server, model: modelValues },
    legacy: true,
  },
  "vllm:request_errors_total": {
    type: "counter",
    help: "Requests that failed on a server, by outcome.",
    labels: { server, model: modelValues, error_type: "an outcome that is neither ok nor client_gone" },
    legacy: true,
  },
  "vllm:request_latency_seconds": {
    type: "histogram",
    help: "From a request's head to the end of its answer.",
    labels: { server, model: modelValues, status: legacyStatuses },
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
    legacy: true,
  },
} as const satisfies Record<string, MetricDefinition>;
