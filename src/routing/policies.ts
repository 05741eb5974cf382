// The policies by name.
import { costPolicy } from "./cost.ts";
import type { Policy, PolicyParts } from "./policy.ts";
import { roundRobin } from "./roundrobin.ts";
import { session } from "./session.ts";

/** Each as likely as its weight says. */
function randomChoice(): Policy {
  return (_view, candidates, random) => {
    let total = 0;
    for (const candidate of candidates) total += candidate.weight;
    let rest = random() * total;
    let index = 0;
    while (index < candidates.length - 1 && rest >= (candidates[index]?.weight ?? 0))
      rest -= candidates[index++]?.weight ?? 0;
    return { index, reason: "random", cachedTokens: 0 };
  };
}

const factories = {
  roundrobin: roundRobin,
  random: randomChoice,
  leastload: () => costPolicy(null),
  session,
  prefixaware: ({ cache }: PolicyParts) => costPolicy(cache),
  kvaware: ({ cache }: PolicyParts) => costPolicy(cache),
} as const satisfies Record<string, (parts: PolicyParts) => Policy>;

const noParts: PolicyParts = { cache: { complete: false, match: () => 0 } };

/** A policy with a state of its own. */
export function createPolicy(name: keyof typeof factories, parts: PolicyParts = noParts): Policy {
  return factories[name](parts);
}
