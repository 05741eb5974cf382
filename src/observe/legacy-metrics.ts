// production-stack's series of one server that count: see catalogue-legacy.ts. Its gauges are set at a scrape, in mirror.ts.
import type { Outcome } from "../errors/catalogue.ts";
import type { LegacyStatus } from "./catalogue-legacy.ts";
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
