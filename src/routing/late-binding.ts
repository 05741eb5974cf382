// Requests that wait in the router because their best endpoint has enough to do: which of them goes next, and where. Bound
// late, a request goes where it is cheapest when there is room, and not where it seemed so while the queue was long. Used by
// the router's queue and by the lab alike. Pure: time is handed in.
//
// Among the oldest few the one with the least uncached work whose endpoint has room goes first: short ones do not sit behind
// long ones, and the head of the queue never blocks the rest. What keeps this fair is that each request has a patience, twice
// the work that was before it when it came:
// - What overtakes it on its way to the endpoint that it waits for may be that endpoint's part of this; then it goes first there.
// - What overtakes it anywhere may be all of it, and for one and a half times as long as it had to expect. Then it thinks of
//   itself, and not of what it costs all together: it goes to another endpoint that has room if its first token comes sooner there.
// So nobody waits much more than three times as long as in the order of arrival.
import { isWait, type Candidate, type Choice, type Decision, type Policy, type RequestView } from "./policy.ts";

export interface LateBindingOptions {
  /** So many of the oldest are looked at. */
  readonly window: number;
  /** A patience is at least this, in tokens of prefill, for each endpoint. */
  readonly leastPatience: number;
  /** And lasts at least so long. */
  readonly leastPatienceMs: number;
  /** However long the queue: after so long in it a request is sent to its best endpoint. 0 = never. */
  readonly maxWaitMs: number;
  /** Candidates that are looked at to find the next one: of a large fleet fewer of the oldest are compared. */
  readonly maxLooks: number;
}

export const defaultLateBinding: LateBindingOptions = {
  window: 32,
  leastPatience: 8192,
  leastPatienceMs: 1500,
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
  /** Tokens of later ones that may still go first, anywhere. */
  patience: number;
  /** How long they may, by the clock. */
  readonly patientUntilMs: number;
  /** Tokens of later ones that may still go first to the endpoint that it waits for. */
  patienceThere: number;
  /** The endpoint that it waits for, as last seen. */
  wanted: string;
  /** What it would compute, as last seen. */
  uncached: number;
}

export interface Handover<W extends Waiting> {
  readonly waiting: W;
  readonly candidates: readonly Candidate[];
  readonly choice: Choice;
}

/** Where one that waits would go. */
interface Settled {
  readonly candidates: readonly Candidate[];
  readonly decision: Decision;
  /** It thinks of itself. */
  readonly moved: boolean;
}

/** One that can go now. */
interface Found {
  readonly at: number;
  readonly wanted: string;
  readonly candidates: readonly Candidate[];
  readonly decision: Choice;
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
    const { leastPatience, leastPatienceMs } = this.#options;
    const endpoints = Math.max(1, candidates.length);
    let queued = 0;
    let shortest = candidates.length === 0 ? 0 : Number.POSITIVE_INFINITY;
    let msPerToken = 0;
    for (const { load } of candidates) {
      const there = load.queuedTokens(nowMs);
      queued += there;
      shortest = Math.min(shortest, there);
      msPerToken += load.prefillMsPerToken / endpoints;
    }
    const patience = Math.max(2 * (this.#uncached + queued), leastPatience * candidates.length);
    // until its first token, if it goes behind its part of those that wait to whoever has least to do
    const expectedMs = (this.#uncached / endpoints + shortest + uncachedTokens) * msPerToken;
    this.#places.push({
      waiting,
      sinceMs: nowMs,
      patience,
      patientUntilMs: nowMs + Math.max(1.5 * expectedMs, leastPatienceMs),
      patienceThere: patience / endpoints,
      wanted: "",
      uncached: uncachedTokens,
    });
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
    let bestUncached = Number.POSITIVE_INFINITY;
    let found: Found | null = null;
    const ready: Found[] = [];
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
      const settled = this.#settle(place, view, candidates);
      const { decision } = settled;
      this.#uncached -= place.uncached;
      place.uncached = Math.max(1, view.promptTokens - decision.cachedTokens);
      this.#uncached += place.uncached;
      place.wanted = settled.candidates[decision.index]?.id ?? "";
      if (isWait(decision)) continue;
      const urgent = overdue || settled.moved || place.patience <= 0 || place.patienceThere <= 0;
      const one: Found = { at: i, wanted: place.wanted, candidates: settled.candidates, decision };
      if (urgent) {
        // who came before it and can go to the same endpoint now would be there in order of arrival too
        found = ready.find(({ wanted }) => wanted === place.wanted) ?? one;
        break;
      }
      ready.push(one);
      if (place.uncached >= bestUncached) continue;
      bestUncached = place.uncached;
      found = one;
    }
    const place = found === null ? undefined : places[found.at];
    if (found === null || place === undefined) return null;
    for (let i = 0; i < found.at; i++) {
      const overtaken = places[i];
      if (overtaken === undefined) continue;
      overtaken.patience -= place.uncached;
      if (overtaken.wanted === place.wanted) overtaken.patienceThere -= place.uncached;
    }
    this.#take(found.at);
    return { waiting: place.waiting, candidates: found.candidates, choice: found.decision };
  }

  /** Where one that waits would go now: where it is cheapest, or, when its patience is at an end, where it is served sooner. */
  #settle(place: Place<W>, view: RequestView, candidates: readonly Candidate[]): Settled {
    const decision = this.#policy(view, candidates, this.#random);
    const stays = { candidates, decision, moved: false };
    if (!isWait(decision) || (place.patience > 0 && view.nowMs < place.patientUntilMs)) return stays;
    const withRoom = candidates.filter((one) => !isWait(this.#policy(view, [one], this.#random)));
    if (withRoom.length === 0) return stays;
    const elsewhere = this.#policy({ ...view, mayWait: false }, withRoom, this.#random);
    if (firstTokenMs(view, withRoom, elsewhere) >= firstTokenMs(view, candidates, decision)) return stays;
    return { candidates: withRoom, decision: elsewhere, moved: true };
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

/** Until its own first token, as far as the endpoint's queue and the prompt tell. */
function firstTokenMs(view: RequestView, candidates: readonly Candidate[], { index, cachedTokens }: Decision): number {
  const load = candidates[index]?.load;
  if (load === undefined) return Number.POSITIVE_INFINITY;
  return (load.queuedTokens(view.nowMs) + view.promptTokens - cachedTokens) * load.prefillMsPerToken;
}
