// `lmstack lab`: reads the workload, runs every policy at every rate in virtual time, and says what came out: a table on
// standard output, JSON and a page where they are asked for. Wires the parts together; it holds no logic of its own.

import { availableParallelism } from "node:os";
import { loadWorkload } from "../bench/workload/source.ts";
import type { Workload } from "../bench/workload/workload.ts";
import { systemClock } from "../clock.ts";
import type { LabOptions } from "../config/types.ts";
import { UsageError } from "../errors/usage-error.ts";
import { findEngines, findRate, type Capacity } from "../lab/capacity.ts";
import { parseObjectives } from "../lab/objective.ts";
import { allPolicies, policyNames, policyOf } from "../lab/policies.ts";
import { LabPool, type PoolProgress } from "../lab/pool.ts";
import { capacityTable, labPage, labTable, waitTable } from "../lab/report.ts";
import type { LabJob, LabRun, LabSetup } from "../lab/run.ts";
import { readPreset } from "./preset.ts";
import { progressBar } from "./progress-bar.ts";
import { aboutWorkload, workloadRates, workloadSource, writeResult } from "./workload.ts";

const defaultRequests = 2000;
const mostThreads = 8;

/** @returns exit code. @throws UsageError for what can't be run */
export async function runLab(options: LabOptions): Promise<number> {
  const policies = policiesOf(options.policies);
  const objectives = parseObjectives(options.slo);
  const setup: LabSetup = {
    source: workloadSource(options, defaultRequests),
    preset: readPreset(options.preset),
    seed: options.seed,
    maxNumSeqs: options.maxNumSeqs,
    maxNumBatchedTokens: options.maxNumBatchedTokens,
    routers: options.routers,
    scrapeMs: options.scrapeMs,
    compareWaits: options.compareWaits,
  };
  const workload = loadWorkload(setup.source);
  const rates = workloadRates(options, workload);
  const { engines, routers } = options;
  const about = [
    ...aboutWorkload(workload),
    `${engines} engines of ${options.preset}, ${routers} ${routers === 1 ? "router" : "routers"}, seed ${options.seed}`,
  ];
  for (const line of about) process.stderr.write(`${line}\n`);

  const pool = new LabPool(setup, options.jobs ?? Math.min(availableParallelism(), mostThreads));
  const { stderr } = process;
  const bar = progressBar(
    { isTTY: stderr.isTTY, columns: stderr.columns ?? 80, write: (text) => stderr.write(text) },
    () => systemClock.nowMs(),
  );
  let runs: LabRun[] = [];
  let capacities: Capacity[] = [];
  try {
    const jobs = rates.flatMap((rate) =>
      policies.map((policy): LabJob => ({ policy, rate, engines: options.engines })),
    );
    if (options.find === null) {
      const progress = follow(jobs.length, (share, text) => bar.update(share, text));
      runs = await Promise.all(jobs.map((job) => pool.run(job, progress)));
    } else {
      const searches = options.find === "rate" ? policies.length : jobs.length;
      let found = 0;
      const step = async (search: Promise<Capacity>): Promise<Capacity> => {
        const capacity = await search;
        bar.update(++found / searches, `${capacity.policy}: ${capacity.rps} req/s`);
        return capacity;
      };
      capacities = await Promise.all(
        options.find === "rate"
          ? policies.map((policy) => step(findRate(pool, policy, options.engines, objectives)))
          : jobs.map(({ policy, rate }) => step(findEngines(pool, policy, rate, objectives))),
      );
    }
  } finally {
    bar.end();
    await pool.close();
  }
  const results = runs.map(({ result }) => result);
  const lines = options.find === null ? [...labTable(results), ...waitTable(results)] : capacityTable(capacities);
  process.stdout.write(`${lines.join("\n")}\n`);
  if (options.json !== null) writeResult("--json", options.json, jsonText(options, workload, runs, capacities));
  if (options.html !== null) writeResult("--html", options.html, labPage(about, runs, capacities));
  return 0;
}

function policiesOf(names: readonly string[]): string[] {
  const found = names.flatMap((name) => {
    if (name === "all") return allPolicies;
    if (name === "own" || name === "baselines") {
      const kind = name === "own" ? "own" : "baseline";
      return allPolicies.filter((policy) => policyOf(policy)?.kind === kind);
    }
    if (policyOf(name) !== null) return [name];
    throw new UsageError(
      `--policy ${name}: there is no such policy; give some of all, own, baselines, ${policyNames.join(", ")}`,
    );
  });
  return [...new Set(found)];
}

/** One bar for all runs. */
function follow(count: number, update: (share: number, text: string) => void): PoolProgress {
  const shares = new Map<LabJob, number>();
  let ended = 0;
  const show = ({ policy, rate }: LabJob): void => {
    let sum = ended;
    for (const share of shares.values()) sum += share;
    update(sum / count, `${policy} at rate ${Number(rate.toPrecision(3))}, ${ended} of ${count} runs done`);
  };
  return {
    moved(job, share) {
      shares.set(job, share);
      show(job);
    },
    done(job) {
      shares.delete(job);
      ended++;
      show(job);
    },
  };
}

/** Without times of day and durations of the machine: the same input gives the same bytes. */
function jsonText(
  options: LabOptions,
  { name, requests, notes }: Workload,
  runs: readonly LabRun[],
  capacities: readonly Capacity[],
): string {
  const report = {
    kind: "lmstack lab",
    workload: { name, requests: requests.length, notes },
    fleet: { engines: options.engines, preset: options.preset, routers: options.routers },
    seed: options.seed,
    results: runs.map(({ result }) => result),
    ...(options.find === null ? {} : { capacities }),
  };
  return `${JSON.stringify(report, null, 2)}\n`;
}
