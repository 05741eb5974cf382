// From checked values to what `lmstack lab` and `lmstack bench` are told: lists of numbers, and what can't be asked together.
// Pure.

import type { OptionName } from "./catalogue/index.ts";
import type { Problem } from "./problem.ts";
import type { Resolved } from "./resolve.ts";
import type { BenchOptions, LabOptions, WorkloadOptions } from "./types.ts";

export function labOptions(resolved: Resolved): {
  readonly options: LabOptions;
  readonly problems: readonly Problem[];
} {
  const { values: v } = resolved;
  const { options, problems } = workloadOptions(resolved);
  const find = "the rate is what --find-capacity looks for";
  problems.push(...together(resolved, "find-engines", "find-capacity", "--find-capacity looks for something else"));
  problems.push(
    ...together(resolved, "rate", "find-capacity", find),
    ...together(resolved, "rps", "find-capacity", find),
  );
  for (const name of ["find-capacity", "find-engines"] as const) {
    problems.push(...together(resolved, "compare-waits", name, `--${name} makes another table`));
  }
  return {
    options: {
      ...options,
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
      compareWaits: v["compare-waits"],
    },
    problems,
  };
}

export function benchOptions(resolved: Resolved): {
  readonly options: BenchOptions;
  readonly problems: readonly Problem[];
} {
  const { values: v, origins } = resolved;
  const { options, problems } = workloadOptions(resolved);
  for (const name of ["rate", "rps"] as const) {
    const origin = origins.get(name);
    if (origin === undefined || v[name].length === 1) continue;
    problems.push({ origin, value: v[name].join(","), reason: "one run at a time", fix: "give one number" });
  }
  for (const name of ["rate", "rps"] as const) {
    problems.push(...together(resolved, name, "concurrency", "--concurrency sends without arrival times"));
  }
  return {
    options: {
      ...options,
      url: v.url,
      model: v.model[0] ?? null,
      apiKey: v["api-key"][0] ?? null,
      api: v.api,
      ignoreEos: v["ignore-eos"],
      warmup: v.warmup,
      concurrency: v.concurrency,
      timeoutMs: v.timeout * 1000,
      maxLagMs: v["max-lag"] * 1000,
    },
    problems,
  };
}

function workloadOptions(resolved: Resolved): { readonly options: WorkloadOptions; readonly problems: Problem[] } {
  const { values: v } = resolved;
  const problems: Problem[] = [
    ...together(resolved, "rps", "rate", "--rate says how fast already"),
    ...together(resolved, "workload", "trace", "--trace says what to send already"),
  ];
  const options: WorkloadOptions = {
    trace: v.trace,
    workload: v.workload,
    requests: v.requests,
    rates: positiveNumbers(resolved, "rate", problems),
    rps: positiveNumbers(resolved, "rps", problems),
    seed: v.seed,
    json: v.json,
    html: v.html,
  };
  return { options, problems };
}

/** What two options say of each other when both are given. */
function together({ origins, values }: Resolved, name: OptionName, other: OptionName, reason: string): Problem[] {
  const origin = origins.get(name);
  if (origin === undefined || !origins.has(other) || values[other] === false) return [];
  return [{ origin, value: null, reason, fix: "give one of them" }];
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
