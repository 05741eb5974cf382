// What every policy is: a function of the request and the candidates, with time and randomness as arguments. No I/O, no clock.
// It gets only candidates that may be used, and must choose one whenever there is one, or say that the request had better
// wait, where that is allowed.
import type { Prompt } from "../cache/prompt.ts";
import type { CacheView } from "../cache/view.ts";
import type { LoadView } from "./load.ts";

export interface RequestView {
  readonly model: string;
  /** null = the request names no session. */
  readonly sessionKey: string | null;
  /** null = it has none, or one that is too short to be worth a look. */
  readonly prompt: Prompt | null;
  /** Tokens of the prompt, as far as can be told; at least 1. */
  readonly promptTokens: number;
  /** Tokens that the answer may have at most; null = it does not say. */
  readonly maxTokens: number | null;
  /** As vLLM's: lower goes first. */
  readonly priority: number;
  /** Share of the endpoints' work that other routers send them, 0 to 1; 0 = this one is alone. */
  readonly othersShare: number;
  /** `wait` is an answer. */
  readonly mayWait: boolean;
  readonly nowMs: number;
}

/** An endpoint that may be chosen, as far as policies may know it. */
export interface Candidate {
  readonly id: string;
  /** Share of its normal traffic, 0.1 to 1: below 1 after it has come back. */
  readonly weight: number;
  readonly load: LoadView;
}

export const choiceReasons = [
  "only_candidate",
  "round_robin",
  "random",
  "least_load",
  "session",
  "session_overflow",
  "no_session_least_load",
  "prefix_hit",
  "prefix_elsewhere",
  "prefix_home",
  "prefix_none",
  "response_affinity",
] as const;
/** Why an endpoint was chosen. Closed: it is a metric label. */
export type ChoiceReason = (typeof choiceReasons)[number];

export const waitReasons = ["endpoints_full"] as const;
/** Why a request waits in the router. */
export type WaitReason = (typeof waitReasons)[number];

/** How one candidate looked to the policy; times in milliseconds. */
export interface Score {
  readonly id: string;
  readonly cost: number;
  readonly waitMs: number;
  readonly prefillMs: number;
  readonly pressureMs: number;
  readonly cachedTokens: number;
}

export interface Choice {
  /** Place in the candidates. */
  readonly index: number;
  readonly reason: ChoiceReason;
  /** Prompt tokens that the chosen endpoint has cached, as far as the policy looked; 0 = none. */
  readonly cachedTokens: number;
}

export interface Wait {
  readonly wait: true;
  readonly reason: WaitReason;
  /** Where it would have gone, and what it would have computed there. */
  readonly index: number;
  readonly cachedTokens: number;
}

export type Decision = Choice | Wait;

export function isWait(decision: Decision): decision is Wait {
  return "wait" in decision;
}

/** @param candidates at least one */
export interface Policy {
  (view: RequestView, candidates: readonly Candidate[], random: () => number): Decision;
  /** The scores behind a choice, for people: `choose` itself keeps none. Absent = the policy has none. */
  explain?(view: RequestView, candidates: readonly Candidate[]): Score[];
}

/** What a policy is built with. */
export interface PolicyParts {
  /** Which endpoint holds which prefix. */
  readonly cache: CacheView;
}

/** Place of the smallest value; among equals at random, so that no endpoint is favoured for its name. */
export function smallest(count: number, value: (index: number) => number, random: () => number): number {
  let best = 0;
  let bestValue = value(0);
  let ties = 1;
  for (let i = 1; i < count; i++) {
    const current = value(i);
    if (current < bestValue) {
      best = i;
      bestValue = current;
      ties = 1;
    } else if (current === bestValue && random() * ++ties < 1) best = i;
  }
  return best;
}
