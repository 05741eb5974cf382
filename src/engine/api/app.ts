// One engine as the routes see it: the core, the options, the counters that live outside of the core. Built by `serve`,
// handed to every handler. It holds state and small questions about it; it must never parse a request.

import { randomBytes } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { EngineCore, textHash } from "../core/index.ts";
import { vllmVersion } from "../options.ts";
import type { ResolvedOptions } from "../options.ts";
import { FaultSwitchboard } from "./faults.ts";
import type { Fault } from "./faults.ts";
import type { StoredResponse } from "./responses.ts";
import { MetricsRecorder } from "./metrics.ts";

/** `GET /sim/state` and {@link RunningEngine.state}. */
export interface SimState {
  readonly running: number;
  readonly waiting: number;
  /** Requests whose client went away before the end; vLLM counts them nowhere. */
  readonly aborted: number;
  /** Sequences that ended by themselves (`stop` or `length`). */
  readonly finished: number;
  /** Requests answered 503 by the queue limit. */
  readonly rejected: number;
  /** Requests on generating routes, since the start and now. */
  readonly requests: number;
  readonly inFlight: number;
  readonly kvBlocksUsed: number;
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
  readonly core: EngineCore;
  readonly metrics: MetricsRecorder;
  readonly faults: FaultSwitchboard;
  readonly fingerprint: string;
  /** Stored responses of `/v1/responses`, oldest first. */
  readonly responses = new Map<string, StoredResponse>();
  aborted = 0;
  rejected = 0;
  requests = 0;
  inFlight = 0;
  connections = 0;
  #serial = 0;

  constructor(options: ResolvedOptions, clock: Clock) {
    this.options = options;
    this.clock = clock;
    this.metrics = new MetricsRecorder(options, clock.wallMs() / 1000);
    this.core = new EngineCore({
      clock,
      preset: options.preset,
      speed: options.speed,
      maxModelLen: options.maxModelLen,
      maxNumSeqs: options.maxNumSeqs,
      maxNumBatchedTokens: options.maxNumBatchedTokens,
      blockSize: options.blockSize,
      numGpuBlocks: options.numGpuBlocks,
      prefixCaching: options.enablePrefixCaching,
      policy: options.schedulingPolicy,
      seed: options.seed,
      observer: this.metrics,
    });
    this.metrics.attach(this.core);
    this.faults = new FaultSwitchboard(options.seed, () => clock.nowMs());
    for (const fault of options.faults) this.faults.set(fault);
    const config = JSON.stringify([options.models, options.preset, options.maxModelLen, options.blockSize]);
    this.fingerprint = `vllm-${vllmVersion}-${(textHash(config) % 0x1_0000_0000).toString(16).padStart(8, "0")}`;
  }

  get model(): string {
    return this.options.models[0] ?? "";
  }

  /** A number that no other sequence of this engine has. */
  nextSerial(): number {
    return this.#serial++;
  }

  /** Seconds since the epoch for `created`. */
  createdSeconds(): number {
    return Math.floor(this.clock.wallMs() / 1000);
  }

  /** True under an engine_dead fault, like a killed engine process. */
  get dead(): boolean {
    return this.faults.hit("engine_dead") !== null;
  }

  clearFaults(): void {
    this.faults.clear();
  }

  state(): SimState {
    const stats = this.core.stats();
    return {
      running: stats.running,
      waiting: stats.waiting,
      aborted: this.aborted,
      finished: stats.finished.stop + stats.finished.length,
      rejected: this.rejected,
      requests: this.requests,
      inFlight: this.inFlight,
      kvBlocksUsed: stats.kvBlocksUsed,
      kvBlocksTotal: stats.kvBlocksTotal,
      hitTokens: stats.hitTokens,
      queryTokens: stats.queryTokens,
      preemptions: stats.preemptions,
      promptTokens: stats.promptTokens,
      generatedTokens: stats.generatedTokens,
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
