// A tokenizer of our own, in a worker thread: no engine is asked, and no prompt crosses the network for it.
import { Worker } from "node:worker_threads";
import type { Clock, Timer } from "../../clock.ts";
import type { Tokenizer } from "./prompt-tokens.ts";

export interface ToWorker {
  readonly id: number;
  /** JSON of a `/tokenize` request. */
  readonly request: string;
}

export type FromWorker =
  | { readonly ready: true }
  | { readonly ready: false; readonly problem: string }
  | { readonly id: number; readonly tokens: Uint32Array }
  | { readonly id: number; readonly problem: string };

interface Open {
  readonly resolve: (tokens: Uint32Array) => void;
  readonly reject: (error: Error) => void;
}

/** A thread that has died is started again after so long. */
const restartMs = 10_000;

/** Compiled, the sources have another ending. */
const workerUrl = new URL(`./tokenizer-worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

export class LocalTokenizer implements Tokenizer {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #onProblem: (problem: string) => void;
  readonly #open = new Map<number, Open>();
  #worker: Worker | null = null;
  #timer: Timer | null = null;
  #next = 0;
  /** Why it can't be used; null = it can, or is about to be. */
  #problem: string | null = null;
  #closed = false;

  /** Starts loading at once. @param onProblem told once for each failure, for the log */
  constructor(folder: string, clock: Clock, onProblem: (problem: string) => void) {
    this.#folder = folder;
    this.#clock = clock;
    this.#onProblem = onProblem;
    this.#start();
  }

  get problem(): string | null {
    return this.#problem;
  }

  tokenize(_model: string, request: string): Promise<Uint32Array> {
    return new Promise((resolve, reject) => {
      if (this.#worker === null) {
        reject(new Error(this.#problem ?? "the tokenizer is not running"));
        return;
      }
      const id = this.#next++;
      this.#open.set(id, { resolve, reject });
      this.#worker.postMessage({ id, request } satisfies ToWorker, []);
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    void this.#worker?.terminate();
    this.#failAll("the router is on its way out");
  }

  #start(): void {
    const worker = new Worker(workerUrl, { workerData: { folder: this.#folder } });
    // it alone is no reason for the process to live
    worker.unref();
    worker.on("message", (message: FromWorker) => this.#on(message));
    worker.on("error", (error) => this.#lost(error instanceof Error ? error.message : String(error), true));
    worker.on("exit", () => this.#lost("its thread has ended", true));
    this.#worker = worker;
  }

  #on(message: FromWorker): void {
    if ("ready" in message) {
      if (message.ready) this.#problem = null;
      // what a folder lacks it will lack again
      else this.#lost(message.problem, false);
      return;
    }
    const open = this.#open.get(message.id);
    this.#open.delete(message.id);
    if ("tokens" in message) open?.resolve(message.tokens);
    else open?.reject(new Error(message.problem));
  }

  #lost(problem: string, again: boolean): void {
    if (this.#closed || this.#worker === null) return;
    const worker = this.#worker;
    this.#worker = null;
    void worker.terminate();
    this.#problem = problem;
    this.#failAll(problem);
    this.#onProblem(problem);
    if (again) this.#timer = this.#clock.setTimer(restartMs, () => this.#start());
  }

  #failAll(problem: string): void {
    for (const { reject } of this.#open.values()) reject(new Error(problem));
    this.#open.clear();
  }
}
