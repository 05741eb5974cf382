// Requests and candidates for tests of policies: a load that is what it is told to be, and random numbers with a seed.
import type { LoadView } from "../../src/routing/load.ts";
import type { Candidate, RequestView } from "../../src/routing/policy.ts";

export interface CandidateFacts {
  readonly id: string;
  readonly queued?: number;
  readonly running?: number;
  readonly weight?: number;
  readonly load?: Partial<LoadView>;
}

/** Each queued request is one of 512 tokens. */
export function candidate({ id, queued = 0, running = 0, weight = 1, load = {} }: CandidateFacts): Candidate {
  return {
    id,
    weight,
    load: {
      queued,
      running,
      queuedTokens: () => queued * 512,
      othersQueuedTokens: () => 0,
      recentTokens: () => (queued + running) * 512,
      recentShare: () => 1,
      decoding: () => running,
      heldTokens: (queued + running) * 512,
      prefillMsPerToken: 0.1,
      stepMs: 25,
      calmStepMs: 25,
      stepTrust: () => 1,
      answerTokens: 256,
      rateKnown: true,
      capacityTokens: 0,
      scraped: null,
      ...load,
    },
  };
}

export function idle(count: number): Candidate[] {
  return Array.from({ length: count }, (_, i) => candidate({ id: `10.0.0.${i + 1}:8000` }));
}

export function request(facts: Partial<RequestView> = {}): RequestView {
  return {
    model: "a",
    sessionKey: null,
    prompt: null,
    promptTokens: 512,
    maxTokens: null,
    priority: 0,
    othersShare: 0,
    mayWait: false,
    nowMs: 0,
    ...facts,
  };
}

/** mulberry32: the same seed, the same sequence. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
