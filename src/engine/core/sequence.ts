// One sequence inside the engine: its tokens, how far they are computed, the blocks it holds. Owned by the scheduler;
// a record of state, it decides nothing and must never be handed to the outside while it can still change.

import type { BlockHash } from "./block-hash.ts";

/** Why a sequence ended. `abort` comes from inside the engine, `cancelled` from a client that went away. */
export type FinishReason = "stop" | "length" | "abort" | "error" | "cancelled";

/** What a caller asks the engine to generate. One choice of one prompt; `n` choices are `n` requests. */
export interface EngineRequest {
  /** Unique among the requests in flight. */
  readonly id: string;
  readonly promptTokens: readonly number[];
  /** At least 1; cut to what the context leaves. */
  readonly maxTokens: number;
  /** Lower goes first under the `priority` policy. */
  readonly priority?: number;
  /** Adapter and cache salt: sequences share blocks only when these are equal. */
  readonly cacheKey?: string | null;
  /** The adapter it runs with; only so many different ones fit into a step. */
  readonly adapter?: string | null;
  /** Prompt tokens from the start whose keys and values another engine has computed; they are fetched, not computed. */
  readonly externalTokens?: number;
  /**
   * Identities of the full blocks of prompt and answer, where the caller knows them. Then no token is hashed, and only
   * the number of tokens counts: the lab runs an hour of trace in seconds this way.
   */
  readonly blockHashes?: readonly BlockHash[];
  /** The next token id; called once per generated token, in order. Without it token ids are made from the seed. */
  readonly nextToken?: () => number;
}

/** Moments of a sequence's life on the clock's monotonic axis, milliseconds. */
export interface SequenceTimes {
  readonly arrivedMs: number;
  readonly scheduledMs: number | null;
  readonly firstTokenMs: number | null;
  readonly lastTokenMs: number | null;
  readonly finishedMs: number;
}

/** What is known of a sequence once it has ended. */
export interface SequenceResult {
  readonly id: string;
  readonly reason: FinishReason;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** Prompt tokens that needed no computing at first admission: found in the cache, or fetched from another engine. */
  readonly cachedTokens: number;
  /** Those of them that were fetched. */
  readonly fetchedTokens: number;
  /** Prompt tokens of full blocks that this sequence added to the cache. */
  readonly createdTokens: number;
  readonly preemptions: number;
  readonly maxTokens: number;
  readonly times: SequenceTimes;
}

/** Called by the engine at the end of a step. Must not throw. */
export interface SequenceListener {
  /** One generated token. Returning true ends the sequence with reason `stop`. */
  onToken?(token: number, index: number, progress: SequenceProgress): boolean | void;
  onFinish?(result: SequenceResult): void;
}

/** The part of a sequence that a listener may read while it runs. */
export interface SequenceProgress {
  readonly cachedTokens: number;
  readonly createdTokens: number;
  /** Ids of the blocks that it holds. */
  readonly blocks: readonly number[];
}

export class Sequence implements SequenceProgress {
  readonly request: EngineRequest;
  readonly listener: SequenceListener;
  readonly order: number;
  readonly arrivedMs: number;
  readonly maxTokens: number;
  /** Prompt, then what was generated. */
  readonly tokens: number[];
  readonly promptLength: number;
  /** Tokens whose keys and values are, or are being, computed. */
  computed = 0;
  /** Tokens of the step in progress. */
  scheduled = 0;
  blocks: number[] = [];
  /** Hashes of the full blocks of `tokens`, as far as they were needed; they survive a preemption. */
  readonly hashes: BlockHash[];
  /** How many of `blocks` are findable by their hash. */
  published = 0;
  state: "waiting" | "running" | "finished" = "waiting";
  cachedTokens = 0;
  fetchedTokens = 0;
  createdTokens = 0;
  preemptions = 0;
  scheduledMs: number | null = null;
  firstTokenMs: number | null = null;
  lastTokenMs: number | null = null;

  constructor(request: EngineRequest, listener: SequenceListener, order: number, arrivedMs: number, maxTokens: number) {
    this.request = request;
    this.listener = listener;
    this.order = order;
    this.arrivedMs = arrivedMs;
    this.maxTokens = maxTokens;
    this.tokens = request.promptTokens.slice();
    this.hashes = request.blockHashes?.slice() ?? [];
    this.promptLength = this.tokens.length;
  }

  get generated(): number {
    return this.tokens.length - this.promptLength;
  }

  get priority(): number {
    return this.request.priority ?? 0;
  }

  result(reason: FinishReason, finishedMs: number): SequenceResult {
    return {
      id: this.request.id,
      reason,
      promptTokens: this.promptLength,
      generatedTokens: this.generated,
      cachedTokens: this.cachedTokens,
      fetchedTokens: this.fetchedTokens,
      createdTokens: this.createdTokens,
      preemptions: this.preemptions,
      maxTokens: this.maxTokens,
      times: {
        arrivedMs: this.arrivedMs,
        scheduledMs: this.scheduledMs,
        firstTokenMs: this.firstTokenMs,
        lastTokenMs: this.lastTokenMs,
        finishedMs,
      },
    };
  }
}
