// From checked values to what `lmstack lab` is told: lists of numbers, and what can't be asked together. Pure.

import type { OptionName } from "./catalogue/index.ts";
import type { Problem } from "./problem.ts";
import type { Resolved } from "./resolve.ts";
import type { LabOptions } from "./types.ts";

export function labOptions(resolved: Resolved): {
  readonly options: LabOptions;
  readonly problems: readonly Problem[];
} {
  const { values: v, origins } = resolved;
  const problems: Problem[] = [];
  const said = (name: OptionName, other: OptionName, reason: string, fix: string): void => {
    const origin = origins.get(name);
    if (origin !== undefined && origins.has(other)) problems.push({ origin, value: null, reason, fix });
  };
  said("rps", "rate", "--rate says how fast already", "give one of them");
  said("workload", "trace", "--trace says what to send already", "give one of them");
  said("find-engines", "find-capacity", "--find-capacity looks for something else", "give one of them");
  if (v["find-capacity"]) {
    said("rate", "find-capacity", "the rate is what --find-capacity looks for", "leave --rate out");
    said("rps", "find-capacity", "the rate is what --find-capacity looks for", "leave --rps out");
  }
  const options: LabOptions = {
    trace: v.trace,
    workload: v.workload,
    requests: v.requests,
    rates: positiveNumbers(resolved, "rate", problems),
    rps: positiveNumbers(resolved, "rps", problems),
    seed: v.seed,
    json: v.json,
    html: v.html,
    policies: v.policy,
    engines: v.engines,
    preset: v.preset,
    maxNumSeqs: v["max-num-seqs"],
    maxNumBatchedTokens: v["max-num-batched-tokens"],
    routers: v.routers,
    scrapeMs: v["scrape-interval"] * 1000,
    jobs: v.jobs,
    find: v["find-capacity"] ? "rate" : v["find-engines"] ? "engines" : null,
    slo: v.slo,
  };
  return { options, problems };
}

function positiveNumbers({ values, origins }: Resolved, name: "rate" | "rps", problems: Problem[]): number[] {
  return values[name].map((text) => {
    const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
    if (number <= 0) {
      const origin = origins.get(name) ?? { name: `--${name}` };
      problems.push({
        origin,
        value: text,
        reason: "not a number above 0",
        fix: "give numbers with commas between them",
      });
    }
    return number;
  });
}
