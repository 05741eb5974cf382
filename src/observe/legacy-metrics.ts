// production-stack's series of one server: see catalogue-legacy.ts. Those that count, and gauges that are set at a scrape.
import type { Outcome } from "../errors/catalogue.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import type { LegacyStatus } from "./catalogue-legacy.ts";
import type { RecentRequests } from "./endpoint-metrics.ts";
import type { EndedRequest } from "./model-metrics.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { Distribution, Value } from "./series.ts";

interface ByModel {
  readonly input: Value;
  readonly output: Value;
  readonly latency: Partial<Record<LegacyStatus, Distribution>>;
}

export class LegacyMetrics {
  readonly #registry: MetricsRegistry;
  readonly #url: string;
  readonly #byModel = new Map<string, ByModel>();

  constructor(registry: MetricsRegistry, url: string) {
    this.#registry = registry;
    this.#url = url;
  }

  ended(model: string, { outcome, durationMs, usage }: EndedRequest): void {
    const bound = this.#model(model);
    if (usage !== null) {
      bound.input.value += usage.promptTokens;
      bound.output.value += usage.completionTokens;
    }
    const status = statusOf(outcome);
    (bound.latency[status] ??= this.#registry
      .distribution("vllm:request_latency_seconds")
      .child(this.#url, model, status)).observe(durationMs / 1000);
    if (status === "error") this.#registry.value("vllm:request_errors_total").child(this.#url, model, outcome).value++;
  }

  #model(model: string): ByModel {
    let bound = this.#byModel.get(model);
    if (bound === undefined) {
      bound = {
        input: this.#registry.value("vllm:input_tokens_total").child(this.#url, model),
        output: this.#registry.value("vllm:output_tokens_total").child(this.#url, model),
        latency: {},
      };
      this.#byModel.set(model, bound);
    }
    return bound;
  }
}

function statusOf(outcome: Outcome): LegacyStatus {
  return outcome === "ok" ? "success" : outcome === "client_gone" ? "cancelled" : "error";
}

export class LegacyGauges {
  readonly #qps: Value;
  readonly #decodingLength: Value;
  readonly #prefill: Value;
  readonly #decoding: Value;
  readonly #running: Value;
  readonly #waiting: Value;
  readonly #latency: Value;
  readonly #itl: Value;
  readonly #healthy: Value;

  constructor(registry: MetricsRegistry, url: string) {
    const bind = (name: Parameters<MetricsRegistry["value"]>[0]): Value => registry.value(name).child(url);
    this.#qps = bind("vllm:current_qps");
    this.#decodingLength = bind("vllm:avg_decoding_length");
    this.#prefill = bind("vllm:num_prefill_requests");
    this.#decoding = bind("vllm:num_decoding_requests");
    this.#running = bind("vllm:num_requests_running");
    this.#waiting = bind("vllm:num_requests_waiting");
    bind("vllm:num_requests_swapped");
    this.#latency = bind("vllm:avg_latency");
    this.#itl = bind("vllm:avg_itl");
    this.#healthy = bind("vllm:healthy_pods_total");
  }

  set(endpoint: Endpoint, recent: RecentRequests, nowMs: number): void {
    this.#qps.value = recent.perSecond;
    this.#decodingLength.value = recent.decoding ?? -1;
    this.#prefill.value = endpoint.queued;
    this.#decoding.value = endpoint.running;
    this.#running.value = endpoint.inFlight;
    this.#waiting.value = endpoint.queued;
    this.#latency.value = recent.duration ?? -1;
    this.#itl.value = recent.perToken ?? -1;
    this.#healthy.value = endpoint.state(nowMs) === "ready" ? 1 : 0;
  }
}
