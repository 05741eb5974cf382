// A thread of the lab: prepares the workload once, then runs jobs as they are handed to it. Talks in messages only.

import { parentPort, workerData } from "node:worker_threads";
import { loadWorkload } from "../bench/workload/source.ts";
import { prepare, runJob, type LabJob, type LabRun, type LabSetup } from "./run.ts";

export type FromWorker =
  | { readonly kind: "progress"; readonly share: number }
  | { readonly kind: "done"; readonly run: LabRun }
  | { readonly kind: "failed"; readonly message: string };

const port = parentPort;
if (port === null) throw new Error("the lab's worker is no program of its own");
const setup = workerData as LabSetup;
const say = (message: FromWorker): void => port.postMessage(message);

const prepared = prepare(loadWorkload(setup.source));
port.on("message", (job: LabJob) => {
  try {
    say({ kind: "done", run: runJob(prepared, setup, job, (share) => say({ kind: "progress", share })) });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    say({ kind: "failed", message });
  }
});
