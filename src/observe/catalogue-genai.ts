// OpenTelemetry's GenAI server metrics under the names that Prometheus has for them, with the buckets of the specification
// (semantic conventions for generative AI, "model server metrics"). Part of the catalogue.
import type { ApiName } from "../api/table.ts";
import { modelValues, type MetricDefinition } from "./metric-definition.ts";

export const genAiOperations = ["chat", "text_completion", "embeddings"] as const;
export type GenAiOperation = (typeof genAiOperations)[number];

/** OpenTelemetry's name of what an API does; the others have none there. */
export const genAiOperationOf: Partial<Record<ApiName, GenAiOperation>> = {
  chat: "chat",
  messages: "chat",
  responses: "chat",
  completions: "text_completion",
  embeddings: "embeddings",
};

/** All values of one label: who made the model run. */
export const genAiProvider = "vllm";

const labels = {
  gen_ai_operation_name: genAiOperations,
  gen_ai_provider_name: [genAiProvider],
  gen_ai_request_model: modelValues,
  gen_ai_response_model: modelValues,
} as const;

export const genAiMetrics = {
  gen_ai_server_request_duration_seconds: {
    type: "histogram",
    help: "GenAI server request duration. error_type is empty for a good end, else the outcome.",
    labels: { ...labels, error_type: "empty, or an outcome" },
    buckets: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  },
  gen_ai_server_time_to_first_token_seconds: {
    type: "histogram",
    help: "Time to the first token of streams that ended well.",
    labels,
    buckets: [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  },
  gen_ai_server_time_per_output_token_seconds: {
    type: "histogram",
    help: "Time per output token after the first one, of streams that ended well and told their usage.",
    labels,
    buckets: [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
  },
} as const satisfies Record<string, MetricDefinition>;
