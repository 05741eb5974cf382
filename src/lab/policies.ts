// Every policy that the lab can run, by name: the router's own, variants of its cost that show what each part is good for,
// and the baselines.

import { costPolicy, defaultCost, type CostOptions } from "../routing/cost.ts";
import { createPolicy } from "../routing/policies.ts";
import type { Random } from "../engine/core/index.ts";
import { baselineRouter } from "./baseline-router.ts";
import { baselines } from "./baselines/index.ts";
import { policyRouter, type LabPrompt, type PolicyRouterOptions } from "./policy-router.ts";
import type { LabFleet, LabRouter } from "./simulation.ts";

/** `own`: the router has it. `variant`: the cost, with a part changed. `baseline`: what others do. */
export type PolicyKind = "own" | "variant" | "baseline";

/** What a policy decides; the rest is the run's. */
type OwnOptions = Pick<PolicyRouterOptions, "make" | "view" | "waits">;

interface OwnPolicy {
  readonly kind: "own" | "variant";
  readonly of: string;
  readonly options: OwnOptions;
}

const cost = (changed: Partial<CostOptions>): OwnOptions => ({
  make: (cache) => costPolicy(cache, { ...defaultCost, ...changed }),
  view: "approximate",
  waits: true,
});

const named = (
  name: Parameters<typeof createPolicy>[0],
  view: PolicyRouterOptions["view"] = "approximate",
): OwnOptions => ({
  make: (cache) => createPolicy(name, { cache }),
  view,
  waits: true,
});

const own: Readonly<Record<string, OwnPolicy>> = {
  prefixaware: { kind: "own", of: "the default: lowest cost, approximate index", options: named("prefixaware") },
  kvaware: { kind: "own", of: "lowest cost, exact index from KV events", options: named("kvaware", "exact") },
  leastload: { kind: "own", of: "lowest cost without a view of caches", options: named("leastload") },
  session: { kind: "own", of: "rendezvous hash of the session", options: named("session") },
  roundrobin: { kind: "own", of: "next in turn", options: named("roundrobin") },
  random: { kind: "own", of: "each as likely", options: named("random") },
  "cost-at-once": {
    kind: "variant",
    of: "the cost, each request handed over when it comes",
    options: { ...cost({}), waits: false },
  },
  "cost-z0": {
    kind: "variant",
    of: "own first token only: z = 0, handed over at once",
    options: { ...cost({ z: 0 }), waits: false },
  },
};

export const policyNames: readonly string[] = [...Object.keys(own), ...Object.keys(baselines)];

/** What everybody means by `all`: without those that say nothing here. */
export const allPolicies: readonly string[] = policyNames.filter((name) => name !== "session" && name !== "random");

export function policyOf(name: string): { readonly kind: PolicyKind; readonly of: string } | null {
  const mine = own[name];
  if (mine !== undefined) return mine;
  return isBaseline(name) ? { kind: "baseline", of: baselines[name].of } : null;
}

/** One router of a run. @throws when there is no such policy: callers check first */
export function makeRouter(
  name: string,
  fleet: LabFleet,
  prompts: readonly LabPrompt[],
  random: Random,
  run: Pick<PolicyRouterOptions, "scrapeMs" | "othersShare" | "inOrderFromMs">,
): LabRouter {
  const mine = own[name];
  if (mine !== undefined) return policyRouter({ ...mine.options, ...run }, fleet, prompts, random);
  if (isBaseline(name)) return baselineRouter(baselines[name].choose, fleet, random);
  throw new Error(`there is no policy ${name}`);
}

function isBaseline(name: string): name is keyof typeof baselines {
  return Object.hasOwn(baselines, name);
}
