// Decides what one engine step computes: running sequences first, then waiting ones, within a token budget and a number
// of sequences, as vLLM's V1 scheduler does. Pure. It must never schedule a token for which no block was reserved.

import { BlockPool } from "./block-pool.ts";
import { SequenceCache } from "./sequence-cache.ts";
import type { BlockHasher } from "./block-hash.ts";
import type { StoredBlocks } from "./sequence-cache.ts";
import type { BlockObserver } from "./block-pool.ts";
import type { Sequence } from "./sequence.ts";

export interface SchedulerOptions {
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly blockSize: number;
  readonly numGpuBlocks: number;
  readonly prefixCaching: boolean;
  readonly policy: "fcfs" | "priority";
  readonly hasher: BlockHasher;
  /** Different adapters in one step; default no limit. */
  readonly maxAdapters?: number;
}

export interface SchedulerObserver extends BlockObserver {
  stored?(stored: StoredBlocks): void;
  preempted?(sequence: Sequence): void;
}

/** What one step computes. */
export interface StepPlan {
  readonly sequences: readonly Sequence[];
  readonly prefillTokens: number;
  readonly decodeTokens: number;
  /** KV tokens that the decodes attend to. */
  readonly attendedTokens: number;
}

export class Scheduler {
  readonly pool: BlockPool;
  readonly waiting: Sequence[] = [];
  readonly running: Sequence[] = [];
  /** Prompt tokens looked up in, and found in, the prefix cache; preempted sequences count once. */
  queryTokens = 0;
  hitTokens = 0;
  /** Prompt tokens beyond cached ones of requests that another engine has computed, and how many were fetched. */
  externalQueryTokens = 0;
  externalHitTokens = 0;
  preemptions = 0;
  /** Waiting sequences that the last step passed over because their adapter had no place. */
  deferred = 0;
  readonly #options: SchedulerOptions;
  readonly #cache: SequenceCache;
  readonly #observer: SchedulerObserver;

  constructor(options: SchedulerOptions, observer: SchedulerObserver = {}) {
    this.#options = options;
    this.#observer = observer;
    this.pool = new BlockPool(options.numGpuBlocks, observer);
    this.#cache = new SequenceCache(this.pool, options.blockSize, options.hasher, options.prefixCaching, (stored) =>
      observer.stored?.(stored),
    );
  }

  add(sequence: Sequence): void {
    if (this.#options.policy === "fcfs") {
      this.waiting.push(sequence);
      return;
    }
    const at = this.waiting.findIndex((other) => this.#before(sequence, other));
    if (at < 0) this.waiting.push(sequence);
    else this.waiting.splice(at, 0, sequence);
  }

  /** Takes a sequence out, wherever it is, and gives its blocks back. */
  remove(sequence: Sequence): void {
    const queue = sequence.state === "running" ? this.running : this.waiting;
    const at = queue.indexOf(sequence);
    if (at >= 0) queue.splice(at, 1);
    sequence.state = "finished";
    this.#cache.release(sequence);
  }

  /** The next step, or null when there is nothing to do. `nowMs` stamps first admissions. */
  plan(nowMs: number): StepPlan | null {
    const step = { sequences: [] as Sequence[], prefillTokens: 0, decodeTokens: 0, attendedTokens: 0 };
    const preempted = this.#planRunning(step);
    // After a preemption nothing is admitted in the same step: the blocks just won would be lost again.
    if (!preempted) this.#planWaiting(step, nowMs);
    return step.sequences.length === 0 ? null : step;
  }

  /**
   * Decodes come before prefill chunks without sorting: a sequence whose prompt is not finished was cut by the budget,
   * so nothing was admitted after it.
   */
  #planRunning(step: MutablePlan): boolean {
    let preempted = false;
    for (let at = 0; at < this.running.length; at++) {
      const sequence = this.running[at];
      if (sequence === undefined) break;
      const budget = this.#options.maxNumBatchedTokens - step.prefillTokens - step.decodeTokens;
      if (budget <= 0) break;
      const count = Math.min(sequence.tokens.length - sequence.computed, budget);
      let fits = this.#cache.grow(sequence, count);
      while (!fits) {
        preempted = true;
        const victim = this.#victim();
        if (victim === undefined) break;
        const before = this.running.indexOf(victim);
        this.#preempt(victim, step);
        if (before <= at) at--;
        if (victim === sequence) break;
        fits = this.#cache.grow(sequence, count);
      }
      if (fits) schedule(step, sequence, count);
    }
    return preempted;
  }

  #planWaiting(step: MutablePlan, nowMs: number): void {
    this.deferred = 0;
    while (this.waiting.length > this.deferred && this.running.length < this.#options.maxNumSeqs) {
      const budget = this.#options.maxNumBatchedTokens - step.prefillTokens - step.decodeTokens;
      const sequence = this.waiting[this.deferred];
      if (sequence === undefined || budget <= 0) return;
      if (!this.#adapterFits(sequence.request.adapter ?? null)) {
        this.deferred++;
        continue;
      }
      const hit = this.#cache.lookUp(sequence);
      const cached = hit.length * this.#options.blockSize;
      const present = cached + this.#fetched(sequence, cached);
      const count = Math.min(sequence.tokens.length - present, budget);
      if (!this.#cache.admit(sequence, hit, present - cached + count)) return;
      sequence.computed = present;
      if (this.deferred === 0) this.waiting.shift();
      else this.waiting.splice(this.deferred, 1);
      this.running.push(sequence);
      sequence.state = "running";
      if (sequence.scheduledMs === null) {
        sequence.scheduledMs = nowMs;
        sequence.cachedTokens = present;
        this.queryTokens += sequence.promptLength;
        this.hitTokens += cached;
        sequence.fetchedTokens = present - cached;
        if ((sequence.request.externalTokens ?? 0) > 0) {
          this.externalQueryTokens += sequence.promptLength - cached;
          this.externalHitTokens += present - cached;
        }
      }
      schedule(step, sequence, count);
    }
  }

  /**
   * Tokens beyond the cached ones that lie here because another engine has sent them. The last of a prompt is computed again
   * for its logits; what a preemption gave back is not sent twice.
   */
  #fetched(sequence: Sequence, cached: number): number {
    const external = sequence.preemptions > 0 ? 0 : (sequence.request.externalTokens ?? 0);
    return Math.max(0, Math.min(external, sequence.promptLength - 1) - cached);
  }

  #adapterFits(adapter: string | null): boolean {
    const limit = this.#options.maxAdapters;
    if (adapter === null || limit === undefined) return true;
    const used = new Set<string>();
    for (const { request } of this.running) if (typeof request.adapter === "string") used.add(request.adapter);
    return used.has(adapter) || used.size < limit;
  }

  /** The sequence that has to give way: the youngest, or under `priority` the least important. */
  #victim(): Sequence | undefined {
    if (this.#options.policy === "fcfs") return this.running[this.running.length - 1];
    let worst = this.running[0];
    for (const other of this.running) if (worst !== undefined && this.#before(worst, other)) worst = other;
    return worst;
  }

  /** Preemption by recompute: everything is given back, and the sequence waits at the front. */
  #preempt(victim: Sequence, step: MutablePlan): void {
    const planned = step.sequences.indexOf(victim);
    if (planned >= 0) unschedule(step, victim, planned);
    this.running.splice(this.running.indexOf(victim), 1);
    this.#cache.release(victim);
    victim.computed = 0;
    victim.state = "waiting";
    victim.preemptions++;
    this.preemptions++;
    if (this.#options.policy === "fcfs") this.waiting.unshift(victim);
    else this.add(victim);
    this.#observer.preempted?.(victim);
  }

  #before(a: Sequence, b: Sequence): boolean {
    return a.priority === b.priority ? a.order < b.order : a.priority < b.priority;
  }
}

interface MutablePlan {
  sequences: Sequence[];
  prefillTokens: number;
  decodeTokens: number;
  attendedTokens: number;
}

/** A sequence whose only uncomputed token is a generated one decodes; anything else is prefill work. */
function decodes(sequence: Sequence): boolean {
  return sequence.tokens.length - sequence.computed === 1 && sequence.generated > 0;
}

function schedule(step: MutablePlan, sequence: Sequence, count: number): void {
  sequence.scheduled = count;
  step.sequences.push(sequence);
  if (decodes(sequence)) {
    step.decodeTokens += count;
    step.attendedTokens += sequence.tokens.length;
  } else {
    step.prefillTokens += count;
  }
}

function unschedule(step: MutablePlan, sequence: Sequence, at: number): void {
  step.sequences.splice(at, 1);
  if (decodes(sequence)) {
    step.decodeTokens -= sequence.scheduled;
    step.attendedTokens -= sequence.tokens.length;
  } else {
    step.prefillTokens -= sequence.scheduled;
  }
  sequence.scheduled = 0;
}
