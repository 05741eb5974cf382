// Small runs of the lab.
import { generate, type GeneratorName } from "../../src/bench/workload/generators.ts";
import { findPreset } from "../../src/engine/core/index.ts";
import { prepare, runJob, type LabJob, type LabResult, type LabSetup } from "../../src/lab/run.ts";

export const preset = findPreset("llama-3.3-70b-4xh100") ?? { id: "", b0Us: 0, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 2 };

export function setupOf(generator: GeneratorName, requests: number, changed: Partial<LabSetup> = {}): LabSetup {
  return {
    source: { generator, requests, seed: 1 },
    preset,
    seed: 1,
    maxNumSeqs: 256,
    maxNumBatchedTokens: 8192,
    routers: 1,
    scrapeMs: 1000,
    ...changed,
  };
}

/** Runs policies on one workload. */
export function runAll(
  generator: GeneratorName,
  requests: number,
  jobs: readonly LabJob[],
  changed: Partial<LabSetup> = {},
): LabResult[] {
  const prepared = prepare(generate(generator, { seed: 1, requests }));
  const setup = setupOf(generator, requests, changed);
  return jobs.map((job) => runJob(prepared, setup, job).result);
}
