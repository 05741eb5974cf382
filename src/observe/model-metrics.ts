// Series of one model, bound when the model is first asked for, so that a request costs no look-up by label.
import type { ApiName } from "../api/table.ts";
import type { Usage } from "../api/usage.ts";
import type { Outcome } from "../errors/catalogue.ts";
import { genAiOperationOf, genAiProvider, type GenAiOperation } from "./catalogue-genai.ts";
import type { StatusClass } from "./catalogue.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { Distribution, Trace, Value } from "./series.ts";

/** How a request ended, as far as it is measured. */
export interface EndedRequest {
  readonly api: ApiName;
  readonly outcome: Outcome;
  /** Status that the client got; 0 = it left before. */
  readonly status: number;
  readonly nowMs: number;
  readonly durationMs: number;
  /** null = the answer was no stream, or its first event never came. */
  readonly firstTokenMs: number | null;
  /** Time in the router that waited for nobody; null = the request was never handed to an engine. */
  readonly overheadMs: number | null;
  readonly usage: Usage | null;
  /** null = the request is not traced. */
  readonly exemplar: Trace | null;
}

export class ModelMetrics {
  readonly name: string;
  readonly inFlight: Value;
  readonly duration: Distribution;
  readonly firstToken: Distribution;
  readonly interToken: Distribution;
  readonly overhead: Distribution;
  readonly queueTime: Distribution;
  /** null without `--legacy-metrics`. */
  readonly incoming: Value | null;
  readonly promptTokens: Value;
  readonly cachedTokens: Value;
  readonly generatedTokens: Value;
  /** Of answers whose usage is counted, too. */
  readonly predictedTokens: Value;
  readonly usagePresent: Value;
  readonly usageAbsent: Value;
  readonly #registry: MetricsRegistry;
  readonly #byApi = new Map<ApiName, ApiMetrics>();
  readonly #byStatus: Partial<Record<StatusClass, Value>> = {};

  constructor(registry: MetricsRegistry, name: string) {
    this.#registry = registry;
    this.name = name;
    this.inFlight = registry.value("lmstack_requests_in_flight").child(name);
    this.duration = registry.distribution("lmstack_request_duration_seconds").child(name);
    this.firstToken = registry.distribution("lmstack_time_to_first_token_seconds").child(name);
    this.interToken = registry.distribution("lmstack_inter_token_latency_seconds").child(name);
    this.overhead = registry.distribution("lmstack_router_overhead_seconds").child(name);
    this.queueTime = registry.distribution("lmstack_queue_time_seconds").child(name);
    this.incoming = registry.legacy ? registry.value("vllm:num_incoming_requests_total").child(name) : null;
    this.promptTokens = registry.value("lmstack_prompt_tokens_total").child(name);
    this.cachedTokens = registry.value("lmstack_cached_tokens_total").child(name);
    this.generatedTokens = registry.value("lmstack_generated_tokens_total").child(name);
    this.predictedTokens = registry.value("lmstack_predicted_cached_tokens_total").child(name);
    this.usagePresent = registry.value("lmstack_usage_total").child(name, "present");
    this.usageAbsent = registry.value("lmstack_usage_total").child(name, "absent");
  }

  ended(request: EndedRequest): void {
    const { outcome, status, usage } = request;
    const byApi = this.#api(request.api);
    byApi.ended(request);
    const statusClass = classOf(status);
    (this.#byStatus[statusClass] ??= this.#registry.value("lmstack_responses_total").child(this.name, statusClass))
      .value++;
    if (request.exemplar === null) this.duration.observe(request.durationMs / 1000);
    else this.duration.observeTraced(request.durationMs / 1000, request.exemplar);
    if (request.overheadMs !== null) this.overhead.observe(request.overheadMs / 1000);
    if (outcome !== "ok") return;
    if (usage === null) this.usageAbsent.value++;
    else {
      this.usagePresent.value++;
      this.promptTokens.value += usage.promptTokens;
      this.cachedTokens.value += usage.cachedTokens;
      this.generatedTokens.value += usage.completionTokens;
    }
  }

  #api(api: ApiName): ApiMetrics {
    let found = this.#byApi.get(api);
    if (found === undefined) {
      found = new ApiMetrics(this.#registry, this.name, api);
      this.#byApi.set(api, found);
    }
    return found;
  }
}

/** Series of one model under one API. */
class ApiMetrics {
  readonly #registry: MetricsRegistry;
  readonly #model: string;
  readonly #api: ApiName;
  readonly #operation: GenAiOperation | undefined;
  readonly #byOutcome: Partial<Record<Outcome, { readonly requests: Value; readonly duration: Distribution | null }>> =
    {};
  #genAi: { readonly firstToken: Distribution; readonly perToken: Distribution } | null = null;

  constructor(registry: MetricsRegistry, model: string, api: ApiName) {
    this.#registry = registry;
    this.#model = model;
    this.#api = api;
    this.#operation = genAiOperationOf[api];
  }

  ended({ outcome, durationMs, firstTokenMs, usage }: EndedRequest): void {
    const end = (this.#byOutcome[outcome] ??= this.#bindOutcome(outcome));
    end.requests.value++;
    end.duration?.observe(durationMs / 1000);
    if (firstTokenMs === null || outcome !== "ok" || this.#operation === undefined) return;
    const { firstToken, perToken } = (this.#genAi ??= this.#bindGenAi(this.#operation));
    firstToken.observe(firstTokenMs / 1000);
    const perTokenMs = timePerOutputToken(durationMs, firstTokenMs, usage);
    if (perTokenMs !== null) perToken.observe(perTokenMs / 1000);
  }

  #bindOutcome(outcome: Outcome): { readonly requests: Value; readonly duration: Distribution | null } {
    const model = this.#model;
    const requests = this.#registry.value("lmstack_requests_total").child(model, this.#api, outcome);
    if (this.#operation === undefined) return { requests, duration: null };
    const error = outcome === "ok" ? "" : outcome;
    const duration = this.#registry
      .distribution("gen_ai_server_request_duration_seconds")
      .child(this.#operation, genAiProvider, model, model, error);
    return { requests, duration };
  }

  #bindGenAi(operation: GenAiOperation): { readonly firstToken: Distribution; readonly perToken: Distribution } {
    const bind = (
      name: "gen_ai_server_time_to_first_token_seconds" | "gen_ai_server_time_per_output_token_seconds",
    ): Distribution => this.#registry.distribution(name).child(operation, genAiProvider, this.#model, this.#model);
    return {
      firstToken: bind("gen_ai_server_time_to_first_token_seconds"),
      perToken: bind("gen_ai_server_time_per_output_token_seconds"),
    };
  }
}

/** Mean time of the tokens after the first one; null where the answer has no second one, or does not tell. */
export function timePerOutputToken(durationMs: number, firstTokenMs: number, usage: Usage | null): number | null {
  return usage === null || usage.completionTokens < 2
    ? null
    : (durationMs - firstTokenMs) / (usage.completionTokens - 1);
}

const classes: readonly StatusClass[] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

function classOf(status: number): StatusClass {
  return classes[Math.floor(status / 100)] ?? "none";
}
