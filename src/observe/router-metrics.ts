// The router's metrics as the data path uses them: series bound once per model and per endpoint, so that a request costs no
// look-up by label.
import type { ChoiceReason } from "../routing/policy.ts";
import type { MigrationCause, MigrationResult, RetryReason } from "./catalogue.ts";
import { EndpointMetrics, type EndpointMetricsOptions } from "./endpoint-metrics.ts";
import { ModelMetrics, type EndedRequest } from "./model-metrics.ts";
import { MetricsRegistry } from "./registry.ts";
import type { Distribution, Value } from "./series.ts";

/** What identifies an endpoint here. */
interface Named {
  readonly id: string;
  readonly url: string;
}

export class RouterMetrics {
  readonly registry: MetricsRegistry;
  readonly options: EndpointMetricsOptions;
  readonly connect: Distribution;
  readonly #models = new Map<string, ModelMetrics>();
  readonly #endpoints = new Map<string, EndpointMetrics>();
  #policy = "";
  #choices: Partial<Record<ChoiceReason, Value>> = {};

  constructor(options: EndpointMetricsOptions) {
    this.options = options;
    this.registry = new MetricsRegistry(options);
    this.connect = this.registry.distribution("lmstack_engine_connect_seconds").child();
  }

  /** Series of a model; a name that no engine serves is counted as `other`. */
  model(name: string | null): ModelMetrics {
    const label = name ?? "other";
    let found = this.#models.get(label);
    if (found === undefined) {
      found = new ModelMetrics(this.registry, label);
      this.#models.set(label, found);
    }
    return found;
  }

  endpoint({ id, url }: Named): EndpointMetrics {
    let found = this.#endpoints.get(id);
    if (found === undefined) {
      found = new EndpointMetrics(this.registry, id, url, this.options);
      this.#endpoints.set(id, found);
    }
    return found;
  }

  /** A request arrived whose model is known. */
  arrived(model: ModelMetrics): void {
    model.inFlight.value++;
    if (model.incoming !== null) model.incoming.value++;
  }

  /** @param model null = the request ended before its model was known. @param endpoint the last one; null = none was tried */
  ended(model: ModelMetrics | null, endpoint: EndpointMetrics | null, request: EndedRequest): void {
    if (model !== null) model.inFlight.value--;
    const counted = model ?? this.model(null);
    counted.ended(request);
    endpoint?.ended(counted.name, request);
  }

  retry(reason: RetryReason): Value {
    return this.registry.value("lmstack_retries_total").child(reason);
  }

  migration(cause: MigrationCause, result: MigrationResult): Value {
    return this.registry.value("lmstack_migrations_total").child(cause, result);
  }

  choice(policy: string, reason: ChoiceReason): Value {
    if (policy !== this.#policy) {
      this.#policy = policy;
      this.#choices = {};
    }
    return (this.#choices[reason] ??= this.registry.value("lmstack_choices_total").child(policy, reason));
  }

  error(label: string): Value {
    return this.registry.value("lmstack_errors_total").child(label);
  }

  /** Requests that ended since the start. */
  requestCount(): number {
    return this.registry.value("lmstack_requests_total").total();
  }

  /** Errors that the router answered since its start. */
  errorCount(): number {
    return this.registry.value("lmstack_errors_total").total();
  }

  /** Forgets endpoints that are not in the list any more. */
  pruneEndpoints(present: readonly Named[]): void {
    const ids = new Set(present.map(({ id }) => id));
    for (const id of this.#endpoints.keys()) if (!ids.has(id)) this.#endpoints.delete(id);
    this.registry.pruneEndpoints(ids, new Set(present.map(({ url }) => url)));
  }
}
