// What `--trace`, `--workload`, `--requests`, `--rate` and `--rps` name together, for the commands that have them; and files
// for their results.

import { writeFileSync } from "node:fs";
import { generatorNames, isGeneratorName } from "../bench/workload/generators.ts";
import { meanRps, type Workload } from "../bench/workload/workload.ts";
import type { WorkloadSource } from "../bench/workload/source.ts";
import { diskFiles, readText } from "../config/files.ts";
import type { WorkloadOptions } from "../config/types.ts";
import { UsageError } from "../errors/usage-error.ts";

/** @throws UsageError when there is no such workload, or its file can't be read */
export function workloadSource(
  { trace, workload, requests, seed }: WorkloadOptions,
  generatedRequests: number,
): WorkloadSource {
  if (trace !== null) {
    const read = readText(diskFiles, trace);
    if ("reason" in read) throw new UsageError(`--trace ${trace}: ${read.reason}; give the path of a readable file`);
    return { trace: { path: trace, text: read.text }, requests };
  }
  if (!isGeneratorName(workload)) {
    throw new UsageError(`--workload ${workload}: there is no such workload; give one of ${generatorNames.join(", ")}`);
  }
  return { generator: workload, requests: requests ?? generatedRequests, seed };
}

/** Factors on the workload's arrivals. @throws UsageError when it has none */
export function workloadRates({ rates, rps }: WorkloadOptions, workload: Workload): readonly number[] {
  if (rps.length === 0) return rates;
  const own = meanRps(workload);
  if (own === 0) throw new UsageError("--rps: all requests of the workload arrive at one time; leave --rps out");
  return rps.map((wanted) => wanted / own);
}

/** For people. */
export function aboutWorkload(workload: Workload): string[] {
  const { requests, notes } = workload;
  const mean = (of: (request: (typeof requests)[number]) => number): number =>
    Math.round(requests.reduce((sum, request) => sum + of(request), 0) / requests.length);
  return [
    `${workload.name}: ${requests.length} requests, ${meanRps(workload).toFixed(2)} per second at rate 1, ` +
      `mean prompt ${mean(({ promptTokens }) => promptTokens)} tokens, mean answer ${mean(({ answer }) => answer.tokens)}`,
    ...notes,
  ];
}

/** @throws UsageError when it can't be written */
export function writeResult(option: string, path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${option} ${path}: can't be written (${reason}); give a path in a folder that exists`);
  }
}
