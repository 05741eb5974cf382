// Runs jobs on several threads, since one run keeps one core busy. Results come back in the order of the jobs, whoever was
// faster.

import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { loadWorkload } from "../bench/workload/source.ts";
import { prepare, runJob, type LabJob, type LabRun, type LabSetup, type PreparedWorkload } from "./run.ts";
import type { FromWorker } from "./worker.ts";

export interface PoolProgress {
  /** Called often. @param share of the job, 0 to 1 */
  readonly moved?: (job: LabJob, share: number) => void;
  readonly done?: (job: LabJob, run: LabRun) => void;
}

interface Task {
  readonly job: LabJob;
  readonly progress: PoolProgress;
  readonly resolve: (run: LabRun) => void;
  readonly reject: (error: Error) => void;
}

export class LabPool {
  readonly #setup: LabSetup;
  readonly #threads: number;
  readonly #waiting: Task[] = [];
  readonly #workers = new Set<Worker>();
  readonly #idle: Worker[] = [];
  #here: PreparedWorkload | null = null;

  /** @param threads 1 = all in this thread */
  constructor(setup: LabSetup, threads: number) {
    this.#setup = setup;
    this.#threads = threads;
  }

  async run(job: LabJob, progress: PoolProgress = {}): Promise<LabRun> {
    if (this.#threads <= 1) {
      this.#here ??= prepare(loadWorkload(this.#setup.source));
      const run = runJob(this.#here, this.#setup, job, (share) => progress.moved?.(job, share));
      progress.done?.(job, run);
      return run;
    }
    return await new Promise<LabRun>((resolve, reject) => {
      this.#waiting.push({ job, progress, resolve, reject });
      this.#next();
    });
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#workers, (worker) => worker.terminate()));
    this.#workers.clear();
  }

  #next(): void {
    const task = this.#waiting[0];
    if (task === undefined) return;
    const worker = this.#idle.pop() ?? (this.#workers.size < this.#threads ? this.#start() : undefined);
    if (worker === undefined) return;
    this.#waiting.shift();
    this.#hand(worker, task);
  }

  #start(): Worker {
    // The sources run as they are, the package holds compiled files: the worker ends as this file does.
    const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: this.#setup,
    });
    this.#workers.add(worker);
    return worker;
  }

  #hand(worker: Worker, task: Task): void {
    const ended = (): void => {
      worker.off("message", heard);
      worker.off("error", broken);
    };
    const heard = (message: FromWorker): void => {
      if (message.kind === "progress") {
        task.progress.moved?.(task.job, message.share);
        return;
      }
      ended();
      this.#idle.push(worker);
      if (message.kind === "failed") task.reject(new Error(message.message));
      else {
        task.progress.done?.(task.job, message.run);
        task.resolve(message.run);
      }
      this.#next();
    };
    const broken = (error: Error): void => {
      ended();
      this.#workers.delete(worker);
      task.reject(error);
      this.#next();
    };
    worker.on("message", heard);
    worker.on("error", broken);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    worker.postMessage(task.job);
  }
}
