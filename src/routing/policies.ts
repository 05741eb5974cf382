// The policies by name.
import { smallest, weightedLoad, type Candidate, type Policy } from "./policy.ts";
import { roundRobin } from "./roundrobin.ts";
import { session } from "./session.ts";

/** Fewest requests in flight; ties at random. */
function leastLoad(): Policy {
  return (_view, candidates, random) => ({
    index: smallest(candidates.length, (i) => loadOf(candidates[i]), random),
    reason: "least_load",
  });
}

function loadOf(candidate: Candidate | undefined): number {
  return candidate === undefined ? Number.POSITIVE_INFINITY : weightedLoad(candidate);
}

/** Each as likely as its weight says. */
function randomChoice(): Policy {
  return (_view, candidates, random) => {
    let total = 0;
    for (const candidate of candidates) total += candidate.weight;
    let rest = random() * total;
    let index = 0;
    while (index < candidates.length - 1 && rest >= (candidates[index]?.weight ?? 0))
      rest -= candidates[index++]?.weight ?? 0;
    return { index, reason: "random" };
  };
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
