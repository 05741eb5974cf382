// Requests that wait in the router because their best endpoint has enough to do: which of them goes next, and where. Bound
// late, a request goes where it is cheapest when there is room, and not where it seemed so while the queue was long. Used by
// the router's queue and by the lab alike. Pure: time is handed in.
//
// Among the oldest few the one with the least uncached work whose endpoint has room goes first: short ones do not sit behind
// long ones, and the head of the queue never blocks the rest. What keeps this fair: each request has a patience, twice the
// work that was before it when it came. What overtakes it is taken from that. When nothing is left it goes before all others,
// to the cheapest endpoint that has room. So nobody waits much more than three times as long as in the order of arrival.
import { isWait, type Candidate, type Choice, type Decision, type Policy, type RequestView } from "./policy.ts";

export interface LateBindingOptions {
  /** So many of the oldest are looked at. */
  readonly window: number;
  /** A patience is at least this, in tokens of prefill, for each endpoint. */
  readonly leastPatience: number;
  /** However long the queue: after so long in it a request is sent to its best endpoint. 0 = never. */
  readonly maxWaitMs: number;
  /** Candidates that are looked at to find the next one: of a large fleet fewer of the oldest are compared. */
  readonly maxLooks: number;
}

export const defaultLateBinding: LateBindingOptions = {
  window: 32,
  leastPatience: 8192,
  maxWaitMs: 60_000,
  maxLooks: 8192,
};

/** One request that waits. */
export interface Waiting {
  readonly view: RequestView;
  /** Who may get it now: endpoints come, go and break down while it waits. Empty = nobody. */
  candidates(nowMs: number): readonly Candidate[];
}

interface Place<W extends Waiting> {
  readonly waiting: W;
  readonly sinceMs: number;
  /** Tokens of later ones that may still go first. */
  patience: number;
  /** What it would compute, as last seen. */
  uncached: number;
}

export interface Handover<W extends Waiting> {
  readonly waiting: W;
  readonly candidates: readonly Candidate[];
  readonly choice: Choice;
}

export class LateBinding<W extends Waiting> {
  readonly #policy: Policy;
  readonly #options: LateBindingOptions;
  readonly #random: () => number;
  /** In order of arrival. */
  readonly #places: Place<W>[] = [];
  #uncached = 0;

  constructor(policy: Policy, random: () => number, options: LateBindingOptions = defaultLateBinding) {
    this.#policy = policy;
    this.#random = random;
    this.#options = options;
  }

  /** When the one that has waited longest began to, by the clock; null = nobody waits. */
  get sinceMs(): number | null {
    return this.#places[0]?.sinceMs ?? null;
  }

  get length(): number {
    return this.#places.length;
  }

  /** Prompt tokens to be computed for those that wait, as far as can be told. */
  get tokens(): number {
    return this.#uncached;
  }

  /** @param candidates what its policy looked at when it said wait */
  add(waiting: W, uncachedTokens: number, candidates: readonly Candidate[], nowMs: number): void {
    let before = this.#uncached;
    for (const { load } of candidates) before += load.queuedTokens(nowMs);
    const patience = Math.max(2 * before, this.#options.leastPatience * candidates.length);
    this.#places.push({ waiting, sinceMs: nowMs, patience, uncached: uncachedTokens });
    this.#uncached += uncachedTokens;
  }

  /** It does not wait any more: its client left, its time is up. */
  remove(waiting: W): boolean {
    const at = this.#places.findIndex((place) => place.waiting === waiting);
    if (at < 0) return false;
    this.#take(at);
    return true;
  }

  /** Takes the next one that can go out of the queue; null = none can, for now. */
  next(nowMs: number): Handover<W> | null {
    const { window, maxWaitMs } = this.#options;
    const places = this.#places;
    let best = -1;
    let bestUncached = Number.POSITIVE_INFINITY;
    let found: { candidates: readonly Candidate[]; decision: Choice } | null = null;
    let looks = this.#options.maxLooks;
    const count = Math.min(window, places.length);
    for (let i = 0; i < count; i++) {
      const place = places[i];
      if (place === undefined) break;
      const candidates = place.waiting.candidates(nowMs);
      looks -= candidates.length;
      if (looks < 0 && i > 0) break;
      if (candidates.length === 0) continue;
      const overdue = maxWaitMs > 0 && nowMs - place.sinceMs >= maxWaitMs;
      const view = { ...place.waiting.view, nowMs, mayWait: !overdue };
      let pool = candidates;
      let decision: Decision = this.#policy(view, candidates, this.#random);
      if (isWait(decision) && place.patience <= 0) {
        // anyone that has room
        pool = candidates.filter((one) => !isWait(this.#policy(view, [one], this.#random)));
        if (pool.length > 0) decision = this.#policy({ ...view, mayWait: false }, pool, this.#random);
      }
      this.#uncached -= place.uncached;
      place.uncached = Math.max(1, view.promptTokens - decision.cachedTokens);
      this.#uncached += place.uncached;
      if (isWait(decision)) continue;
      const urgent = overdue || place.patience <= 0;
      if (!urgent && place.uncached >= bestUncached) continue;
      best = i;
      bestUncached = place.uncached;
      found = { candidates: pool, decision };
      if (urgent) break;
    }
    const place = places[best];
    if (found === null || place === undefined) return null;
    for (let i = 0; i < best; i++) {
      const overtaken = places[i];
      if (overtaken !== undefined) overtaken.patience -= place.uncached;
    }
    this.#take(best);
    return { waiting: place.waiting, candidates: found.candidates, choice: found.decision };
  }

  /** All that wait, oldest first. */
  *[Symbol.iterator](): Generator<W> {
    for (const place of this.#places) yield place.waiting;
  }

  #take(at: number): void {
    const [place] = this.#places.splice(at, 1);
    if (place !== undefined) this.#uncached = this.#places.length === 0 ? 0 : this.#uncached - place.uncached;
  }
}
