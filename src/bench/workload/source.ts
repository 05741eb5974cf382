// Where a workload comes from, as plain data that goes to worker threads, and how it is loaded.

import { generate, isGeneratorName } from "./generators.ts";
import { readTrace } from "./traces.ts";
import { firstOf, type Workload } from "./workload.ts";

export type WorkloadSource =
  | { readonly trace: { readonly path: string; readonly text: string }; readonly requests: number | null }
  | { readonly generator: string; readonly requests: number; readonly seed: number };

/** @throws UsageError when the trace can't be read */
export function loadWorkload(source: WorkloadSource): Workload {
  if ("trace" in source) {
    const trace = readTrace(source.trace.path, source.trace.text);
    return source.requests === null ? trace : firstOf(trace, source.requests);
  }
  if (!isGeneratorName(source.generator)) throw new Error(`there is no workload ${source.generator}`);
  return generate(source.generator, { seed: source.seed, requests: source.requests });
}
