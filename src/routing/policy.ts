// What every policy is: a function of the request and the candidates, with randomness as an argument. No I/O, no clock. It
// gets only candidates that may be used, and must choose one whenever there is one.

export interface RequestView {
  readonly model: string;
  /** null = the request names no session. */
  readonly sessionKey: string | null;
}

/** An endpoint that may be chosen, as far as policies may know it. */
export interface Candidate {
  readonly id: string;
  /** Requests on it whose first token has not come. */
  readonly queued: number;
  /** Requests on it past their first token. */
  readonly running: number;
  /** Share of its normal traffic, 0.1 to 1: below 1 after it has come back. */
  readonly weight: number;
}

export const choiceReasons = [
  "only_candidate",
  "round_robin",
  "random",
  "least_load",
  "session",
  "session_overflow",
  "no_session_least_load",
  "response_affinity",
] as const;
/** Why an endpoint was chosen. Closed: it is a metric label. */
export type ChoiceReason = (typeof choiceReasons)[number];

export interface Choice {
  /** Place in the candidates. */
  readonly index: number;
  readonly reason: ChoiceReason;
}

/** @param candidates at least one */
export type Policy = (view: RequestView, candidates: readonly Candidate[], random: () => number) => Choice;

/** In flight, scaled up where the endpoint should get less than its share. */
export function weightedLoad(candidate: Candidate): number {
  return (candidate.queued + candidate.running + (1 - candidate.weight)) / candidate.weight;
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
