// Gauges that mirror the router's state, set when somebody scrapes: they cost nothing in between.
import { statfsSync } from "node:fs";
import { totalmem } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock } from "../clock.ts";
import { breakerStates, type BreakerState } from "../fleet/breaker.ts";
import { endpointStates, type Endpoint } from "../fleet/endpoint.ts";
import type { Registry } from "../fleet/registry.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { RouterMetrics } from "./router-metrics.ts";

export interface MirroredState {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly clientConnections: () => number;
  readonly bufferedBytes: () => number;
  /** Of streams that may have to go on elsewhere. */
  readonly keptBytes: () => number;
  readonly draining: () => boolean;
  readonly revision: () => string;
  readonly version: string;
}

/** What an endpoint had counted at the last scrape: two of one name, the leaving and the new one, add up. */
interface Counted {
  opened: number;
  reused: number;
  readonly transitions: Record<BreakerState, number>;
}

export class Mirror {
  readonly #metrics: RouterMetrics;
  readonly #registry: MetricsRegistry;
  readonly #state: MirroredState;
  readonly #delay = monitorEventLoopDelay({ resolution: 20 });
  readonly #startedSeconds: number;
  readonly #counted = new Map<Endpoint, Counted>();
  #cpu = process.cpuUsage();
  #cpuAtMs: number;

  constructor(metrics: RouterMetrics, state: MirroredState) {
    this.#metrics = metrics;
    this.#registry = metrics.registry;
    this.#state = state;
    this.#delay.enable();
    this.#startedSeconds = state.clock.wallMs() / 1000 - process.uptime();
    this.#cpuAtMs = state.clock.nowMs();
    this.#registry.onScrape(() => this.#collect());
  }

  stop(): void {
    this.#delay.disable();
  }

  #collect(): void {
    const now = this.#state.clock.nowMs();
    this.#models();
    this.#endpoints(now);
    this.#process(now);
    this.#config();
  }

  #models(): void {
    const endpoints = this.#registry.value("lmstack_endpoints");
    endpoints.clear();
    for (const model of this.#state.registry.models) {
      for (const name of endpointStates) endpoints.child(model, name);
    }
  }

  #endpoints(now: number): void {
    const registry = this.#registry;
    const inFlight = registry.value("lmstack_endpoint_in_flight");
    const states = registry.value("lmstack_endpoint_state");
    const breakers = registry.value("lmstack_endpoint_breaker_state");
    const uptime = registry.value("lmstack_endpoint_uptime_seconds");
    const byModel = registry.value("lmstack_endpoints");
    for (const family of [inFlight, states, breakers]) family.clear();
    const list = this.#state.registry.list();
    const present = new Set(list);
    for (const endpoint of this.#counted.keys()) if (!present.has(endpoint)) this.#counted.delete(endpoint);
    let connections = 0;
    for (const endpoint of list) {
      const { id } = endpoint;
      const state = endpoint.state(now);
      inFlight.child(id, "queued").value += endpoint.queued;
      inFlight.child(id, "running").value += endpoint.running;
      connections += endpoint.pool.size;
      for (const model of endpoint.models) byModel.child(model, state).value++;
      this.#count(endpoint);
      // one that is on its way out may have a successor of the same name
      if (endpoint.leaving && list.some((other) => other.id === id && !other.leaving)) continue;
      states.child(id, state).value = 1;
      breakers.child(id, endpoint.breaker.state(now)).value = 1;
      uptime.child(id).value = endpoint.uptimeMs(now) / 1000;
    }
    registry.value("lmstack_engine_connections").child().value = connections;
    this.#metrics.pruneEndpoints(list);
    if (this.#metrics.options.legacy) this.#servers(list, now);
  }

  #count(endpoint: Endpoint): void {
    const { id, pool, breaker } = endpoint;
    let before = this.#counted.get(endpoint);
    if (before === undefined) {
      before = { opened: 0, reused: 0, transitions: { ready: 0, ejected: 0, probing: 0, slow_start: 0 } };
      this.#counted.set(endpoint, before);
    }
    this.#registry.value("lmstack_engine_connections_opened_total").child(id).value += pool.opened - before.opened;
    this.#registry.value("lmstack_engine_connections_reused_total").child(id).value += pool.reused - before.reused;
    before.opened = pool.opened;
    before.reused = pool.reused;
    const transitions = this.#registry.value("lmstack_endpoint_breaker_transitions_total");
    for (const to of breakerStates) {
      const more = breaker.transitions[to] - before.transitions[to];
      // of most endpoints there is only the first one, which an alert needs from the beginning
      if (more > 0 || to === "ejected") transitions.child(id, to).value += more;
      before.transitions[to] = breaker.transitions[to];
    }
  }

  /** production-stack's gauges. */
  #servers(list: readonly Endpoint[], now: number): void {
    const registry = this.#registry;
    const set = (name: Parameters<MetricsRegistry["value"]>[0], url: string, value: number): void => {
      registry.value(name).child(url).value = value;
    };
    for (const endpoint of list) {
      const { url } = endpoint;
      const recent = this.#metrics.endpoint(endpoint).recent(now);
      set("vllm:current_qps", url, recent.perSecond);
      set("vllm:avg_decoding_length", url, recent.decoding ?? -1);
      set("vllm:num_prefill_requests", url, endpoint.queued);
      set("vllm:num_decoding_requests", url, endpoint.running);
      set("vllm:num_requests_running", url, endpoint.inFlight);
      set("vllm:num_requests_waiting", url, endpoint.queued);
      set("vllm:num_requests_swapped", url, 0);
      set("vllm:avg_latency", url, recent.duration ?? -1);
      set("vllm:avg_itl", url, recent.perToken ?? -1);
      set("vllm:healthy_pods_total", url, endpoint.state(now) === "ready" ? 1 : 0);
    }
  }

  #process(now: number): void {
    const registry = this.#registry;
    registry.value("lmstack_client_connections").child().value = this.#state.clientConnections();
    registry.value("lmstack_migration_kept_bytes").child().value = this.#state.keptBytes();
    registry.value("lmstack_buffered_bytes").child().value = this.#state.bufferedBytes();
    registry.value("lmstack_draining").child().value = this.#state.draining() ? 1 : 0;
    const delay = this.#delay;
    const loop = registry.value("lmstack_event_loop_delay_seconds");
    // nanoseconds; 20 ms of it is the monitor's own period
    loop.child("median").value = Math.max(0, delay.percentile(50) / 1e9 - 0.02);
    loop.child("p99").value = Math.max(0, delay.percentile(99) / 1e9 - 0.02);
    loop.child("max").value = Math.max(0, delay.max / 1e9 - 0.02);
    delay.reset();
    const memory = process.memoryUsage();
    registry.value("lmstack_heap_used_bytes").child().value = memory.heapUsed;
    registry.value("lmstack_external_memory_bytes").child().value = memory.external;
    registry.value("process_resident_memory_bytes").child().value = memory.rss;
    const cpu = process.cpuUsage();
    registry.value("process_cpu_seconds_total").child().value = (cpu.user + cpu.system) / 1e6;
    registry.value("process_start_time_seconds").child().value = this.#startedSeconds;
    if (!this.#metrics.options.legacy) return;
    const spentMs = (cpu.user + cpu.system - this.#cpu.user - this.#cpu.system) / 1000;
    const elapsedMs = now - this.#cpuAtMs;
    if (elapsedMs > 0) registry.value("router_cpu_usage_percent").child().value = (spentMs / elapsedMs) * 100;
    this.#cpu = cpu;
    this.#cpuAtMs = now;
    registry.value("router_memory_usage_percent").child().value = (memory.rss / memoryLimit()) * 100;
    registry.value("router_disk_usage_percent").child().value = diskUsed() * 100;
  }

  #config(): void {
    const info = this.#registry.value("lmstack_config_info");
    info.clear();
    info.child(this.#state.revision()).value = 1;
    this.#registry.value("lmstack_build_info").child(this.#state.version).value = 1;
  }
}

/** Bytes that this process may have: its container's limit where there is one, else the machine's memory. */
function memoryLimit(): number {
  const limit = process.constrainedMemory();
  const all = totalmem();
  return limit > 0 && limit < all ? limit : all;
}

/** Share of the file system's space that is in use, as `df` says it. */
function diskUsed(): number {
  const { blocks, bfree, bavail } = statfsSync("/");
  const used = blocks - bfree;
  return used + bavail === 0 ? 0 : used / (used + bavail);
}
