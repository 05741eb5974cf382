// The cost of a choice, in milliseconds, so that nobody has to tune ratios: how long until the endpoint gets to the request,
// what computing the uncached part of its prompt costs it and everybody who runs there, and what running out of KV blocks
// would cost. `leastload`, `prefixaware` and `kvaware` are this one function with different views of the caches.
//
//   cost(e) = wait(e) + prefill(u) * (1 + z * R) + move(e) + even(e) + decode(e) + slow(e) + pressure(e)
//
// u: prompt tokens that e has not cached. R: requests that generate on an endpoint, in the mean of the fleet. The factor is the
// point: a token that is prefilled delays every request that runs there, so computing what another engine holds costs everyone,
// and the busier the fleet, the more. Where an endpoint has far more or far fewer requests than the mean, its own count takes
// over: a prefix that all share is computed on the idle ones too, and does not stay with the few that had it first. move and
// even are about conversations: one that is under way costs more to move than this turn's prefill, and one that begins will
// stay where it begins, with all of its turns, each of which delays those who run there. slow is the rest of the answer on an
// endpoint that is far from the fleet's pace. Pure; it is called for each request and keeps nothing between two calls.
import type { Prompt } from "../cache/prompt.ts";
import type { CacheView } from "../cache/view.ts";
import { rendezvous } from "./rendezvous.ts";
import type { LoadView } from "./load.ts";
import type { Candidate, ChoiceReason, Decision, Policy, RequestView, Score } from "./policy.ts";

export interface CostOptions {
  /** How much of the delay of others counts. 0 = each request minimises its own first token. */
  readonly z: number;
  /**
   * How much it costs to store once more what another endpoint holds of a conversation, as a share of its prefill: it throws out
   * as much of others. A prefix that many share is not meant: copies of it are used again.
   */
  readonly move: number;
  /**
   * How much a request that belongs to no conversation under way prefers endpoints that have had less to do lately, as a share of its prefill: it will stay
   * where it begins, so chance adds up.
   */
  readonly even: number;
  /** As much on top of it as the fleet is busy: on idle endpoints a system prompt that is stored once more costs more than unevenness. */
  readonly evenBusy: number;
  /** Of what is new in a further turn of a conversation, this share is the answer of the turn before. */
  readonly answered: number;
  /** So far below its part of the work, as a share of it, an endpoint is preferred; more is no reason to fill it up at once. */
  readonly behind: number;
  /** Share of a step that a request which runs there already costs: what parts endpoints with equal queues. */
  readonly decode: number;
  /** The same of there being any: the step that is under way has to end first, while an idle endpoint begins at once. */
  readonly underWay: number;
  /** Share of the KV cache from which on pressure is felt. */
  readonly pressureFrom: number;
  /** Steps that it costs when the cache is just full. */
  readonly pressureSteps: number;
  /** A request is handed over only to an endpoint with fewer tokens queued; else it waits in the router. Infinity = never. */
  readonly handOverTokens: number;
  /**
   * Where other routers send requests to the same endpoints, and nobody is known to hold a conversation: how much dearer its
   * home may be, as a share of the prefill of what nobody holds and of how much they send, since they will look for it there.
   * Alone the home only breaks ties.
   */
  readonly home: number;
  /** The same, as a share of the whole prompt's prefill, of a conversation that some other router must have begun. */
  readonly homeOfContinued: number;
}

export const defaultCost: CostOptions = {
  z: 0.6,
  move: 1,
  even: 0.7,
  evenBusy: 1,
  answered: 0.5,
  behind: 0.5,
  decode: 0.02,
  underWay: 0.5,
  pressureFrom: 0.9,
  pressureSteps: 40,
  handOverTokens: 8192,
  home: 12,
  homeOfContinued: 3,
};

const answerTokens = 256;
/** A prompt of any length is worth so much evenness at most. */
const evenTokens = 8192;
/** With no more that generate on an endpoint the fleet counts as idle; half busy it is with six. */
const idleDecoding = 1.5;
const halfBusyDecoding = 3;
/** Differences of so many tokens are chance. */
const fewTokens = 2048;
/** So far from the mean, as a share of it, an endpoint's own number of requests does not count. */
const calm = 0.5;
/** Learnt rates that are closer to the fleet's mean, as a ratio, are taken for it: the rest is chance. */
const equalRates = 1.15;
/** The same of the time between two tokens, which on equal engines differs by what they have to do just now. */
const equalSteps = 3;

// of the present call; a module's variables are cheaper than an object for each candidate
let waitMs = 0;
let prefillMs = 0;
let pressureMs = 0;
let meanDecoding = 0;
let meanInFlight = 0;
let meanMsPerToken = 0;
let meanRecent = 0;
let meanRecentShare = 0;
/** 0 = unknown. */
let fleetStepMs = 0;
/** `options.even` where it counts: a new conversation; else 0. */
let even = 0;

/** @param reason of a choice that no prefix had a part in */
export function costPolicy(cache: CacheView | null, options: CostOptions = defaultCost): Policy {
  /** Of the present call, by place. */
  let costs = new Float64Array(64);
  let hits = new Float64Array(64);
  /** Of a conversation under way, what its endpoint is believed to hold; 0 = it is none. */
  let moves = 0;

  function cachedOn(view: RequestView, id: string): number {
    if (view.prompt === null || cache === null) return 0;
    return Math.max(0, Math.min(cache.match(id, view.prompt), view.promptTokens - 1));
  }

  /** @param at place of the candidate, @param longest what the best one has of the prompt */
  function evaluate(view: RequestView, candidate: Candidate, at: number, longest: number): number {
    const cached = moves > 0 && hits[at] === longest ? moves : (hits[at] ?? 0);
    const { load } = candidate;
    const { promptTokens, nowMs } = view;
    const perToken = rateOf(candidate);
    waitMs = (load.queuedTokens(nowMs) + load.othersQueuedTokens(nowMs)) * perToken;
    prefillMs = (promptTokens - cached) * perToken;
    pressureMs = pressure(view, candidate, promptTokens - cached);
    const inFlight = load.queued + load.running;
    const decodeMs = load.stepMs * (options.decode * inFlight + (inFlight > 0 ? options.underWay : 0));
    const moveMs = moves > cached ? options.move * (moves - cached) * perToken * (1 + options.z * meanDecoding) : 0;
    const evenMs =
      even > 0 && view.prompt !== null
        ? even *
          Math.min(promptTokens, evenTokens) *
          perToken *
          (1 + options.z * meanDecoding) *
          Math.max(0, options.behind + unevenness(load, nowMs))
        : 0;
    const slowMs = slowness(view, load);
    const sum =
      waitMs + prefillMs * (1 + options.z * delayedOn(load)) + moveMs + evenMs + decodeMs + slowMs + pressureMs;
    return sum / candidate.weight;
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

  /**
   * Of a conversation under way its endpoint holds more than it was sent: what it answered, and what other routers have sent
   * it, most likely to where this one has sent its own.
   */
  function believed(view: RequestView, longest: number): number {
    const share = cache === null || cache.complete ? 0 : Math.max(options.answered, view.othersShare);
    return longest + share * (view.promptTokens - 1 - longest);
  }

  /** What all candidates are measured by. @returns the most that one has of the prompt */
  function prepare(view: RequestView, candidates: readonly Candidate[]): number {
    lookAtFleet(view, candidates);
    const longest = lookUp(view, candidates);
    const own = isOwn(view, longest);
    moves = own ? believed(view, longest) : 0;
    even = own ? 0 : options.even + options.evenBusy * busyness();
    return longest;
  }

  /** What each has of the prompt -> `hits`. @returns the most that one has */
  function lookUp(view: RequestView, candidates: readonly Candidate[]): number {
    const count = candidates.length;
    if (costs.length < count) {
      costs = new Float64Array(count * 2);
      hits = new Float64Array(count * 2);
    }
    let longest = 0;
    for (let i = 0; i < count; i++) {
      const held = cachedOn(view, candidates[i]?.id ?? "");
      hits[i] = held;
      if (held > longest) longest = held;
    }
    return longest;
  }

  const choose: Policy = (view, candidates, random): Decision => {
    const count = candidates.length;
    let best = 0;
    let bestCost = Number.POSITIVE_INFINITY;
    let ties = 1;
    const longest = prepare(view, candidates);
    for (let i = 0; i < count; i++) {
      const candidate = candidates[i];
      if (candidate === undefined) continue;
      const cost = evaluate(view, candidate, i, longest);
      costs[i] = cost;
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
      if (isNew(view, longest)) {
        const home = homeOf(prompt.anchor, candidates);
        const chosen = candidates[home];
        if (chosen !== undefined) {
          // who sees what all have sent needs no agreement
          const othersShare = cache.complete ? 0 : view.othersShare;
          // one that is under way can only have been begun by another router
          const begun = prompt.continued && othersShare > 0;
          const tokens = begun
            ? options.homeOfContinued * (1 + options.z * meanDecoding) * view.promptTokens
            : options.home * othersShare * (view.promptTokens - longest);
          const grace = (tokens * rateOf(chosen)) / chosen.weight;
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
    const longest = prepare(view, candidates);
    return candidates.map((candidate, i) => {
      const cost = evaluate(view, candidate, i, longest);
      return { id: candidate.id, cost, waitMs, prefillMs, pressureMs, cachedTokens: hits[i] ?? 0 };
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
  let recent = 0;
  let recentShare = 0;
  let trust = 0;
  let perMs = 0;
  for (const { load } of candidates) {
    decoding += load.decoding(view.nowMs);
    inFlight += load.queued + load.running;
    msPerToken += load.prefillMsPerToken;
    if (view.prompt !== null) {
      recent += load.recentTokens(view.nowMs);
      recentShare += load.recentShare(view.nowMs);
    }
    const trusted = load.stepTrust(view.nowMs);
    if (trusted > 0) {
      trust += trusted;
      perMs += trusted / load.calmStepMs;
    }
    if (!load.rateKnown) continue;
    known++;
    msPerKnownToken += load.prefillMsPerToken;
  }
  meanDecoding = decoding / candidates.length;
  meanRecent = recent / candidates.length;
  meanRecentShare = recentShare / candidates.length;
  meanInFlight = inFlight / candidates.length;
  // the mean of the paces: a single one that is very slow hardly changes it
  fleetStepMs = trust === 0 ? 0 : trust / perMs;
  meanMsPerToken = known === 0 ? msPerToken / candidates.length : msPerKnownToken / known;
}

/** How busy the fleet is, by the requests that generate on an endpoint: 0 = it is as good as idle, to 1. */
function busyness(): number {
  return Math.max(0, meanDecoding - idleDecoding) / (meanDecoding + halfBusyDecoding);
}

/**
 * How far an endpoint's work of the last minutes is from its part of the fleet's, as a share of that. One that came later has
 * a smaller part: it is not to make up for what was before it.
 */
function unevenness(load: LoadView, nowMs: number): number {
  const part = meanRecentShare > 0 ? load.recentShare(nowMs) / meanRecentShare : 1;
  return (load.recentTokens(nowMs) - part * meanRecent) / (meanRecent + fewTokens);
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
 * What the answer takes longer here than in the fleet's mean. An endpoint at a tenth of the others' pace is idle whenever one
 * looks, and so it got its eighth of the requests.
 */
function slowness(view: RequestView, load: LoadView): number {
  const own = load.calmStepMs;
  if (fleetStepMs === 0 || own === 0) return 0;
  const beyond =
    own > fleetStepMs * equalSteps
      ? own - fleetStepMs * equalSteps
      : own * equalSteps < fleetStepMs
        ? own - fleetStepMs / equalSteps
        : 0;
  if (beyond === 0) return 0;
  return load.stepTrust(view.nowMs) * beyond * Math.min(view.maxTokens ?? load.answerTokens, load.answerTokens);
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

/** Whether what is cached reaches beyond what names the conversation, so that it is this conversation's and not shared by many. */
function isKnown(prompt: Prompt, cachedTokens: number): boolean {
  return cachedTokens > 0 && cachedTokens * prompt.perToken >= prompt.ownFrom;
}

/** A further turn of a conversation that an endpoint holds. */
function isOwn({ prompt }: RequestView, longest: number): boolean {
  return prompt !== null && prompt.continued && prompt.anchor !== 0 && isKnown(prompt, longest);
}

/** A conversation that nobody is known to hold. */
function isNew({ prompt }: RequestView, longest: number): boolean {
  return prompt !== null && prompt.anchor !== 0 && !isKnown(prompt, longest);
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
