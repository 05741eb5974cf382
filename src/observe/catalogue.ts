// Every metric of the router, in one table: the registry, `docs/metrics.md`, dashboards and tests read it, so that nobody can
// query a name that nobody emits. Label values are bounded by construction: configured or discovered models (else `other`),
// endpoints that exist, closed lists. Never a client's string. The names that others have given stand in files of their own.
import { engineCatalogue } from "./engine-figures.ts";
import { kvCatalogue } from "./kv-metrics.ts";
import { errorCatalogue, outcomes } from "../errors/catalogue.ts";
import { apiNames } from "../api/table.ts";
import { choiceReasons } from "../routing/policy.ts";
import { breakerStates } from "../fleet/breaker.ts";
import { discoveryProblems } from "../fleet/discovery/source.ts";
import { endpointStates } from "../fleet/endpoint.ts";
import { policyNames } from "../config/types.ts";
import { genAiMetrics } from "./catalogue-genai.ts";
import { endpointValues, modelValues, type MetricDefinition } from "./metric-definition.ts";
import { legacyMetrics } from "./catalogue-legacy.ts";

export type { MetricDefinition } from "./metric-definition.ts";

const model = modelValues;
const endpoint = endpointValues;

export const attemptOutcomes = [
  "ok",
  "rejected",
  "busy",
  "unreachable",
  "reset",
  "timeout",
  "server_error",
  "bad_response",
  "interrupted",
  "client_gone",
] as const;
/** How one try on one endpoint ended. */
export type AttemptOutcome = (typeof attemptOutcomes)[number];

export const retryReasons = [
  "unreachable",
  "reset",
  "stale_connection",
  "timeout",
  "busy",
  "server_error",
  "bad_response",
] as const;
export type RetryReason = (typeof retryReasons)[number];

export const statusClasses = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"] as const;
export type StatusClass = (typeof statusClasses)[number];
/** What ended an engine's part of a stream before its time. */
export const migrationCauses = ["reset", "error_frame", "abort", "timeout", "stall"] as const;
export type MigrationCause = (typeof migrationCauses)[number];

/**
 * What became of a stream whose engine failed in the middle: another one went on with it, only its end was missing, or, for
 * the reason named, it ended with an error.
 */
export const migrationResults = [
  "continued",
  "finished",
  "off",
  "api",
  "request",
  "stream",
  "too_large",
  "no_budget",
  "no_retry_budget",
  "no_endpoint",
  "unconfirmed",
  "failed",
] as const;
export type MigrationResult = (typeof migrationResults)[number];

/** What became of a request whose model had no endpoint: one came, none came in time, or it did not wait to the end. */
export const holdResults = ["found", "timeout", "left"] as const;
export type HoldResult = (typeof holdResults)[number];

const durationBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640];
const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
];
/** From a fast decode step to a stall that a reader notices. */
const interTokenBuckets = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 10];
const overheadBuckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];
const connectBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
/** Few, as there is one set for each endpoint. */
const endpointFirstTokenBuckets = [0.1, 0.5, 2.5, 10];

const ownMetrics = {
  lmstack_requests_total: {
    type: "counter",
    help: "Requests for an engine that ended, by how they ended.",
    labels: { model, api: apiNames, outcome: outcomes },
  },
  lmstack_responses_total: {
    type: "counter",
    help: "Requests for an engine that ended, by the class of the status that the client got; none = it left before.",
    labels: { model, status_class: statusClasses },
  },
  lmstack_requests_in_flight: {
    type: "gauge",
    help: "Requests for an engine that have not ended.",
    labels: { model },
  },
  lmstack_request_duration_seconds: {
    type: "histogram",
    help: "From a request's head to the end of its answer.",
    labels: { model },
    buckets: durationBuckets,
  },
  lmstack_time_to_first_token_seconds: {
    type: "histogram",
    help: "From a request's head to the first event of a stream. Answers that are no stream are not counted: their first token can't be seen.",
    labels: { model },
    buckets: firstTokenBuckets,
  },
  lmstack_inter_token_latency_seconds: {
    type: "histogram",
    help: "Time between two reads of a stream's events, as a mean over a tenth of a second; longer silences are measured as they are. An engine that lags puts several tokens into one read.",
    labels: { model },
    buckets: interTokenBuckets,
  },
  lmstack_router_overhead_seconds: {
    type: "histogram",
    help: "Time in the router that waits neither for a client nor for an engine: from the last byte of a request until it is handed to an engine, and again for each retry.",
    labels: { model },
    buckets: overheadBuckets,
  },
  lmstack_errors_total: {
    type: "counter",
    help: "Errors that the router itself answered, by the label of the error catalogue.",
    labels: { error: [...new Set(Object.values(errorCatalogue).map((definition) => definition.label))] },
  },
  lmstack_prompt_tokens_total: { type: "counter", help: "Prompt tokens, from usage.", labels: { model } },
  lmstack_cached_tokens_total: {
    type: "counter",
    help: "Prompt tokens that engines had cached, from usage.",
    labels: { model },
  },
  lmstack_predicted_cached_tokens_total: {
    type: "counter",
    help: "Prompt tokens that the router expected engines to have cached, of answers with usage: beside lmstack_cached_tokens_total it tells how true the index is.",
    labels: { model },
  },
  lmstack_generated_tokens_total: { type: "counter", help: "Generated tokens, from usage.", labels: { model } },
  lmstack_usage_total: {
    type: "counter",
    help: "Good answers with and without token usage: what the token counters can't see.",
    labels: { model, usage: ["present", "absent"] },
  },
  lmstack_attempts_total: {
    type: "counter",
    help: "Tries on an endpoint, by how they ended.",
    labels: { endpoint, outcome: attemptOutcomes },
  },
  lmstack_retries_total: {
    type: "counter",
    help: "Further tries of a request, by why.",
    labels: { reason: retryReasons },
  },
  lmstack_migrations_total: {
    type: "counter",
    help: "Streams whose engine failed in mid-answer, by what ended it and what became of them.",
    labels: { cause: migrationCauses, result: migrationResults },
  },
  lmstack_migration_kept_bytes: {
    type: "gauge",
    help: "What is kept of streams and their requests, so that another engine can go on.",
    labels: {},
  },
  lmstack_migration_kept_limit_bytes: {
    type: "gauge",
    help: "How much of that may be kept, --migration-budget-bytes: a stream beyond it ends when its engine fails.",
    labels: {},
  },
  lmstack_choices_total: {
    type: "counter",
    help: "Endpoints chosen, by policy and reason.",
    labels: { policy: policyNames, reason: choiceReasons },
  },
  lmstack_endpoint_in_flight: {
    type: "gauge",
    help: "Requests of this router on an endpoint: queued before their first token, running after it.",
    labels: { endpoint, phase: ["queued", "running"] },
  },
  lmstack_endpoint_queued_tokens: {
    type: "gauge",
    help: "Prompt tokens of this router's requests that an endpoint has still to compute, as far as the router can tell.",
    labels: { endpoint },
  },
  lmstack_endpoint_estimated_wait_seconds: {
    type: "gauge",
    help: "How long a new request would wait on an endpoint before its prompt is begun: what this router and others have queued there, at the learnt rate.",
    labels: { endpoint },
  },
  lmstack_endpoint_prefill_tokens_per_second: {
    type: "gauge",
    help: "Prompt tokens that an endpoint computes in a second, as learnt from first tokens.",
    labels: { endpoint },
  },
  lmstack_endpoint_step_seconds: {
    type: "gauge",
    help: "Time between two tokens of a stream on an endpoint, as learnt from answers.",
    labels: { endpoint },
  },
  ...engineCatalogue,
  ...kvCatalogue,
  lmstack_prefix_index_bytes: { type: "gauge", help: "Memory of the index of sent prompts.", labels: {} },
  lmstack_prefix_index_blocks: { type: "gauge", help: "Blocks of prompts in that index.", labels: {} },
  lmstack_queue_time_seconds: {
    type: "histogram",
    help: "Time that requests waited in the router for an endpoint with room, of those that waited.",
    labels: { model },
    buckets: firstTokenBuckets,
  },
  lmstack_queue_length: {
    type: "gauge",
    help: "Requests that wait in the router for room on an endpoint, or for an endpoint: what an autoscaler wakes a model by.",
    labels: { model },
  },
  lmstack_queue_oldest_seconds: {
    type: "gauge",
    help: "For how long the oldest of them has been waiting; 0 = none does.",
    labels: { model },
  },
  lmstack_held_requests_total: {
    type: "counter",
    help: "Requests that waited for an endpoint because their model had none, by what came of it: one was found, none came within --hold-timeout-seconds (timeout), or the request left before.",
    labels: { model, result: holdResults },
  },
  lmstack_load_reports_total: {
    type: "counter",
    help: "Reports of their load that engines sent with answers (ORCA), by whether they could be read.",
    labels: { result: ["used", "unreadable"] },
  },
  lmstack_endpoints: {
    type: "gauge",
    help: "Endpoints that serve a model, by state.",
    labels: { model, state: endpointStates },
  },
  lmstack_endpoint_state: {
    type: "gauge",
    help: "1 for the state that an endpoint is in; the others have no series.",
    labels: { endpoint, state: endpointStates },
  },
  lmstack_endpoint_breaker_state: {
    type: "gauge",
    help: "1 for the state that an endpoint's breaker is in; the others have no series.",
    labels: { endpoint, state: breakerStates },
  },
  lmstack_endpoint_breaker_transitions_total: {
    type: "counter",
    help: "Times that an endpoint's breaker came into a state: to ejected is an endpoint taken out.",
    labels: { endpoint, to: breakerStates },
  },
  lmstack_endpoint_uptime_seconds: {
    type: "gauge",
    help: "How long an endpoint has been in service: since it became ready, or came back after it was taken out; 0 while it is not.",
    labels: { endpoint },
  },
  lmstack_endpoint_time_to_first_token_seconds: {
    type: "histogram",
    help: "From handing a request to an endpoint to the first event of its stream.",
    labels: { endpoint },
    buckets: endpointFirstTokenBuckets,
  },
  lmstack_engine_connect_seconds: {
    type: "histogram",
    help: "Time to make a connection to an engine.",
    labels: {},
    buckets: connectBuckets,
  },
  lmstack_engine_connections_opened_total: {
    type: "counter",
    help: "Connections made to an endpoint.",
    labels: { endpoint },
  },
  lmstack_engine_connections_reused_total: {
    type: "counter",
    help: "Requests sent on a connection that had carried one before.",
    labels: { endpoint },
  },
  lmstack_engine_connections: { type: "gauge", help: "Open connections to engines, idle ones too.", labels: {} },
  lmstack_client_connections: { type: "gauge", help: "Open connections of clients.", labels: {} },
  lmstack_buffered_bytes: { type: "gauge", help: "Request bodies held for their first event.", labels: {} },
  lmstack_event_loop_delay_seconds: {
    type: "gauge",
    help: "How late the event loop ran since the last scrape.",
    labels: { stat: ["median", "p99", "max"] },
  },
  lmstack_config_reloads_total: {
    type: "counter",
    help: "Changes of the dynamic configuration file, by result.",
    labels: { result: ["applied", "rejected"] },
  },
  lmstack_discovery_failures_total: {
    type: "counter",
    help: "Times that the source of endpoints could not be read, by why. The endpoints known last stay in force.",
    labels: { reason: discoveryProblems },
  },
  lmstack_discovery_updates_total: {
    type: "counter",
    help: "Times that a set of endpoints was put in force.",
    labels: {},
  },
  lmstack_discovery_stale_seconds: {
    type: "gauge",
    help: "For how long the endpoints may have been out of date, since their source can't be read; 0 = they are up to date.",
    labels: {},
  },
  lmstack_config_last_reload_successful: {
    type: "gauge",
    help: "1 when the last change of the dynamic configuration file was applied, 0 when it was rejected and the one before stays in force.",
    labels: {},
  },
  lmstack_config_last_reload_timestamp_seconds: {
    type: "gauge",
    help: "When the configuration in force was applied, Unix time.",
    labels: {},
  },
  lmstack_tls_certificate_expiry_timestamp_seconds: {
    type: "gauge",
    help: "When the certificate that clients see expires, Unix time. Without TLS there is no series.",
    labels: {},
  },
  lmstack_config_info: {
    type: "gauge",
    help: "1 for the revision of the dynamic configuration in force.",
    labels: { revision: "the one in force" },
  },
  lmstack_spans_total: {
    type: "counter",
    help: "Spans of traces, by whether the collector took them. Without --otel-endpoint there is no series.",
    labels: { result: ["exported", "failed"] },
  },
  lmstack_build_info: { type: "gauge", help: "1, with the version.", labels: { version: "the one that runs" } },
  lmstack_draining: { type: "gauge", help: "1 while the router is on its way out.", labels: {} },
  lmstack_heap_used_bytes: { type: "gauge", help: "JavaScript objects, live and not yet collected.", labels: {} },
  lmstack_external_memory_bytes: {
    type: "gauge",
    help: "Memory outside the JavaScript heap that its objects hold: bodies, read buffers.",
    labels: {},
  },
  process_resident_memory_bytes: { type: "gauge", help: "Resident memory.", labels: {} },
  process_cpu_seconds_total: { type: "counter", help: "CPU time, user and system.", labels: {} },
  process_start_time_seconds: { type: "gauge", help: "Start of the process, Unix time.", labels: {} },
} as const satisfies Record<string, MetricDefinition>;

export const metricCatalogue = { ...ownMetrics, ...genAiMetrics, ...legacyMetrics } as const;

export type MetricName = keyof typeof metricCatalogue;
