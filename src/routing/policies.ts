// The policies by name.
import { smallest, weightedLoad, type Candidate, type Policy } from "./policy.ts";
import { roundRobin } from "./roundrobin.ts";
import { session } from "./session.ts";

/** Fewest requests in flight; ties at random. */
export function leastLoad(): Policy {
  return (_view, candidates, random) => ({
    index: smallest(candidates.length, (i) => loadOf(candidates[i]), random),
    reason: "least_load",
  });
}

function loadOf(candidate: Candidate | undefined): number {
  return candidate === undefined ? Number.POSITIVE_INFINITY : weightedLoad(candidate);
}

export function randomChoice(): Policy {
  return (_view, candidates, random) => ({
    index: Math.min(candidates.length - 1, Math.floor(random() * candidates.length)),
    reason: "random",
  });
}

const factories = {
  roundrobin: roundRobin,
  random: randomChoice,
  leastload: leastLoad,
  session,
} as const;

/** A policy with a state of its own. */
export function createPolicy(name: keyof typeof factories): Policy {
  return factories[name]();
}
