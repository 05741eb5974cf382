// One cell of the table: a policy at a rate. Prepares a workload once, runs it as often as asked, and makes figures of what
// was measured. Equal input gives equal output, to the last digit.

import type { WorkloadSource } from "../bench/workload/source.ts";
import { atRate, meanRps, type Workload } from "../bench/workload/workload.ts";
import { GapCounter, largest, mean, quantile } from "../bench/statistics.ts";
import { Random, type Preset } from "../engine/core/index.ts";
import { makeRouter, policyOf, type PolicyKind } from "./policies.ts";
import type { LabPrompt } from "./policy-router.ts";
import { PrefixTree, type BlockNames } from "./prefix-tree.ts";
import { promptsOf } from "./prompts.ts";
import { replicatedRouter } from "./replicated-router.ts";
import { engineBlockTokens, simulate, type LoadSample, type RunHooks, type RunOutput } from "./simulation.ts";
import { compareWaits, longWaits, type ComparedWait, type WaitComparison } from "./waits.ts";

/** What all runs of one command share. */
export interface LabSetup {
  readonly source: WorkloadSource;
  readonly preset: Preset;
  readonly seed: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly routers: number;
  readonly scrapeMs: number;
  /** Run again in order of arrival. */
  readonly compareWaits?: boolean;
}

/** One run. */
export interface LabJob {
  readonly policy: string;
  /** Factor on the workload's arrivals. */
  readonly rate: number;
  readonly engines: number;
}

/** One row of the JSON: seconds and milliseconds as the names say, rounded to what means something. */
export interface LabResult {
  readonly policy: string;
  readonly kind: PolicyKind;
  readonly rate: number;
  /** Mean arrivals a second. */
  readonly rps: number;
  readonly engines: number;
  readonly requests: number;
  readonly ttftMeanS: number;
  readonly ttftP50S: number;
  readonly ttftP90S: number;
  readonly ttftP99S: number;
  readonly ttftMaxS: number;
  readonly itlP50Ms: number;
  readonly itlP99Ms: number;
  readonly e2eMeanS: number;
  readonly e2eP99S: number;
  /** Prompt tokens that were found in a cache, of all. */
  readonly hitRate: number;
  /** Max/mean over engines of prompt tokens that were not. */
  readonly imbalance: number;
  /** In the router, before it was handed over. */
  readonly waitMaxS: number;
  readonly waitedShare: number;
  readonly preemptions: number;
  /** Requests that are longer than an engine's cache. */
  readonly refused: number;
  readonly outputTokensPerS: number;
  /** Absent = nobody asked for it, or the policy has no queue. */
  readonly waits?: WaitComparison;
}

export interface LabRun {
  readonly result: LabResult;
  readonly samples: readonly LoadSample[];
}

export interface PreparedWorkload {
  readonly workload: Workload;
  readonly names: BlockNames;
  readonly prompts: readonly LabPrompt[];
}

export function prepare(workload: Workload): PreparedWorkload {
  const tree = new PrefixTree(workload);
  return { workload, names: tree.blocksOf(engineBlockTokens), prompts: promptsOf(workload, tree) };
}

export function runJob(
  { workload, names, prompts }: PreparedWorkload,
  setup: LabSetup,
  job: LabJob,
  progress: (share: number) => void = () => undefined,
): LabRun {
  const asked = atRate(workload, job.rate);
  const gaps = new GapCounter();
  const fleet = { ...setup, engines: job.engines };
  const run = (hooks: RunHooks, inOrderFromMs: number): RunOutput =>
    simulate(
      asked,
      names,
      fleet,
      (lab) =>
        replicatedRouter(setup.routers, lab, new Random(setup.seed), (random) =>
          makeRouter(job.policy, lab, prompts, random, {
            scrapeMs: setup.scrapeMs,
            othersShare: 1 - 1 / setup.routers,
            inOrderFromMs,
          }),
        ),
      hooks,
    );
  const compared = setup.compareWaits === true && policyOf(job.policy)?.kind !== "baseline";
  const part = compared ? firstRunsPart : 1;
  const leastMs = new Float64Array(asked.requests.length);
  const least = leastTimes(asked, setup.preset, leastMs);
  const output = run(
    {
      gap: (ms) => gaps.add(ms),
      progress: (share) => progress(share * part),
      ...(compared ? { arriving: least } : {}),
    },
    Number.POSITIVE_INFINITY,
  );
  const result = resultOf(asked, job, output, gaps);
  if (!compared) return { result, samples: output.samples };
  const waits = compareWith(asked, output, leastMs, run, (share) => progress(part + share * (1 - part)));
  return { result: { ...result, waits }, samples: output.samples };
}

/** Of a job in which waits are compared, as its progress shows it. */
const firstRunsPart = 0.2;

/** Notes for each request what its first token takes at least: computing what no engine has of its prompt when it comes. */
function leastTimes({ requests }: Workload, preset: Preset, leastMs: Float64Array): NonNullable<RunHooks["arriving"]> {
  return (request, lab) => {
    let held = 0;
    for (const engine of lab.engines.keys()) held = Math.max(held, lab.cachedTokens(request, engine));
    leastMs[request] = (((requests[request]?.promptTokens ?? 0) - held) * preset.b1Us) / 1000;
  };
}

/**
 * Sets waits beside those in order of arrival: those in the router beside a whole run; and until its first token, for each
 * request that may have been treated unfairly, beside a run that is the same until it comes, and in order from there on. With
 * two whole runs what differs for one request is where prompts went by chance long before it: two runs in order of arrival,
 * arrivals 0.001 % apart, differ as much.
 */
function compareWith(
  workload: Workload,
  output: RunOutput,
  leastMs: ArrayLike<number>,
  run: (hooks: RunHooks, inOrderFromMs: number) => RunOutput,
  progress: (share: number) => void,
): WaitComparison {
  const inOrder = waitsOf(workload, run({}, 0));
  const first = firstTokensOf(workload, output);
  const long = longWaits(first, leastMs);
  const compared = long.map((at, done): ComparedWait => {
    progress(done / long.length);
    const then = run({ until: at }, workload.requests[at]?.arrivalMs ?? 0);
    return { waitMs: first[at] ?? 0, inOrderMs: firstTokensOf(workload, then)[at] ?? 0 };
  });
  return compareWaits(waitsOf(workload, output), inOrder, compared);
}

function resultOf(workload: Workload, job: LabJob, output: RunOutput, gaps: GapCounter): LabResult {
  const { requests } = workload;
  const { traces } = output;
  const ttft: number[] = [];
  const endToEnd: number[] = [];
  const waits = waitsOf(workload, output);
  const work = Array.from({ length: job.engines }, () => 0);
  let promptTokens = 0;
  let cachedTokens = 0;
  let answerTokens = 0;
  for (const [at, request] of requests.entries()) {
    const firstMs = traces.firstMs[at] ?? Number.NaN;
    if (Number.isNaN(firstMs)) continue;
    ttft.push(firstMs - request.arrivalMs);
    endToEnd.push((traces.doneMs[at] ?? 0) - request.arrivalMs);
    const cached = traces.cachedTokens[at] ?? 0;
    const engine = traces.endpoint[at] ?? 0;
    promptTokens += request.promptTokens;
    cachedTokens += cached;
    answerTokens += traces.answerTokens[at] ?? 0;
    work[engine] = (work[engine] ?? 0) + request.promptTokens - cached;
  }
  ttft.sort((a, b) => a - b);
  endToEnd.sort((a, b) => a - b);
  const meanWork = mean(work);
  const s = (ms: number): number => rounded(ms / 1000, 4);
  return {
    policy: job.policy,
    kind: policyOf(job.policy)?.kind ?? "own",
    rate: rounded(job.rate, 4),
    rps: rounded(meanRps(workload), 3),
    engines: job.engines,
    requests: requests.length,
    ttftMeanS: s(mean(ttft)),
    ttftP50S: s(quantile(ttft, 0.5)),
    ttftP90S: s(quantile(ttft, 0.9)),
    ttftP99S: s(quantile(ttft, 0.99)),
    ttftMaxS: s(ttft.at(-1) ?? Number.NaN),
    itlP50Ms: rounded(gaps.quantile(0.5), 2),
    itlP99Ms: rounded(gaps.quantile(0.99), 2),
    e2eMeanS: s(mean(endToEnd)),
    e2eP99S: s(quantile(endToEnd, 0.99)),
    hitRate: rounded(promptTokens === 0 ? 0 : cachedTokens / promptTokens, 4),
    imbalance: rounded(meanWork === 0 ? 1 : Math.max(...work) / meanWork, 4),
    waitMaxS: s(largest(waits)),
    waitedShare: rounded(waits.filter((ms) => ms > 0).length / requests.length, 4),
    preemptions: output.preemptions,
    refused: output.refused,
    outputTokensPerS: rounded((answerTokens / Math.max(1, output.endMs)) * 1000, 1),
  };
}

/** Milliseconds in the router, of each request. */
function waitsOf({ requests }: Workload, { traces }: RunOutput): number[] {
  return requests.map(({ arrivalMs }, at) => (traces.sentMs[at] ?? 0) - arrivalMs);
}

/** Milliseconds until the first token, of each request; NaN = it was refused. */
function firstTokensOf({ requests }: Workload, { traces }: RunOutput): number[] {
  return requests.map(({ arrivalMs }, at) => (traces.firstMs[at] ?? Number.NaN) - arrivalMs);
}

function rounded(value: number, digits: number): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}
