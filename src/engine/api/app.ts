// One server as the routes see it: its engines, the options, the counters that live outside of the core. Built by
// `serve`, handed to every handler. It holds state and small questions about it; it must never parse a request.

import { randomBytes } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { textHash } from "../core/index.ts";
import type { EngineCore, EngineStats } from "../core/index.ts";
import { vllmVersion } from "../options.ts";
import type { ResolvedOptions } from "../options.ts";
import { Adapters } from "./adapters.ts";
import type { Exchange } from "./exchange.ts";
import { FaultSwitchboard, parseFaultHeader } from "./faults.ts";
import type { Fault, FaultName } from "./faults.ts";
import { Gate } from "./gate.ts";
import { HttpMetrics } from "./http-metrics.ts";
import { Rank } from "./ranks.ts";
import type { StoredResponse } from "./responses.ts";

/** `GET /sim/state` and {@link RunningEngine.state}. */
export interface SimState {
  readonly running: number;
  readonly waiting: number;
  /** Requests whose client went away before the end; vLLM counts them nowhere. */
  readonly aborted: number;
  /** Sequences that ended by themselves (`stop` or `length`). */
  readonly finished: number;
  /** Requests answered 503 by a limit of the queue. */
  readonly rejected: number;
  /** Requests on generating routes, since the start and now. */
  readonly requests: number;
  readonly inFlight: number;
  readonly kvBlocksUsed: number;
  /** Distinct blocks whose prefix can be found again, in use or not: what KV events have told. */
  readonly kvBlocksCached: number;
  readonly kvBlocksTotal: number;
  readonly hitTokens: number;
  readonly queryTokens: number;
  readonly preemptions: number;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly connections: number;
  readonly dead: boolean;
  readonly faults: readonly Fault[];
}

export class EngineApp {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly ranks: readonly Rank[];
  readonly gate = new Gate();
  readonly adapters: Adapters;
  readonly http = new HttpMetrics();
  readonly faults: FaultSwitchboard;
  readonly fingerprint: string;
  /** Stored responses of `/v1/responses`, oldest first. */
  readonly responses = new Map<string, StoredResponse>();
  /** How to abort the sequences that run under an internal id, as `/abort_requests` names them. */
  readonly abortable = new Map<string, () => void>();
  /** Told to stop: what is in flight goes on, nothing new is taken. */
  draining = false;
  aborted = 0;
  readonly rejected = { requests: 0, tokens: 0 };
  requests = 0;
  inFlight = 0;
  connections = 0;
  /** The last exposition, for a fault that serves it again and again. */
  staleMetrics: string | null = null;
  scrapes = 0;
  #serial = 0;
  #idle: (() => void)[] = [];

  constructor(options: ResolvedOptions, clock: Clock) {
    this.options = options;
    this.clock = clock;
    this.adapters = new Adapters(options.loraModules);
    this.faults = new FaultSwitchboard(options.seed, () => clock.nowMs());
    for (const fault of options.faults) this.faults.set(fault);
    const surroundings = {
      options,
      clock,
      wallMs: () => this.wallMs(),
      adapters: this.adapters,
      ended: () => this.#ended(),
      disturb: () => this.#disturbance(),
    };
    this.ranks = Array.from({ length: options.dataParallelSize }, (_, rank) => new Rank(rank, surroundings));
    const config = JSON.stringify([options.models, options.preset, options.maxModelLen, options.blockSize]);
    this.fingerprint = `vllm-${vllmVersion}-${(textHash(config) % 0x1_0000_0000).toString(16).padStart(8, "0")}`;
  }

  get model(): string {
    return this.options.models[0] ?? "";
  }

  /** The first engine; limits are the same for all. */
  get core(): EngineCore {
    const [first] = this.ranks;
    if (first === undefined) throw new Error("a server has at least one rank");
    return first.core;
  }

  /** The engine for a new request: the one that was asked for, or the least loaded, waiting ones weighing fourfold. */
  pick(wanted: string | undefined): EngineCore {
    const asked = wanted === undefined ? undefined : this.ranks[Number(wanted)];
    if (asked !== undefined || this.ranks.length === 1) return (asked ?? this.ranks[0])?.core ?? this.core;
    let best = this.core;
    let least = Infinity;
    for (const { core } of this.ranks) {
      const load = core.running + 4 * core.waiting;
      if (load < least) [best, least] = [core, load];
    }
    return best;
  }

  /** True for a served name and for a loaded adapter. */
  serves(model: string): boolean {
    return this.options.models.includes(model) || this.adapters.has(model);
  }

  /** A number that no other sequence of this server has. */
  nextSerial(): number {
    return this.#serial++;
  }

  /** The fault of this name that the request asks for by its header, or that is in force for it. */
  faultOf(exchange: Exchange, name: FaultName): Fault | null {
    const header = this.options.simApi ? exchange.header("x-sim-fault") : undefined;
    const own = header === undefined ? null : parseFaultHeader(header);
    return own?.fault === name ? own : this.faults.hit(name);
  }

  /** The wall clock of this engine's machine, which a fault can put wrong. */
  wallMs(): number {
    const skew = this.faults.hit("clock_skew");
    return this.clock.wallMs() + this.options.clockSkewMs + (skew === null ? 0 : (skew.seconds ?? 3600) * 1000);
  }

  /** Seconds since the epoch for `created`. */
  createdSeconds(): number {
    return Math.floor(this.wallMs() / 1000);
  }

  /** True under an engine_dead fault, like a killed engine process. */
  get dead(): boolean {
    return this.faults.hit("engine_dead") !== null;
  }

  /** Opens what listens besides HTTP. */
  async open(): Promise<void> {
    try {
      for (const rank of this.ranks) await rank.openKvEvents();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    for (const rank of this.ranks) rank.close();
  }

  clearFaults(): void {
    this.faults.clear();
  }

  abortAll(reason: "abort" | "error"): void {
    for (const { core } of this.ranks) core.abortAll(reason);
  }

  freeze(): void {
    for (const { core } of this.ranks) core.pause();
  }

  thaw(): void {
    for (const { core } of this.ranks) core.resume();
  }

  /** Calls `fn` once nothing is in the engines; at once if that is so now. */
  whenIdle(fn: () => void): void {
    this.#idle.push(fn);
    this.#ended();
  }

  #ended(): void {
    if (this.#idle.length === 0) return;
    if (this.ranks.some(({ core }) => core.running + core.waiting > 0)) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const fn of waiting) fn();
  }

  #disturbance(): "none" | "lose" | "duplicate" | "delay" | "restart" {
    const { faults } = this;
    if (faults.hit("kv_events_restarted") !== null) {
      faults.clear("kv_events_restarted");
      return "restart";
    }
    if (faults.hit("kv_events_lost") !== null) return "lose";
    if (faults.hit("kv_events_duplicated") !== null) return "duplicate";
    return faults.hit("kv_events_reordered") === null ? "none" : "delay";
  }

  state(): SimState {
    const all = this.ranks.map(({ core }) => core.stats());
    const sum = (value: (stats: EngineStats) => number): number => all.reduce((total, one) => total + value(one), 0);
    return {
      running: sum((stats) => stats.running),
      waiting: sum((stats) => stats.waiting),
      aborted: this.aborted,
      finished: sum((stats) => stats.finished.stop + stats.finished.length),
      rejected: this.rejected.requests + this.rejected.tokens,
      requests: this.requests,
      inFlight: this.inFlight,
      kvBlocksUsed: sum((stats) => stats.kvBlocksUsed),
      kvBlocksCached: sum((stats) => stats.kvBlocksCached),
      kvBlocksTotal: sum((stats) => stats.kvBlocksTotal),
      hitTokens: sum((stats) => stats.hitTokens),
      queryTokens: sum((stats) => stats.queryTokens),
      preemptions: sum((stats) => stats.preemptions),
      promptTokens: sum((stats) => stats.promptTokens),
      generatedTokens: sum((stats) => stats.generatedTokens),
      connections: this.connections,
      dead: this.dead,
      faults: this.faults.list(),
    };
  }
}

/** Random lower-case hex of this many digits, for ids that vLLM draws at random. */
export function randomHex(digits: number): string {
  return randomBytes(digits / 2).toString("hex");
}
