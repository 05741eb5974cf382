// What the router itself knows of the load on one endpoint, at once and without asking: requests before and after their first
// token, prompt tokens that are still to be prefilled, tokens held in the KV cache, and how fast the engine has been. Tokens
// leave the queue when the first token tells it, and before that by elapsed time at the learnt rate. Pure: time is handed in.
import { SlidingQuantile } from "./sliding-quantile.ts";

/** What an engine's `/metrics`, or the head of an answer, last said. It is a step old at best, plus the time since; it only corrects. */
export interface Scraped {
  readonly atMs: number;
  /** Requests that the engine runs and has waiting, whoever sent them. */
  readonly running: number;
  readonly waiting: number;
  /** Share of the KV blocks in use, 0 to 1. */
  readonly kvUsage: number;
  /** Requests of this router that were on the engine then: the others are somebody else's. */
  readonly own: number;
  /** `heldTokens` of this router then. */
  readonly ownHeldTokens: number;
}

/** What an engine says of its load; null = it leaves that out. */
export interface ToldLoad {
  readonly running: number | null;
  readonly waiting: number | null;
  readonly kvUsage: number | null;
}

/** What policies see. */
export interface LoadView {
  /** Requests whose first token has not come. */
  readonly queued: number;
  /** Requests past it. */
  readonly running: number;
  /** Prompt tokens that the engine has still to compute before it gets to a new request. */
  queuedTokens(nowMs: number): number;
  /** Requests that generate by now, as far as can be told: an answer that is no stream does not say when it began to. */
  decoding(nowMs: number): number;
  /** The same of what others have waiting there, as far as the last scrape tells. */
  othersQueuedTokens(nowMs: number): number;
  /** Tokens of the last minutes, prefilled and generated, older ones counting less. */
  recentTokens(nowMs: number): number;
  /** How much of these minutes it has been there, 0 to 1: counted from when it was first asked for. */
  recentShare(nowMs: number): number;
  /** KV tokens that requests in flight hold or will hold; a prefix that they share is counted for each. */
  readonly heldTokens: number;
  readonly prefillMsPerToken: number;
  /** Time from one token of an answer to the next, or what is believed of any endpoint. */
  readonly stepMs: number;
  /** The same when little disturbs it (lower quartile of the last minute), as far as it was measured here; 0 = it was not. */
  readonly calmStepMs: number;
  /**
   * How far the latter can be trusted, 0 to 1. It fades while the endpoint has nothing to do: one that was slow and is not sent
   * anything for that would never show that it has recovered.
   */
  stepTrust(nowMs: number): number;
  /** Tokens of an answer, in the mean. */
  readonly answerTokens: number;
  /** The prefill rate has been measured on this endpoint; else it is what is believed of any. */
  readonly rateKnown: boolean;
  /** Tokens that fit into the KV cache; 0 = unknown. */
  readonly capacityTokens: number;
  readonly scraped: Scraped | null;
}

/** What is believed of an engine before it has shown how fast it is. */
export interface SpeedPrior {
  readonly prefillMsPerToken: number;
  readonly stepMs: number;
}

/**
 * 25,000 prompt tokens a second and steps of 15 ms: in the middle, as ratios, of what is measured of models of 8 to 120
 * billion parameters on one to eight cards of today.
 */
export const defaultPrior: SpeedPrior = { prefillMsPerToken: 0.04, stepMs: 15 };

/** First tokens that are so close come from one step. */
const sameStepMs = 2;
/** Shorter prefills say more about the fixed part of a step than about the rate. */
const leastSampleTokens = 256;
/** Generated tokens held for a request that does not say how many it wants. */
const assumedAnswerTokens = 256;
/** As long as conversations last: with 20 s, one that paused was forgotten, and an engine came to 1.5 times its part. */
const recentHalfLifeMs = 300_000;
/** What was measured of an endpoint counts for nothing any more after so long without a request. */
const trustMs = 60_000;
/** The last answer to how much of the last minutes one was there: most endpoints of a fleet came together. */
let shareForMs = 0;
let share = 0;
/** What a request costs beside its tokens: no request is free. */
const leastTokens = 16;

/** One request on an endpoint; see {@link EndpointLoad.send}. */
export class LoadTicket {
  /** Prompt tokens that the engine has to compute. */
  readonly uncachedTokens: number;
  readonly #heldTokens: number;
  readonly #load: EndpointLoad;
  readonly sentMs: number;
  phase: "queued" | "running" | "released" = "queued";
  /** Still counted among the tokens to be prefilled. */
  pending = true;
  next: LoadTicket | null = null;
  #firstMs = 0;
  #streamed = false;

  constructor(load: EndpointLoad, uncachedTokens: number, heldTokens: number, nowMs: number) {
    this.#load = load;
    this.uncachedTokens = uncachedTokens;
    this.#heldTokens = heldTokens;
    this.sentMs = nowMs;
  }

  /** @param streamed false = the whole answer has come, which says nothing about when it began */
  firstToken(nowMs: number, streamed: boolean): void {
    if (this.phase !== "queued") return;
    this.phase = "running";
    this.#streamed = streamed;
    this.#firstMs = nowMs;
    this.#load.first(this, streamed, nowMs);
  }

  /**
   * On every way out, once; a second time does nothing.
   * @param generatedTokens of a good answer; 0 = unknown
   */
  release(nowMs: number, generatedTokens = 0): void {
    if (this.phase === "released") return;
    if (this.#streamed && generatedTokens > 4)
      this.#load.stepTook((nowMs - this.#firstMs) / (generatedTokens - 1), nowMs);
    if (generatedTokens > 0) this.#load.answered(generatedTokens);
    const before = this.phase;
    this.phase = "released";
    this.#load.gone(this, before, this.#heldTokens, nowMs);
  }
}

export class EndpointLoad implements LoadView {
  queued = 0;
  running = 0;
  heldTokens = 0;
  capacityTokens = 0;
  scraped: Scraped | null = null;
  readonly #prior: SpeedPrior;
  readonly #onReleased: () => void;
  answerTokens = assumedAnswerTokens;
  readonly #rate = new SlidingQuantile(0.5);
  readonly #step = new SlidingQuantile(0.5);
  /** As the engine's own metrics tell it; 0 = they do not. */
  #toldStepMs = 0;
  /** Requests of others on the engine, when it last said how many it has in all. */
  #others = 0;
  /** Since when no request is on it. */
  #idleSinceMs = 0;
  /** Requests whose prompt is believed not to be computed yet, in the order in which they were sent. */
  #oldest: LoadTicket | null = null;
  #newest: LoadTicket | null = null;
  #pending = 0;
  #pendingTokens = 0;
  /** Of these, computed by now as far as time and rate tell. */
  #progress = 0;
  #progressAtMs = 0;
  #recent = 0;
  #recentAtMs = 0;
  /** NaN = nobody has asked for it. */
  #thereSinceMs = Number.NaN;
  /** Of a request, for those that nothing is known of. */
  #meanTokens = 512;
  /** The present group of first tokens that came from one step. */
  #groupTokens = 0;
  #groupFromMs = 0;
  #groupAtMs = Number.NEGATIVE_INFINITY;

  /** @param onReleased called each time that a request has left */
  constructor(prior: SpeedPrior = defaultPrior, onReleased: () => void = () => undefined) {
    this.#prior = prior;
    this.#onReleased = onReleased;
  }

  get prefillMsPerToken(): number {
    return this.#rate.value(this.#prior.prefillMsPerToken);
  }

  get stepMs(): number {
    return this.#step.value(this.#toldStepMs > 0 ? this.#toldStepMs : this.#prior.stepMs);
  }

  get calmStepMs(): number {
    return this.#step.recentLow;
  }

  stepTrust(nowMs: number): number {
    const { recentWeight } = this.#step;
    if (recentWeight === 0 || this.queued + this.running > 0) return recentWeight;
    return recentWeight * Math.max(0, 1 - (nowMs - this.#idleSinceMs) / trustMs);
  }

  /** The engine's metrics tell the mean time between two tokens: of whole answers, too, which show none. */
  stepTold(ms: number, nowMs: number): void {
    if (!(ms > 0 && Number.isFinite(ms))) return;
    this.#toldStepMs = ms;
    this.#step.add(ms, nowMs);
  }

  /**
   * The engine says what load it has, whoever sent it. Who does not say how many requests it runs is believed to run, of other
   * routers', as many as when it last did.
   */
  told({ running, waiting, kvUsage }: ToldLoad, nowMs: number): void {
    const before = this.scraped;
    const own = this.queued + this.running;
    const waits = waiting ?? before?.waiting ?? 0;
    if (running !== null) this.#others = Math.max(0, running + waits - own);
    this.scraped = {
      atMs: nowMs,
      running: running ?? Math.max(0, own + this.#others - waits),
      waiting: waits,
      kvUsage: kvUsage ?? before?.kvUsage ?? 0,
      own,
      ownHeldTokens: this.heldTokens,
    };
  }

  get rateKnown(): boolean {
    return this.#rate.trusted;
  }

  queuedTokens(nowMs: number): number {
    this.#advance(nowMs);
    return Math.max(0, this.#pendingTokens - this.#progress);
  }

  recentTokens(nowMs: number): number {
    if (this.#recent === 0) return 0;
    return this.#recent * 2 ** ((this.#recentAtMs - nowMs) / recentHalfLifeMs);
  }

  recentShare(nowMs: number): number {
    if (Number.isNaN(this.#thereSinceMs)) this.#thereSinceMs = nowMs;
    const forMs = nowMs - this.#thereSinceMs;
    if (forMs !== shareForMs) {
      shareForMs = forMs;
      share = 1 - 2 ** (-forMs / recentHalfLifeMs);
    }
    return share;
  }

  decoding(nowMs: number): number {
    this.#advance(nowMs);
    const waiting = this.#pendingTokens > 0 ? this.#pending * (1 - this.#progress / this.#pendingTokens) : 0;
    return this.queued + this.running - waiting;
  }

  othersQueuedTokens(nowMs: number): number {
    const { scraped } = this;
    if (scraped === null || scraped.waiting === 0) return 0;
    const others = Math.min(scraped.waiting, scraped.running + scraped.waiting - scraped.own);
    if (others <= 0) return 0;
    return Math.max(0, others * this.#meanTokens - (nowMs - scraped.atMs) / this.prefillMsPerToken);
  }

  /**
   * A request goes to the endpoint.
   * @param uncachedTokens prompt tokens that it does not hold
   * @param answerTokens that will be generated at most; null = unknown
   */
  send(promptTokens: number, uncachedTokens: number, answerTokens: number | null, nowMs: number): LoadTicket {
    this.#advance(nowMs);
    const uncached = Math.max(leastTokens, uncachedTokens);
    const held = promptTokens + Math.min(answerTokens ?? assumedAnswerTokens, 4 * assumedAnswerTokens);
    const ticket = new LoadTicket(this, uncached, held, nowMs);
    this.queued++;
    this.#recent = this.recentTokens(nowMs) + uncached + assumedAnswerTokens;
    this.#recentAtMs = nowMs;
    this.heldTokens += held;
    this.#pending++;
    this.#pendingTokens += uncached;
    this.#meanTokens += (uncached - this.#meanTokens) * 0.05;
    if (this.#newest === null) this.#oldest = ticket;
    else this.#newest.next = ticket;
    this.#newest = ticket;
    return ticket;
  }

  /** For tickets. */
  first(ticket: LoadTicket, streamed: boolean, nowMs: number): void {
    this.queued--;
    this.running++;
    if (streamed) this.#sample(ticket, nowMs);
    if (ticket.pending) this.#drop(ticket, streamed, nowMs);
  }

  /** For tickets. */
  stepTook(ms: number, nowMs: number): void {
    if (ms > 0) this.#step.add(ms, nowMs);
  }

  /** For tickets. */
  answered(tokens: number): void {
    this.answerTokens += (tokens - this.answerTokens) * 0.05;
  }

  /** For tickets. */
  gone(ticket: LoadTicket, phase: "queued" | "running", held: number, nowMs: number): void {
    if (phase === "queued") this.queued--;
    else this.running--;
    this.heldTokens -= held;
    if (this.queued + this.running === 0) {
      this.#idleSinceMs = nowMs;
      // nothing is left that a rounding error could hide behind
      this.#oldest = null;
      this.#newest = null;
      this.#pending = 0;
      this.#pendingTokens = 0;
      this.#progress = 0;
      this.heldTokens = 0;
      ticket.pending = false;
    } else if (ticket.pending) this.#remove(ticket, nowMs);
    this.#onReleased();
  }

  /** What time alone has done to the queue. */
  #advance(nowMs: number): void {
    const passed = nowMs - this.#progressAtMs;
    this.#progressAtMs = nowMs;
    if (this.#oldest === null || passed <= 0) return;
    this.#progress += passed / this.prefillMsPerToken;
    // the first in the queue is the one at work: it can't have done more than all
    this.#progress = Math.min(this.#progress, this.#pendingTokens);
  }

  /** A first token came: its prompt is computed, and so are those that were sent before. */
  #drop(ticket: LoadTicket, streamed: boolean, nowMs: number): void {
    this.#advance(nowMs);
    let tokens = 0;
    let one = this.#oldest;
    while (one !== null) {
      const { next } = one;
      one.pending = false;
      // a stream of minutes must not keep all that came after it in memory
      one.next = null;
      tokens += one.uncachedTokens;
      this.#pending--;
      this.#oldest = next;
      if (one === ticket) break;
      one = next;
    }
    if (this.#oldest === null) this.#newest = null;
    this.#pendingTokens -= tokens;
    // What was computed beyond these is a guess, which the first token of a stream corrects: it is as fresh as can be. The
    // end of another answer says nothing about those behind it.
    this.#progress = streamed ? 0 : Math.max(0, this.#progress - tokens);
  }

  /** One that left before its first token. */
  #remove(ticket: LoadTicket, nowMs: number): void {
    this.#advance(nowMs);
    let before: LoadTicket | null = null;
    for (let one = this.#oldest; one !== null; before = one, one = one.next) {
      if (one !== ticket) continue;
      if (before === null) this.#oldest = one.next;
      else before.next = one.next;
      if (this.#newest === one) this.#newest = before;
      break;
    }
    ticket.pending = false;
    ticket.next = null;
    this.#pending--;
    this.#pendingTokens -= ticket.uncachedTokens;
    this.#progress = Math.min(this.#progress, this.#pendingTokens);
  }

  /**
   * Learns the rate: tokens whose prefill ended with a step, by the time from the step before (or from when the first of them
   * was sent) to it.
   */
  #sample(ticket: LoadTicket, nowMs: number): void {
    if (nowMs - this.#groupAtMs <= sameStepMs) {
      this.#groupTokens += ticket.uncachedTokens;
      this.#groupAtMs = nowMs;
      return;
    }
    if (this.#groupTokens >= leastSampleTokens) {
      const took = this.#groupAtMs - this.#groupFromMs;
      // The step would have taken its time without a prefill as well. With that in it, an engine that is so busy that prompts
      // come in large groups seemed faster than its sisters, and got more: 36 requests where they had 20.
      const marginal = took - Math.min(this.stepMs, took / 2);
      if (took > 0) this.#rate.add(marginal / this.#groupTokens, this.#groupAtMs);
    }
    this.#groupFromMs = Math.max(ticket.sentMs, this.#groupAtMs);
    this.#groupTokens = ticket.uncachedTokens;
    this.#groupAtMs = nowMs;
  }
}
