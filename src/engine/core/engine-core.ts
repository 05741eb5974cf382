// The model of one vLLM engine: requests in, tokens out, one step after the other on an injected clock. Top of the core;
// the HTTP surface and the lab both drive it through `submit`, `abort` and `stats`. It does no I/O and never reads the
// machine's time, so that an hour of traffic can run in virtual time.

import type { Clock, Timer } from "../../clock.ts";
import { fastBlockHash } from "./block-hash.ts";
import type { BlockHash, BlockHasher } from "./block-hash.ts";
import { defaultPresetId, findPreset, stepMs } from "./presets.ts";
import type { Preset } from "./presets.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import type { StepPlan } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";
import type { EngineRequest, FinishReason, SequenceListener, SequenceResult } from "./sequence.ts";
import type { StoredBlocks } from "./sequence-cache.ts";

export interface EngineCoreOptions {
  readonly clock: Clock;
  /** Step times and cache size; default the 8B preset. */
  readonly preset?: Preset;
  /** Model time per clock time; 10 makes steps ten times shorter. Default 1. */
  readonly speed?: number;
  readonly maxModelLen?: number;
  readonly maxNumSeqs?: number;
  readonly maxNumBatchedTokens?: number;
  readonly blockSize?: number;
  /** Blocks in the cache, the reserved one included; default the preset's. */
  readonly numGpuBlocks?: number;
  readonly prefixCaching?: boolean;
  readonly policy?: "fcfs" | "priority";
  readonly seed?: number;
  readonly hasher?: BlockHasher;
  /** Different adapters in one step; default no limit. */
  readonly maxAdapters?: number;
  readonly observer?: EngineObserver;
}

/** Everything that can be watched. All methods are optional and called synchronously; none may throw. */
export interface EngineObserver {
  /** A step ended; `atMs` is its due time. */
  step?(prefillTokens: number, decodeTokens: number, atMs: number): void;
  /** A token was generated; `gapMs` since the sequence's last token, or since its arrival for the first. */
  token?(first: boolean, gapMs: number): void;
  finished?(result: SequenceResult): void;
  preempted?(id: string): void;
  stored?(stored: StoredBlocks): void;
  removed?(hash: BlockHash): void;
}

/** A moment's state. Counters only grow. */
export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  /** Part of `waiting`: those whose adapter had no place in the last step. */
  readonly deferred: number;
  readonly kvBlocksUsed: number;
  /** Distinct blocks that can be found again. */
  readonly kvBlocksCached: number;
  readonly kvBlocksTotal: number;
  readonly queryTokens: number;
  readonly hitTokens: number;
  /** Prompt tokens beyond hits of requests that another engine has computed, and how many of them were fetched from it. */
  readonly externalQueryTokens: number;
  readonly externalHitTokens: number;
  readonly preemptions: number;
  /** Prompt tokens of sequences that gave a first token, and how many of them came from the cache. */
  readonly promptTokens: number;
  readonly cachedPromptTokens: number;
  readonly fetchedPromptTokens: number;
  readonly generatedTokens: number;
  readonly finished: Readonly<Record<FinishReason, number>>;
  readonly steps: number;
}

/** A wall clock's timer may be late by a millisecond or so; being early by less than this counts as on time. */
const earlyMs = 0.002;
/** 320 kB a token, as a 70B model has, over 400 Gbit/s. */
const defaultTransferUs = 6.5;
/** Steps taken in one turn before I/O gets a turn again. */
const stepsPerTurn = 64;
/** How far behind its due time the loop may fall before the lost time is written off. */
const maxLagMs = 1000;

export class EngineCore {
  readonly preset: Preset;
  readonly maxModelLen: number;
  readonly blockSize: number;
  readonly #clock: Clock;
  readonly #speed: number;
  readonly #observer: EngineObserver;
  readonly #scheduler: Scheduler;
  readonly #sequences = new Map<string, Sequence>();
  readonly #seed: number;
  readonly #finished: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0, cancelled: 0 };
  #step: StepPlan | null = null;
  #dueMs = 0;
  #timer: Timer | null = null;
  /** Requests that the API server has not passed on yet, with the moment at which it does. */
  readonly #arriving: { readonly sequence: Sequence; readonly atMs: number }[] = [];
  #order = 0;
  #promptTokens = 0;
  #cachedPromptTokens = 0;
  #fetchedPromptTokens = 0;
  #generatedTokens = 0;
  #steps = 0;
  #paused = false;

  constructor(options: EngineCoreOptions) {
    const preset = options.preset ?? findPreset(defaultPresetId);
    if (preset === undefined) throw new Error("the default preset is missing");
    this.preset = preset;
    this.#clock = options.clock;
    this.#speed = options.speed ?? 1;
    if (!(this.#speed > 0)) throw new RangeError(`speed must be above 0, got ${this.#speed}`);
    this.#observer = options.observer ?? {};
    this.#seed = options.seed ?? 0;
    this.blockSize = options.blockSize ?? 16;
    const numGpuBlocks = options.numGpuBlocks ?? preset.kvBlocks;
    this.#scheduler = new Scheduler(
      {
        maxNumSeqs: options.maxNumSeqs ?? 256,
        maxNumBatchedTokens: options.maxNumBatchedTokens ?? 8192,
        blockSize: this.blockSize,
        numGpuBlocks,
        prefixCaching: options.prefixCaching ?? true,
        policy: options.policy ?? "fcfs",
        hasher: options.hasher ?? fastBlockHash,
        ...(options.maxAdapters === undefined ? {} : { maxAdapters: options.maxAdapters }),
      },
      {
        stored: (stored) => this.#observer.stored?.(stored),
        removed: (hash) => this.#observer.removed?.(hash),
        preempted: (sequence) => this.#observer.preempted?.(sequence.request.id),
      },
    );
    // vLLM refuses to start when one full-length sequence does not fit; here the context shrinks to what fits, so that
    // a test can ask for a tiny cache. It is also what keeps a lone sequence from preempting itself for ever.
    this.maxModelLen = Math.min(options.maxModelLen ?? 32_768, this.#scheduler.pool.usable * this.blockSize);
  }

  /**
   * Queues a request; its first step begins at once when the engine is idle. Throws a RangeError for a prompt that is
   * empty or leaves no room for one token, and for an id that is in flight: callers check first.
   */
  submit(request: EngineRequest, listener: SequenceListener = {}): void {
    const room = this.maxModelLen - request.promptTokens.length;
    if (request.promptTokens.length === 0 || room < 1) {
      throw new RangeError(`a prompt of ${request.promptTokens.length} tokens does not fit ${this.maxModelLen}`);
    }
    if (this.#sequences.has(request.id)) throw new RangeError(`request ${request.id} is in flight already`);
    const maxTokens = Math.max(1, Math.min(request.maxTokens, room));
    const sequence = new Sequence(
      request.nextToken === undefined ? { ...request, nextToken: this.#tokenSource(request) } : request,
      listener,
      this.#order++,
      this.#clock.nowMs(),
      maxTokens,
    );
    this.#sequences.set(request.id, sequence);
    const requestMs = (this.preset.requestUs ?? 0) / 1000 / this.#speed;
    if (requestMs > 0) this.#arrive(sequence, requestMs);
    else this.#fetch(sequence);
  }

  /** Lets the API server take its time, one request after the other. */
  #arrive(sequence: Sequence, requestMs: number): void {
    const nowMs = this.#clock.nowMs();
    const atMs = Math.max(nowMs, this.#arriving.at(-1)?.atMs ?? nowMs) + requestMs;
    this.#arriving.push({ sequence, atMs });
    if (this.#arriving.length === 1) this.#clock.setTimer(requestMs, this.#onArrival);
  }

  readonly #onArrival = (): void => {
    const nowMs = this.#clock.nowMs();
    for (let next = this.#arriving[0]; next !== undefined; next = this.#arriving[0]) {
      if (next.atMs - nowMs > earlyMs) {
        this.#clock.setTimer(next.atMs - nowMs, this.#onArrival);
        return;
      }
      this.#arriving.shift();
      if (this.#inFlight(next.sequence)) this.#fetch(next.sequence);
    }
  };

  /** Lets what another engine has computed arrive first. Transfers go on beside one another, and beside the steps. */
  #fetch(sequence: Sequence): void {
    const tokens = Math.min(sequence.request.externalTokens ?? 0, sequence.promptLength);
    const us = tokens * (this.preset.transferUs ?? defaultTransferUs);
    if (us === 0) this.#add(sequence);
    else {
      this.#clock.setTimer(us / 1000 / this.#speed, () => {
        if (this.#inFlight(sequence)) this.#add(sequence);
      });
    }
  }

  /** It may have been aborted before its turn came. */
  #inFlight(sequence: Sequence): boolean {
    return this.#sequences.get(sequence.request.id) === sequence;
  }

  #add(sequence: Sequence): void {
    this.#scheduler.add(sequence);
    // A timer of zero, not a step now: everything that arrives in one turn shares the first step, as in vLLM.
    if (this.#step === null && this.#timer === null && !this.#paused) this.#arm(0);
  }

  /**
   * Ends a request now and frees its blocks; false when it is not in flight. `cancelled` is a client that left: it is
   * counted in {@link EngineStats.finished} but, as in vLLM, reported to nobody else.
   */
  abort(id: string, reason: "abort" | "cancelled" | "error" = "cancelled"): boolean {
    const sequence = this.#sequences.get(id);
    if (sequence === undefined) return false;
    this.#end(sequence, reason, this.#clock.nowMs());
    return true;
  }

  /** Ends everything in flight with this reason. */
  abortAll(reason: "abort" | "cancelled" | "error" = "abort"): void {
    for (const id of Array.from(this.#sequences.keys())) this.abort(id, reason);
  }

  /** Freezes the step loop, as a stopped engine process; requests queue up. */
  pause(): void {
    this.#paused = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#dueMs = Math.max(this.#dueMs, this.#clock.nowMs());
    if (this.#step !== null || this.#sequences.size > 0) this.#arm(0);
  }

  /** Forgets all cached prefixes; false while a sequence holds blocks. */
  resetPrefixCache(): boolean {
    return this.#scheduler.pool.reset();
  }

  /** Sequences in the step loop. */
  get running(): number {
    return this.#scheduler.running.length;
  }

  get waiting(): number {
    return this.#scheduler.waiting.length;
  }

  /** Prompt tokens of everything that has no first token yet, whatever of them is computed or cached. */
  get queuedTokens(): number {
    let sum = 0;
    for (const sequence of this.#sequences.values()) if (sequence.firstTokenMs === null) sum += sequence.promptLength;
    return sum;
  }

  /** Share of the KV cache that sequences hold. */
  get kvUsage(): number {
    const { pool } = this.#scheduler;
    return pool.used / pool.usable;
  }

  stats(): EngineStats {
    const { pool } = this.#scheduler;
    return {
      running: this.#scheduler.running.length,
      waiting: this.#scheduler.waiting.length,
      deferred: Math.min(this.#scheduler.deferred, this.#scheduler.waiting.length),
      kvBlocksUsed: pool.used,
      kvBlocksCached: pool.cached,
      kvBlocksTotal: pool.usable,
      queryTokens: this.#scheduler.queryTokens,
      hitTokens: this.#scheduler.hitTokens,
      externalQueryTokens: this.#scheduler.externalQueryTokens,
      externalHitTokens: this.#scheduler.externalHitTokens,
      preemptions: this.#scheduler.preemptions,
      promptTokens: this.#promptTokens,
      cachedPromptTokens: this.#cachedPromptTokens,
      fetchedPromptTokens: this.#fetchedPromptTokens,
      generatedTokens: this.#generatedTokens,
      finished: { ...this.#finished },
      steps: this.#steps,
    };
  }

  #arm(delayMs: number): void {
    this.#timer = this.#clock.setTimer(delayMs, () => this.#turn());
  }

  /**
   * Takes every step that is due. Each begins at its predecessor's due time and not at the time of the timer, so that
   * late timers do not stretch the average step.
   */
  #turn(): void {
    this.#timer = null;
    const nowMs = this.#clock.nowMs();
    if (this.#step === null) this.#begin(nowMs);
    else if (nowMs - this.#dueMs > maxLagMs) this.#dueMs = nowMs;
    for (let taken = 0; this.#step !== null; taken++) {
      const leftMs = this.#dueMs - nowMs;
      if (leftMs > earlyMs || taken === stepsPerTurn) {
        this.#arm(Math.max(0, leftMs));
        return;
      }
      this.#finish(this.#step);
      this.#begin(this.#dueMs);
    }
  }

  #begin(startMs: number): void {
    // A second look: a step in which every running sequence was preempted admits nothing by itself.
    const plan = this.#scheduler.plan(startMs) ?? this.#scheduler.plan(startMs);
    this.#step = plan;
    if (plan === null) return;
    const modelMs = stepMs(this.preset, plan.prefillTokens, plan.decodeTokens, plan.attendedTokens);
    this.#dueMs = startMs + modelMs / this.#speed;
  }

  #finish(plan: StepPlan): void {
    const atMs = this.#dueMs;
    this.#steps++;
    this.#step = null;
    for (const sequence of plan.sequences) {
      if (sequence.state !== "running") continue;
      sequence.computed += sequence.scheduled;
      sequence.scheduled = 0;
      // A prompt cut by the budget gives no token yet; its remaining part goes first in the next step.
      if (sequence.computed === sequence.tokens.length) this.#generate(sequence, atMs);
    }
    this.#observer.step?.(plan.prefillTokens, plan.decodeTokens, atMs);
  }

  #generate(sequence: Sequence, atMs: number): void {
    const token = sequence.request.nextToken?.() ?? 0;
    const index = sequence.generated;
    const first = sequence.firstTokenMs === null;
    this.#observer.token?.(first, atMs - (sequence.lastTokenMs ?? sequence.arrivedMs));
    if (first) {
      sequence.firstTokenMs = atMs;
      this.#promptTokens += sequence.promptLength;
      this.#cachedPromptTokens += sequence.cachedTokens;
      this.#fetchedPromptTokens += sequence.fetchedTokens;
    }
    sequence.lastTokenMs = atMs;
    sequence.tokens.push(token);
    this.#generatedTokens++;
    const stop = sequence.listener.onToken?.(token, index, sequence) === true;
    if (sequence.state !== "running") return;
    if (stop) this.#end(sequence, "stop", atMs);
    else if (sequence.generated >= sequence.maxTokens) this.#end(sequence, "length", atMs);
  }

  #end(sequence: Sequence, reason: FinishReason, atMs: number): void {
    this.#scheduler.remove(sequence);
    this.#sequences.delete(sequence.request.id);
    this.#finished[reason]++;
    const result = sequence.result(reason, atMs);
    this.#observer.finished?.(result);
    sequence.listener.onFinish?.(result);
  }

  /** Token ids for callers that do not care which: stable for seed and request id. */
  #tokenSource(request: EngineRequest): () => number {
    let mixed = this.#seed;
    for (let at = 0; at < request.id.length; at++) mixed = (Math.imul(mixed, 31) + request.id.charCodeAt(at)) | 0;
    const random = new Random(mixed);
    return () => random.below(151_643);
  }
}
