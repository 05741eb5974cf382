// Gauges that mirror the router's state, set when somebody scrapes: they cost nothing in between.
import { statfsSync } from "node:fs";
import { totalmem } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock } from "../clock.ts";
import { endpointStates } from "../fleet/endpoint.ts";
import type { Registry } from "../fleet/registry.ts";
import { EndpointMirror } from "./endpoint-mirror.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { RouterMetrics } from "./router-metrics.ts";

export interface MirroredState {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly clientConnections: () => number;
  readonly bufferedBytes: () => number;
  /** Of streams that may have to go on elsewhere. */
  readonly keptBytes: () => number;
  /** How much of that there may be. */
  readonly keptBytesLimit: number;
  /** Figures of engines that are older say nothing. */
  readonly staleMs: () => number;
  readonly draining: () => boolean;
  readonly revision: () => string;
  readonly version: string;
}

/** The monitor wakes the process so often, also when there is nothing to do: every 20 ms that was most of what an idle router did. */
const delayPeriodMs = 100;

/** @param gapNs between two looks of the monitor. @returns seconds that the later one was late */
function lateness(gapNs: number): number {
  return Math.max(0, gapNs / 1e9 - delayPeriodMs / 1e3);
}

export class Mirror {
  readonly #metrics: RouterMetrics;
  readonly #registry: MetricsRegistry;
  readonly #state: MirroredState;
  readonly #delay = monitorEventLoopDelay({ resolution: delayPeriodMs });
  readonly #startedSeconds: number;
  readonly #endpoints: EndpointMirror;
  #cpu = process.cpuUsage();
  #cpuAtMs: number;

  constructor(metrics: RouterMetrics, state: MirroredState) {
    this.#metrics = metrics;
    this.#registry = metrics.registry;
    this.#state = state;
    this.#endpoints = new EndpointMirror(metrics);
    this.#delay.enable();
    this.#startedSeconds = state.clock.wallMs() / 1000 - process.uptime();
    this.#cpuAtMs = state.clock.nowMs();
    this.#registry.onScrape(() => this.#collect());
  }

  stop(): void {
    this.#delay.disable();
  }

  /** The endpoints may have changed. */
  follow(): void {
    this.#endpoints.follow(this.#state.registry.list());
  }

  #collect(): void {
    const { clock, registry, staleMs } = this.#state;
    const nowMs = clock.nowMs();
    this.#models(nowMs);
    this.#endpoints.collect(registry.list(), { nowMs, wallMs: clock.wallMs(), staleMs: staleMs() });
    this.#process(nowMs);
    this.#config();
  }

  #models(nowMs: number): void {
    const { registry } = this.#state;
    const endpoints = this.#registry.value("lmstack_endpoints");
    endpoints.clear();
    for (const model of registry.models) {
      for (const name of endpointStates) endpoints.child(model, name);
    }
    for (const endpoint of registry.list()) {
      const state = endpoint.state(nowMs);
      for (const model of endpoint.models) endpoints.child(model, state).value++;
    }
  }

  #process(now: number): void {
    const registry = this.#registry;
    registry.value("lmstack_client_connections").child().value = this.#state.clientConnections();
    registry.value("lmstack_migration_kept_bytes").child().value = this.#state.keptBytes();
    registry.value("lmstack_migration_kept_limit_bytes").child().value = this.#state.keptBytesLimit;
    registry.value("lmstack_buffered_bytes").child().value = this.#state.bufferedBytes();
    registry.value("lmstack_draining").child().value = this.#state.draining() ? 1 : 0;
    const delay = this.#delay;
    const loop = registry.value("lmstack_event_loop_delay_seconds");
    loop.child("median").value = lateness(delay.percentile(50));
    loop.child("p99").value = lateness(delay.percentile(99));
    loop.child("max").value = lateness(delay.max);
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
