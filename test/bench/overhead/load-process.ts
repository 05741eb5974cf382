// The load generator for streams and latency, as a process of its own on the load's core. Takes one job at a time by
// IPC and reads the CPU counters at the very ends of the measured part. It stays for the whole run, so its code is warm.
import { residentKb, snapshotCpu } from "./cpu.ts";
import type { CpuSnapshot } from "./cpu.ts";
import { runLatency } from "./latency.ts";
import type { LatencyOptions, LatencyResult } from "./latency.ts";
import { runStreams } from "../streams.ts";
import type { StreamsOptions, StreamsResult } from "../streams.ts";

/** Which processes to read: the benchmark's main one, and the candidate. */
interface Watched {
  readonly owner: number;
  readonly candidate: number | undefined;
}

export type Job =
  | { readonly kind: "streams"; readonly watched: Watched; readonly options: StreamsOptions }
  | { readonly kind: "latency"; readonly watched: Watched; readonly options: LatencyOptions };

export interface JobResult {
  readonly begin: CpuSnapshot;
  readonly end: CpuSnapshot;
  /** Resident memory of the candidate at the end, its load still on; 0 without a candidate. */
  readonly residentKb: number;
  readonly streams?: StreamsResult;
  readonly latency?: LatencyResult;
  readonly failure?: string;
}

async function work(job: Job): Promise<JobResult> {
  const { owner, candidate } = job.watched;
  let begin = snapshotCpu(owner, candidate);
  let end = begin;
  let resident = 0;
  const hooks = {
    onBegin: () => (begin = snapshotCpu(owner, candidate)),
    onEnd: () => {
      end = snapshotCpu(owner, candidate);
      resident = candidate === undefined ? 0 : residentKb(candidate);
    },
  };
  if (job.kind === "streams") {
    const streams = await runStreams({ ...job.options, ...hooks });
    return { begin, end, residentKb: resident, streams };
  }
  const latency = await runLatency({ ...job.options, ...hooks });
  return { begin, end, residentKb: resident, latency };
}

if (import.meta.main) {
  process.on("message", (job: Job) => {
    void work(job).then(
      (result) => process.send?.(result),
      (error: unknown) => process.send?.({ failure: String(error) }),
    );
  });
  process.on("disconnect", () => process.exit(0)); // the benchmark is gone: nobody would end us
}
