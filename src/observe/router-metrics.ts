// The router's metrics as the data path uses them: children bound once per model, so that a request costs no look-up by
// label. Gauges that mirror state are set when somebody scrapes.
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { ApiName } from "../api/table.ts";
import type { Outcome } from "../errors/catalogue.ts";
import { endpointStates } from "../fleet/endpoint.ts";
import type { Registry } from "../fleet/registry.ts";
import type { Clock } from "../clock.ts";
import type { Usage } from "../api/usage.ts";
import type { ChoiceReason } from "../routing/policy.ts";
import type { AttemptOutcome, RetryReason } from "./catalogue.ts";
import { MetricsRegistry, type Distribution, type Value } from "./registry.ts";

/** Series of one model. */
export class ModelMetrics {
  readonly name: string;
  readonly inFlight: Value;
  readonly duration: Distribution;
  readonly firstToken: Distribution;
  readonly promptTokens: Value;
  readonly cachedTokens: Value;
  readonly generatedTokens: Value;
  readonly usagePresent: Value;
  readonly usageAbsent: Value;
  readonly #requests: (api: string, outcome: string) => Value;
  readonly #byEnd = new Map<ApiName, Partial<Record<Outcome, Value>>>();

  constructor(registry: MetricsRegistry, name: string) {
    this.name = name;
    this.inFlight = registry.value("lmstack_requests_in_flight").child(name);
    this.duration = registry.distribution("lmstack_request_duration_seconds").child(name);
    this.firstToken = registry.distribution("lmstack_time_to_first_token_seconds").child(name);
    this.promptTokens = registry.value("lmstack_prompt_tokens_total").child(name);
    this.cachedTokens = registry.value("lmstack_cached_tokens_total").child(name);
    this.generatedTokens = registry.value("lmstack_generated_tokens_total").child(name);
    this.usagePresent = registry.value("lmstack_usage_total").child(name, "present");
    this.usageAbsent = registry.value("lmstack_usage_total").child(name, "absent");
    const requests = registry.value("lmstack_requests_total");
    this.#requests = (api, outcome) => requests.child(name, api, outcome);
  }

  ended(api: ApiName, outcome: Outcome): void {
    let byOutcome = this.#byEnd.get(api);
    if (byOutcome === undefined) {
      byOutcome = {};
      this.#byEnd.set(api, byOutcome);
    }
    (byOutcome[outcome] ??= this.#requests(api, outcome)).value++;
  }

  tokens(usage: Usage | null): void {
    if (usage === null) {
      this.usageAbsent.value++;
      return;
    }
    this.usagePresent.value++;
    this.promptTokens.value += usage.promptTokens;
    this.cachedTokens.value += usage.cachedTokens;
    this.generatedTokens.value += usage.completionTokens;
  }
}

export interface MirroredState {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly clientConnections: () => number;
  readonly bufferedBytes: () => number;
  readonly draining: () => boolean;
  readonly revision: () => string;
  readonly version: string;
}

export class RouterMetrics {
  readonly registry = new MetricsRegistry();
  readonly #models = new Map<string, ModelMetrics>();
  // series that each request needs, found without making a key of their labels
  readonly #attempts = new Map<string, Partial<Record<AttemptOutcome, Value>>>();
  #policy = "";
  #choices: Partial<Record<ChoiceReason, Value>> = {};

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

  attempt(endpoint: string, outcome: AttemptOutcome): Value {
    let byOutcome = this.#attempts.get(endpoint);
    if (byOutcome === undefined) {
      byOutcome = {};
      this.#attempts.set(endpoint, byOutcome);
    }
    return (byOutcome[outcome] ??= this.registry.value("lmstack_attempts_total").child(endpoint, outcome));
  }

  retry(reason: RetryReason): Value {
    return this.registry.value("lmstack_retries_total").child(reason);
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

  /** Errors that the router answered since its start. */
  errorCount(): number {
    return this.registry.value("lmstack_errors_total").total();
  }

  /** Sets the gauges that mirror the router's state at each scrape. */
  mirror(state: MirroredState): () => void {
    const { registry } = this;
    const delay = monitorEventLoopDelay({ resolution: 20 });
    delay.enable();
    const startedSeconds = state.clock.wallMs() / 1000 - process.uptime();
    registry.onScrape(() => {
      const now = state.clock.nowMs();
      const inFlight = registry.value("lmstack_endpoint_in_flight");
      const endpoints = registry.value("lmstack_endpoints");
      const opened = registry.value("lmstack_engine_connections_opened_total");
      const reused = registry.value("lmstack_engine_connections_reused_total");
      const ejections = registry.value("lmstack_endpoint_ejections_total");
      for (const family of [inFlight, endpoints, opened, reused, ejections]) family.clear();
      const queued = registry.value("lmstack_queue_length");
      queued.clear();
      for (const model of state.registry.models) {
        queued.child(model).value = 0;
        for (const name of endpointStates) endpoints.child(model, name);
      }
      const present = new Set<string>();
      for (const endpoint of state.registry.list()) {
        present.add(endpoint.id);
        inFlight.child(endpoint.id, "queued").value += endpoint.queued;
        inFlight.child(endpoint.id, "running").value += endpoint.running;
        opened.child(endpoint.id).value += endpoint.pool.opened;
        reused.child(endpoint.id).value += endpoint.pool.reused;
        ejections.child(endpoint.id).value += endpoint.breaker.ejected;
        for (const model of endpoint.models) endpoints.child(model, endpoint.state(now)).value++;
      }
      registry.value("lmstack_attempts_total").prune((id) => present.has(id));
      for (const id of this.#attempts.keys()) if (!present.has(id)) this.#attempts.delete(id);
      registry.value("lmstack_client_connections").child().value = state.clientConnections();
      registry.value("lmstack_buffered_bytes").child().value = state.bufferedBytes();
      registry.value("lmstack_draining").child().value = state.draining() ? 1 : 0;
      const loop = registry.value("lmstack_event_loop_delay_seconds");
      // nanoseconds; 20 ms of it is the monitor's own period
      loop.child("0.5").value = Math.max(0, delay.percentile(50) / 1e9 - 0.02);
      loop.child("0.99").value = Math.max(0, delay.percentile(99) / 1e9 - 0.02);
      loop.child("1").value = Math.max(0, delay.max / 1e9 - 0.02);
      delay.reset();
      const info = registry.value("lmstack_config_info");
      info.clear();
      info.child(state.revision()).value = 1;
      registry.value("lmstack_build_info").child(state.version).value = 1;
      registry.value("process_resident_memory_bytes").child().value = process.memoryUsage.rss();
      const cpu = process.cpuUsage();
      registry.value("process_cpu_seconds_total").child().value = (cpu.user + cpu.system) / 1e6;
      registry.value("process_start_time_seconds").child().value = startedSeconds;
    });
    return () => delay.disable();
  }
}
