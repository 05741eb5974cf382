// Requests that wait in the router because the policy said so: one line for each model, ordered by late binding. It is looked
// at when the load on an endpoint has gone down, and a few times a second anyhow, as tokens are computed without a word.
import type { Clock, Timer } from "../clock.ts";
import {
  LateBinding,
  defaultLateBinding,
  type Handover,
  type LateBindingOptions,
  type Waiting,
} from "../routing/late-binding.ts";
import type { Candidate, Policy } from "../routing/policy.ts";

export interface QueuedRequest extends Waiting {
  /** Its turn: an endpoint is chosen. It is in the queue no more. */
  bind(handover: Handover<QueuedRequest>): void;
}

export interface RequestQueueOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** The one in force. */
  readonly policy: Policy;
  /** Of one model; absent = any number. */
  readonly maxRequests?: number;
  readonly maxTokens?: number;
  readonly lateBinding?: LateBindingOptions;
}

/** Tokens are prefilled meanwhile: what is full now may not be so then. */
const lookMs = 20;
/** Reports that come together are acted on together. */
const gatherMs = 1;

export class RequestQueue {
  readonly #options: RequestQueueOptions;
  readonly #lines = new Map<string, LateBinding<QueuedRequest>>();
  #size = 0;
  #timer: Timer | null = null;
  #soon = false;

  constructor(options: RequestQueueOptions) {
    this.#options = options;
  }

  /** Requests that wait, of all models. */
  get size(): number {
    return this.#size;
  }

  /** Requests of a model that wait. */
  length(model: string): number {
    return this.#lines.get(model)?.length ?? 0;
  }

  /** For how long the oldest of a model has been waiting; 0 = none does. */
  oldestMs(model: string): number {
    const sinceMs = this.#lines.get(model)?.sinceMs ?? null;
    return sinceMs === null ? 0 : this.#options.clock.nowMs() - sinceMs;
  }

  /** Whether one more of the model may wait. A single one may, however long its prompt. */
  hasPlace(model: string, uncachedTokens: number): boolean {
    const line = this.#lines.get(model);
    if (line === undefined) return true;
    const { maxRequests = Number.POSITIVE_INFINITY, maxTokens = Number.POSITIVE_INFINITY } = this.#options;
    return line.length < maxRequests && line.tokens + uncachedTokens <= maxTokens;
  }

  /** @param candidates what the policy looked at */
  wait(request: QueuedRequest, uncachedTokens: number, candidates: readonly Candidate[]): void {
    const { model } = request.view;
    let line = this.#lines.get(model);
    if (line === undefined) {
      const { policy, random, lateBinding = defaultLateBinding } = this.#options;
      line = new LateBinding(policy, random, lateBinding);
      this.#lines.set(model, line);
    }
    line.add(request, uncachedTokens, candidates, this.#options.clock.nowMs());
    this.#size++;
    this.#arm(lookMs);
  }

  /** It does not wait any more: its client left, its time is up. */
  leave(request: QueuedRequest): void {
    const { model } = request.view;
    const line = this.#lines.get(model);
    if (line?.remove(request) !== true) return;
    this.#size--;
    if (line.length === 0) this.#lines.delete(model);
  }

  /** The load on some endpoint has gone down. Costs nothing while nobody waits. */
  kick(): void {
    if (this.#size === 0 || this.#soon) return;
    this.#soon = true;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.setTimer(gatherMs, this.#look);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #arm(ms: number): void {
    this.#timer ??= this.#options.clock.setTimer(ms, this.#look);
  }

  readonly #look = (): void => {
    this.#timer = null;
    this.#soon = false;
    for (const [model, line] of this.#lines) {
      for (;;) {
        const next = line.next(this.#options.clock.nowMs());
        if (next === null) break;
        this.#size--;
        next.waiting.bind(next);
      }
      if (line.length === 0) this.#lines.delete(model);
    }
    if (this.#size > 0) this.#arm(lookMs);
  };
}
