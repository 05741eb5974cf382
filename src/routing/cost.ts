// The cost of a choice, in milliseconds, so that nobody has to tune ratios: how long until the endpoint gets to the request,
// what computing the uncached part of its prompt costs it and everybody who runs there, and what running out of KV blocks
// would cost. `leastload`, `prefixaware` and `kvaware` are this one function with different views of the caches.
//
//   cost(e) = wait(e) + prefill(u) * (1 + z * R) + decode(e) + pressure(e)
//
// u: prompt tokens that e has not cached. R: requests that generate on an endpoint, in the mean of the fleet. The factor is the
// point: a token that is prefilled delays every request that runs there, so computing what another engine holds costs everyone,
// and the busier the fleet, the more. Where an endpoint has far more or far fewer requests than the mean, its own count takes
// over: a prefix that all share is computed on the idle ones too, and does not stay with the few that had it first. Pure; it is called for each request and keeps nothing between two calls.
import type { CacheView } from "../cache/view.ts";
import { rendezvous } from "./rendezvous.ts";
import type { LoadView } from "./load.ts";
import type { Candidate, ChoiceReason, Decision, Policy, RequestView, Score } from "./policy.ts";

export interface CostOptions {
  /** How much of the delay of others counts. 0 = each request minimises its own first token. */
  readonly z: number;
  /** Share of a step that a request which runs there already costs: what parts endpoints with equal queues. */
  readonly decode: number;
  /** Share of the KV cache from which on pressure is felt. */
  readonly pressureFrom: number;
  /** Steps that it costs when the cache is just full. */
  readonly pressureSteps: number;
  /** A request is handed over only to an endpoint with fewer tokens queued; else it waits in the router. Infinity = never. */
  readonly handOverTokens: number;
  /**
   * Where other routers send requests to the same endpoints, and nobody is known to hold a conversation: how much dearer its
   * home may be, as a share of the prompt's prefill, since they will look for it there. Alone the home only breaks ties.
   */
  readonly home: number;
  /** The same of a conversation that some other router must have begun: it is most likely at its home. */
  readonly homeOfContinued: number;
}

export const defaultCost: CostOptions = {
  z: 0.6,
  decode: 0.02,
  pressureFrom: 0.9,
  pressureSteps: 40,
  handOverTokens: 8192,
  home: 0.2,
  homeOfContinued: 0.7,
};

const answerTokens = 256;
/** So far from the mean, as a share of it, an endpoint's own number of requests does not count. */
const calm = 0.5;
/** Learnt rates that are closer to the fleet's mean, as a ratio, are taken for it: the rest is chance. */
const equalRates = 1.15;

// of the present call; a module's variables are cheaper than an object for each candidate
let waitMs = 0;
let prefillMs = 0;
let pressureMs = 0;
let cached = 0;
let meanDecoding = 0;
let meanInFlight = 0;
let meanMsPerToken = 0;

/** @param reason of a choice that no prefix had a part in */
export function costPolicy(cache: CacheView | null, options: CostOptions = defaultCost): Policy {
  /** Costs of the present call, by place. */
  let costs = new Float64Array(64);
  let hits = new Float64Array(64);

  function evaluate(view: RequestView, candidate: Candidate): number {
    const { load } = candidate;
    const { prompt, promptTokens, nowMs } = view;
    cached = 0;
    if (prompt !== null && cache !== null) {
      const match = cache.match(candidate.id, prompt);
      if (match > 0) cached = Math.min(match, promptTokens - 1);
    }
    const perToken = rateOf(candidate);
    waitMs = (load.queuedTokens(nowMs) + load.othersQueuedTokens(nowMs)) * perToken;
    prefillMs = (promptTokens - cached) * perToken;
    pressureMs = pressure(view, candidate, promptTokens - cached);
    const decodeMs = options.decode * load.stepMs * (load.queued + load.running);
    return (waitMs + prefillMs * (1 + options.z * delayedOn(load)) + decodeMs + pressureMs) / candidate.weight;
  }

  function pressure(view: RequestView, { load }: Candidate, uncached: number): number {
    const { capacityTokens, scraped } = load;
    if (capacityTokens <= 0) return 0;
    // what the engine says is right about shared prefixes; what has happened since then is the router's to know
    const held =
      scraped === null
        ? load.heldTokens
        : scraped.kvUsage * capacityTokens + Math.max(0, load.heldTokens - scraped.ownHeldTokens);
    const used = (held + uncached + Math.min(view.maxTokens ?? answerTokens, 4 * answerTokens)) / capacityTokens;
    if (used <= options.pressureFrom) return 0;
    const over = (used - options.pressureFrom) / (1 - options.pressureFrom);
    return over * over * options.pressureSteps * load.stepMs;
  }

  const choose: Policy = (view, candidates, random): Decision => {
    const count = candidates.length;
    if (costs.length < count) {
      costs = new Float64Array(count * 2);
      hits = new Float64Array(count * 2);
    }
    lookAtFleet(view, candidates);
    let best = 0;
    let bestCost = Number.POSITIVE_INFINITY;
    let ties = 1;
    let longest = 0;
    for (let i = 0; i < count; i++) {
      const candidate = candidates[i];
      if (candidate === undefined) continue;
      const cost = evaluate(view, candidate);
      costs[i] = cost;
      hits[i] = cached;
      if (cached > longest) longest = cached;
      if (cost < bestCost) {
        best = i;
        bestCost = cost;
        ties = 1;
      } else if (cost === bestCost && random() * ++ties < 1) best = i;
    }
    let reason: ChoiceReason = "least_load";
    const { prompt } = view;
    if (prompt !== null && cache !== null && prompt.blocks > 0) {
      reason = longest === 0 ? "prefix_none" : (hits[best] ?? 0) >= longest ? "prefix_hit" : "prefix_elsewhere";
      // a conversation that nobody is known to hold
      if (
        prompt.anchor !== 0 &&
        longest * prompt.perToken < 0.9 * Math.max(1, prompt.anchorBlocks) * prompt.blockSize
      ) {
        const home = homeOf(prompt.anchor, candidates);
        const chosen = candidates[home];
        if (chosen !== undefined) {
          const share = prompt.continued ? options.homeOfContinued * (1 + options.z * meanDecoding) : options.home;
          const grace = (view.othersShare * share * view.promptTokens * rateOf(chosen)) / chosen.weight;
          if ((costs[home] ?? 0) <= bestCost + grace) {
            if (home !== best && (hits[home] ?? 0) < longest) reason = "prefix_home";
            else if (longest === 0) reason = "prefix_home";
            best = home;
          }
        }
      }
    }
    const load = candidates[best]?.load;
    const cachedTokens = hits[best] ?? 0;
    if (view.mayWait && load !== undefined && load.queuedTokens(view.nowMs) >= options.handOverTokens)
      return { wait: true, reason: "endpoints_full", index: best, cachedTokens };
    return { index: best, reason, cachedTokens };
  };

  choose.explain = (view, candidates): Score[] => {
    lookAtFleet(view, candidates);
    return candidates.map((candidate) => {
      const cost = evaluate(view, candidate);
      return { id: candidate.id, cost, waitMs, prefillMs, pressureMs, cachedTokens: cached };
    });
  };
  return choose;
}

/** Means of the fleet: R of the cost, requests in flight, and the rate. */
function lookAtFleet(view: RequestView, candidates: readonly Candidate[]): void {
  let decoding = 0;
  let inFlight = 0;
  let known = 0;
  let msPerToken = 0;
  let msPerKnownToken = 0;
  for (const { load } of candidates) {
    decoding += load.decoding(view.nowMs);
    inFlight += load.queued + load.running;
    msPerToken += load.prefillMsPerToken;
    if (!load.rateKnown) continue;
    known++;
    msPerKnownToken += load.prefillMsPerToken;
  }
  meanDecoding = decoding / candidates.length;
  meanInFlight = inFlight / candidates.length;
  meanMsPerToken = known === 0 ? msPerToken / candidates.length : msPerKnownToken / known;
}

/**
 * Requests that a prefill on this endpoint delays: the fleet's mean within a zone around it, since each request that changes
 * places for a little less company leaves its prefix behind; beyond the zone it moves at twice the pace, so that nobody is
 * delayed on an idle endpoint, and twice as many where there are twice as many.
 */
function delayedOn(load: LoadView): number {
  const own = load.queued + load.running;
  const low = meanInFlight * (1 - calm);
  const high = meanInFlight * (1 + calm);
  const beyond = own > high ? own - high : own < low ? own - low : 0;
  return Math.max(0, meanDecoding + beyond / calm);
}

/**
 * Equal engines learn rates that differ by 2 or 3 %. Of a long prompt that is more than all that parts idle endpoints, and
 * the one that seemed fastest got most of the new prompts: max/mean of work was 1.45. And one that nobody has tried yet is
 * not slower than its kind, or it would never be tried: one of eight idle endpoints got everything.
 */
function rateOf({ load }: Candidate): number {
  const own = load.prefillMsPerToken;
  if (!load.rateKnown) return meanMsPerToken;
  return own < meanMsPerToken * equalRates && own * equalRates > meanMsPerToken ? meanMsPerToken : own;
}

/** Where any router looks first for a conversation that it does not know. */
function homeOf(anchor: number, candidates: readonly Candidate[]): number {
  let home = 0;
  let highest = -1;
  for (let i = 0; i < candidates.length; i++) {
    const score = rendezvous(anchor, candidates[i]?.id ?? "");
    if (score > highest) {
      home = i;
      highest = score;
    }
  }
  return home;
}
