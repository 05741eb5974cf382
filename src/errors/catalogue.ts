// Every error that the router itself can answer, in one table: the wire shape (`api/error-body.ts`), the retry policy, the
// metrics and `docs/errors.md` all read it. An error that is not here can't be sent.

/** How a request ended; the value of the `outcome` label. Closed: dashboards and alerts enumerate it. */
export const outcomes = [
  "ok",
  "client_error",
  "client_gone",
  "engine_error",
  "engine_timeout",
  "no_endpoint",
  "queue_full",
  "queue_timeout",
  "overloaded",
  "cut",
  "router_error",
] as const;
export type Outcome = (typeof outcomes)[number];

export interface ErrorDefinition {
  /** HTTP status; for errors inside a stream, the status that the error frame names. */
  readonly status: number;
  /** `error.type` in the OpenAI shape. */
  readonly openaiType: string;
  /** `error.type` in the Anthropic shape. */
  readonly anthropicType: string;
  readonly outcome: Outcome;
  /** Value of `x-should-retry`; null = the header is not sent and the SDK decides by status. */
  readonly shouldRetry: boolean | null;
  /** Whether `retry-after` and `retry-after-ms` are sent. */
  readonly retryAfter: boolean;
  /** Whether the endpoint's breaker counts it. */
  readonly countsAgainstEndpoint: boolean;
  /** Metric label: who caused it, then what. */
  readonly label: `${"caller" | "policy" | "engine" | "router"}_${string}`;
  /** One sentence for the documentation: when it happens. */
  readonly when: string;
  /** One sentence for the documentation: the way out. */
  readonly fix: string;
}

const invalid = {
  openaiType: "invalid_request_error",
  anthropicType: "invalid_request_error",
  outcome: "client_error",
  shouldRetry: false,
  retryAfter: false,
  countsAgainstEndpoint: false,
} as const;

const engineFailure = {
  openaiType: "api_error",
  anthropicType: "api_error",
  shouldRetry: false,
  retryAfter: false,
  countsAgainstEndpoint: true,
} as const;

const busy = {
  openaiType: "overloaded_error",
  anthropicType: "overloaded_error",
  shouldRetry: true,
  retryAfter: true,
  countsAgainstEndpoint: false,
} as const;

export const errorCatalogue = {
  malformed_http: {
    ...invalid,
    status: 400,
    label: "caller_malformed_http",
    when: "The bytes are not an unambiguous HTTP/1.1 request: the connection is closed after the answer.",
    fix: "Look at the client or the proxy in front; the message names the rule that was broken.",
  },
  head_too_large: {
    ...invalid,
    status: 431,
    label: "caller_head_too_large",
    when: "Request line and headers exceed `--max-head-bytes`.",
    fix: "Send fewer or shorter headers.",
  },
  request_timeout: {
    ...invalid,
    status: 408,
    label: "caller_request_timeout",
    when: "The head was not complete within `--head-timeout-seconds`, or the body paused for longer than `--body-idle-timeout-seconds`.",
    fix: "Send the request without pausing.",
  },
  body_too_large: {
    ...invalid,
    status: 413,
    anthropicType: "request_too_large",
    label: "caller_body_too_large",
    when: "The body exceeds `--max-body-bytes`.",
    fix: "Send a smaller body, or raise `--max-body-bytes`.",
  },
  expectation_failed: {
    ...invalid,
    status: 417,
    label: "caller_expectation_failed",
    when: "An `Expect` header other than `100-continue`.",
    fix: "Leave the header out.",
  },
  invalid_json: {
    ...invalid,
    status: 400,
    label: "caller_invalid_json",
    when: "The body is not a JSON object.",
    fix: "The message says at which byte the JSON breaks.",
  },
  invalid_form: {
    ...invalid,
    status: 400,
    label: "caller_invalid_form",
    when: "The body is not `multipart/form-data` with a boundary, on a path that takes a form.",
    fix: "Send a form; the message says what was missing.",
  },
  missing_model: {
    ...invalid,
    status: 400,
    label: "caller_missing_model",
    when: "`model` is absent or not a string.",
    fix: "Name one of the models of `/v1/models`.",
  },
  model_not_found: {
    ...invalid,
    status: 404,
    anthropicType: "not_found_error",
    label: "caller_model_not_found",
    when: "No endpoint serves the model and no alias names it; the message lists the known ones.",
    fix: "Name one of the models of `/v1/models`.",
  },
  response_not_found: {
    ...invalid,
    status: 404,
    anthropicType: "not_found_error",
    label: "caller_response_not_found",
    when: "`/v1/responses/{id}` names a response that no engine behind this router holds any more.",
    fix: "Create the response again: engines keep them in memory only.",
  },
  path_not_found: {
    ...invalid,
    status: 404,
    anthropicType: "not_found_error",
    label: "caller_path_not_found",
    when: "The path is not in the table of paths.",
    fix: "See docs/api.md for the paths.",
  },
  method_not_allowed: {
    ...invalid,
    status: 405,
    label: "caller_method_not_allowed",
    when: "The path exists with another method; `allow` names it.",
    fix: "Use the method that `allow` names.",
  },
  not_implemented: {
    ...invalid,
    status: 501,
    label: "caller_not_implemented",
    when: "The path is known and not built yet.",
    fix: "See docs/api.md for what works.",
  },
  invalid_api_key: {
    ...invalid,
    status: 401,
    openaiType: "authentication_error",
    anthropicType: "authentication_error",
    label: "policy_invalid_api_key",
    when: "No key, or a wrong one, where `--api-key-file` or `--admin-key-file` guards the path.",
    fix: "Send `Authorization: Bearer KEY` (or `x-api-key`) with a key of that file.",
  },
  rate_limited: {
    ...busy,
    status: 429,
    openaiType: "rate_limit_error",
    anthropicType: "rate_limit_error",
    outcome: "queue_full",
    label: "engine_busy",
    when: "Every endpoint of the model said that it is busy.",
    fix: "Wait for `retry-after`, or add engines.",
  },
  queue_full: {
    ...busy,
    status: 429,
    openaiType: "rate_limit_error",
    anthropicType: "rate_limit_error",
    outcome: "queue_full",
    label: "policy_queue_full",
    when: "The model has no endpoint, or all of them have their fill, and as many requests wait in the router as may (`--max-queued-requests`, `--max-queued-tokens`).",
    fix: "Wait for `retry-after`, or add engines.",
  },
  queue_timeout: {
    ...busy,
    status: 503,
    outcome: "queue_timeout",
    label: "policy_queue_timeout",
    when: "The request waited in the router for an endpoint with room for as long as its client waits (`x-request-timeout`, `x-stainless-timeout`).",
    fix: "Add engines, or let clients wait longer.",
  },
  no_endpoint: {
    ...busy,
    status: 503,
    outcome: "no_endpoint",
    label: "policy_no_endpoint",
    when: "None of the model's endpoints was ready within `--hold-timeout-seconds`, or engines had yet to tell their models, which is waited for 10 s at most.",
    fix: "Look at `/engines` for their state; the request may be sent again.",
  },
  overloaded: {
    ...busy,
    status: 503,
    outcome: "overloaded",
    label: "router_overloaded",
    when: "The request bodies held by the router exceed its limit.",
    fix: "Wait for `retry-after`, or run more routers.",
  },
  shutting_down: {
    ...busy,
    status: 503,
    outcome: "overloaded",
    label: "router_shutting_down",
    when: "The router was told to stop and the drain time is over.",
    fix: "Send the request again: another router answers.",
  },
  engine_unreachable: {
    ...engineFailure,
    status: 502,
    outcome: "engine_error",
    label: "engine_unreachable",
    when: "No connection could be made to the endpoints that were tried.",
    fix: "Look at the engines; retries are exhausted.",
  },
  engine_reset: {
    ...engineFailure,
    status: 502,
    outcome: "engine_error",
    label: "engine_reset",
    when: "The engine closed the connection before an answer.",
    fix: "Look at the engine's log; retries are exhausted.",
  },
  engine_bad_response: {
    ...engineFailure,
    status: 502,
    outcome: "engine_error",
    label: "engine_bad_response",
    when: "What the engine sent is not HTTP/1.1, or no event stream where one had begun.",
    fix: "Look at what listens on the endpoint's port.",
  },
  engine_unavailable: {
    ...engineFailure,
    status: 503,
    outcome: "engine_error",
    label: "engine_unavailable",
    when: "Every endpoint that was tried answered 500, 502, 503 or 504 with nothing in it, or failed before the first event of its stream.",
    fix: "Look at the engines; retries are exhausted.",
  },
  engine_connect_timeout: {
    ...engineFailure,
    status: 504,
    anthropicType: "timeout_error",
    outcome: "engine_timeout",
    label: "engine_connect_timeout",
    when: "No connection within `--connect-timeout-seconds`.",
    fix: "Look at the engine's host and network.",
  },
  engine_first_event_timeout: {
    ...engineFailure,
    status: 504,
    anthropicType: "timeout_error",
    outcome: "engine_timeout",
    label: "engine_first_event_timeout",
    when: "No first event of a stream within `--first-event-timeout-seconds`.",
    fix: "Add engines if they queue; else look for a hung one.",
  },
  engine_idle_timeout: {
    ...engineFailure,
    status: 504,
    anthropicType: "timeout_error",
    outcome: "engine_timeout",
    label: "engine_idle_timeout",
    when: "An answer that had begun paused for longer than `--idle-timeout-seconds`.",
    fix: "Look for a hung engine.",
  },
  engine_stalled: {
    ...engineFailure,
    status: 504,
    anthropicType: "timeout_error",
    outcome: "engine_timeout",
    label: "engine_stalled",
    when: "The engine made no progress with any request for `--stall-timeout-seconds`.",
    fix: "Look at the engine's processes and its driver; its health answers all the same.",
  },
  total_timeout: {
    ...engineFailure,
    status: 504,
    anthropicType: "timeout_error",
    outcome: "engine_timeout",
    countsAgainstEndpoint: false,
    label: "policy_total_timeout",
    when: "The request took longer than `--total-timeout-seconds`, or than its client waits: `x-request-timeout`, or, until the answer begins, `x-stainless-timeout`.",
    fix: "Ask for fewer tokens, or raise the limit.",
  },
  stream_interrupted: {
    ...engineFailure,
    status: 502,
    outcome: "cut",
    label: "engine_stream_interrupted",
    when: "The engine died in mid-stream: sent as an error frame, since the status has left already.",
    fix: "Send the request again; the answer so far is incomplete.",
  },
  internal_error: {
    ...engineFailure,
    status: 500,
    outcome: "router_error",
    countsAgainstEndpoint: false,
    label: "router_internal_error",
    when: "A defect of the router.",
    fix: "Please report it with the log line that carries the request id.",
  },
} as const satisfies Record<string, ErrorDefinition>;

/** The `code` field of an error body. */
export type ErrorCode = keyof typeof errorCatalogue;

/** An error of the catalogue with what is known about this case. */
export class LmstackError extends Error {
  override readonly name = "LmstackError";
  readonly code: ErrorCode;
  /** `error.param`: the field at fault. */
  readonly param: string | null;

  constructor(code: ErrorCode, message: string, param: string | null = null) {
    // An answer, and no defect of ours: where it was made says nothing, and to find that out costs more than all the rest of a
    // refusal.
    const limit = Error.stackTraceLimit;
    if (code !== "internal_error") Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = limit;
    this.code = code;
    this.param = param;
  }

  get definition(): ErrorDefinition {
    return errorCatalogue[this.code];
  }
}
