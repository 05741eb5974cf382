// What the router knows of each endpoint, as gauges that are set when somebody scrapes. Series are bound when an endpoint is
// first seen and kept: with a thousand endpoints a scrape would else spend most of its time on making the same labels again.
import { breakerStates, type BreakerState } from "../fleet/breaker.ts";
import type { Endpoint, EndpointState } from "../fleet/endpoint.ts";
import { EngineFigures } from "./engine-figures.ts";
import { LegacyGauges } from "./legacy-metrics.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { RouterMetrics } from "./router-metrics.ts";
import type { Value } from "./series.ts";

/** What an endpoint had counted at the last scrape: two of one name, the leaving and the new one, add up. */
interface Counted {
  opened: number;
  reused: number;
  readonly transitions: Record<BreakerState, number>;
}

export interface Moment {
  readonly nowMs: number;
  /** Unix time. */
  readonly wallMs: number;
  /** Figures of engines that are older say nothing. */
  readonly staleMs: number;
}

/** Series of all endpoints of one id. */
class EndpointGauges {
  readonly queued: Value;
  readonly running: Value;
  readonly queuedTokens: Value;
  readonly waitSeconds: Value;
  readonly rate: Value;
  readonly step: Value;
  readonly opened: Value;
  readonly reused: Value;
  readonly figures: EngineFigures;
  readonly legacy: LegacyGauges | null;
  readonly url: string;
  readonly #registry: MetricsRegistry;
  readonly #id: string;
  readonly #uptime: Value;
  readonly #transitions: Partial<Record<BreakerState, Value>> = {};
  #state: EndpointState | null = null;
  #breaker: BreakerState | null = null;
  seen = true;

  constructor(registry: MetricsRegistry, { id, url }: Endpoint) {
    this.#registry = registry;
    this.#id = id;
    this.url = url;
    const bind = (name: Parameters<MetricsRegistry["value"]>[0]): Value => registry.value(name).child(id);
    this.queued = registry.value("lmstack_endpoint_in_flight").child(id, "queued");
    this.running = registry.value("lmstack_endpoint_in_flight").child(id, "running");
    this.queuedTokens = bind("lmstack_endpoint_queued_tokens");
    this.waitSeconds = bind("lmstack_endpoint_estimated_wait_seconds");
    this.rate = bind("lmstack_endpoint_prefill_tokens_per_second");
    this.step = bind("lmstack_endpoint_step_seconds");
    this.opened = bind("lmstack_engine_connections_opened_total");
    this.reused = bind("lmstack_engine_connections_reused_total");
    this.#uptime = bind("lmstack_endpoint_uptime_seconds");
    this.figures = new EngineFigures(registry, id, url);
    this.legacy = registry.legacy ? new LegacyGauges(registry, url) : null;
  }

  /** What all of one id have together. */
  restart(): void {
    this.seen = false;
    this.queued.value = 0;
    this.running.value = 0;
    this.queuedTokens.value = 0;
  }

  add({ queued, running, load }: Endpoint, nowMs: number): void {
    this.seen = true;
    this.queued.value += queued;
    this.running.value += running;
    this.queuedTokens.value += load.queuedTokens(nowMs);
  }

  /** What the one of them that gets requests is like. */
  describe(endpoint: Endpoint, { nowMs, wallMs, staleMs }: Moment): void {
    const { load } = endpoint;
    this.rate.value = 1000 / load.prefillMsPerToken;
    this.step.value = load.stepMs / 1000;
    const tokens = load.queuedTokens(nowMs) + load.othersQueuedTokens(nowMs);
    this.waitSeconds.value = (tokens * load.prefillMsPerToken) / 1000;
    this.#uptime.value = endpoint.uptimeMs(nowMs) / 1000;
    this.figures.set(endpoint, nowMs, wallMs, staleMs);
    const state = endpoint.state(nowMs);
    const breaker = endpoint.breaker.state(nowMs);
    if (state === this.#state && breaker === this.#breaker) return;
    this.#leaveStates();
    this.#registry.value("lmstack_endpoint_state").child(this.#id, state).value = 1;
    this.#registry.value("lmstack_endpoint_breaker_state").child(this.#id, breaker).value = 1;
    this.#state = state;
    this.#breaker = breaker;
  }

  /** Another one takes over the id: series of which there may be one only are its own to make. */
  release(): void {
    this.#leaveStates();
    this.figures.release();
  }

  #leaveStates(): void {
    if (this.#state !== null) this.#registry.value("lmstack_endpoint_state").remove(this.#id, this.#state);
    if (this.#breaker !== null) this.#registry.value("lmstack_endpoint_breaker_state").remove(this.#id, this.#breaker);
  }

  transition(to: BreakerState, times: number): void {
    // of most endpoints there is only the first one, which an alert needs from the beginning
    if (times === 0 && to !== "ejected") return;
    const family = "lmstack_endpoint_breaker_transitions_total";
    (this.#transitions[to] ??= this.#registry.value(family).child(this.#id, to)).value += times;
  }
}

export class EndpointMirror {
  readonly #metrics: RouterMetrics;
  readonly #gauges = new Map<string, EndpointGauges>();
  readonly #counted = new Map<Endpoint, Counted>();
  /** Series of all families when those of endpoints that are gone were last looked for. */
  #sizeWhenPruned = -1;

  constructor(metrics: RouterMetrics) {
    this.#metrics = metrics;
  }

  /** Makes the series of new endpoints, so that the first scrape of a large fleet does not have to. */
  follow(list: readonly Endpoint[]): void {
    for (const endpoint of list) this.#of(endpoint);
  }

  collect(list: readonly Endpoint[], moment: Moment): void {
    const { nowMs } = moment;
    for (const gauges of this.#gauges.values()) gauges.restart();
    let connections = 0;
    for (const endpoint of list) {
      const gauges = this.#of(endpoint);
      gauges.add(endpoint, nowMs);
      connections += endpoint.pool.size;
      this.#count(endpoint, gauges);
      // one that is on its way out may have a successor of the same name
      if (endpoint.leaving && list.some((other) => other.id === endpoint.id && !other.leaving)) continue;
      gauges.describe(endpoint, moment);
      gauges.legacy?.set(endpoint, this.#metrics.endpoint(endpoint).recent(nowMs), nowMs);
    }
    const { registry } = this.#metrics;
    registry.value("lmstack_engine_connections").child().value = connections;
    this.#prune(list);
  }

  #of(endpoint: Endpoint): EndpointGauges {
    let gauges = this.#gauges.get(endpoint.id);
    if (gauges?.url !== endpoint.url) {
      gauges?.release();
      gauges = new EndpointGauges(this.#metrics.registry, endpoint);
      this.#gauges.set(endpoint.id, gauges);
    }
    return gauges;
  }

  #count(endpoint: Endpoint, gauges: EndpointGauges): void {
    const { pool, breaker } = endpoint;
    let before = this.#counted.get(endpoint);
    if (before === undefined) {
      before = { opened: 0, reused: 0, transitions: { ready: 0, ejected: 0, probing: 0, slow_start: 0 } };
      this.#counted.set(endpoint, before);
    }
    gauges.opened.value += pool.opened - before.opened;
    gauges.reused.value += pool.reused - before.reused;
    before.opened = pool.opened;
    before.reused = pool.reused;
    for (const to of breakerStates) {
      gauges.transition(to, breaker.transitions[to] - before.transitions[to]);
      before.transitions[to] = breaker.transitions[to];
    }
  }

  /** Endpoints that are gone leave nothing behind, nor does a request that ended after its endpoint. */
  #prune(list: readonly Endpoint[]): void {
    let gone = false;
    for (const [id, gauges] of this.#gauges) {
      if (gauges.seen) continue;
      this.#gauges.delete(id);
      gone = true;
    }
    if (this.#counted.size > list.length) {
      const present = new Set(list);
      for (const endpoint of this.#counted.keys()) if (!present.has(endpoint)) this.#counted.delete(endpoint);
    }
    const { registry } = this.#metrics;
    if (!gone && registry.size === this.#sizeWhenPruned) return;
    this.#metrics.pruneEndpoints(list);
    this.#sizeWhenPruned = registry.size;
  }
}
