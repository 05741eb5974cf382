// One simulated engine as a child process: started, watched, started again a moment after it died. It never outlives its
// parent: the child ends when the channel between them closes.
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Clock, Timer } from "../../clock.ts";

export interface EngineProcessOptions {
  readonly clock: Clock;
  /** Arguments of `lmstack engine` without the port. */
  readonly args: readonly string[];
  readonly onListening: (url: string) => void;
  /** It ended unasked; it is started again after a moment. */
  readonly onDeath: (how: string) => void;
}

const restartMs = 1_000;

export class EngineProcess {
  readonly #options: EngineProcessOptions;
  #child: ChildProcess | null = null;
  #timer: Timer | null = null;
  #stopped = false;
  #port = 0;
  #complaint = "";
  /** null = not started yet. */
  url: string | null = null;
  restarts = 0;

  constructor(options: EngineProcessOptions) {
    this.#options = options;
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get alive(): boolean {
    return this.#child !== null;
  }

  /** Ends it; resolves when it is gone. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    const child = this.#child;
    if (child === null) return Promise.resolve();
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill("SIGTERM");
      // one that does not listen is not waited for
      this.#options.clock.setTimer(3_000, () => child.kill("SIGKILL"));
    });
  }

  #start(): void {
    const cli = fileURLToPath(new URL(`../../cli${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url));
    const child = fork(cli, ["engine", "--port", String(this.#port), ...this.#options.args], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child = child;
    this.#complaint = "";
    child.stderr?.on("data", (text: Buffer) => {
      this.#complaint = text.toString("utf8").trim().split("\n").at(-1) ?? "";
    });
    child.on("message", (message: unknown) => {
      if (typeof message !== "object" || message === null || !("url" in message)) return;
      this.url = String(message.url);
      // the same address after a restart, so that it is the same endpoint to the router
      this.#port = Number(new URL(this.url).port);
      this.#options.onListening(this.url);
    });
    child.on("error", (error) => {
      this.#complaint = error.message;
    });
    child.on("exit", (code, signal) => {
      this.#child = null;
      if (this.#stopped) return;
      const how = signal === null ? `exit code ${code}` : signal;
      this.#options.onDeath(this.#complaint === "" ? how : `${how}: ${this.#complaint}`);
      this.#timer = this.#options.clock.setTimer(restartMs, () => {
        this.restarts++;
        this.#start();
      });
    });
  }
}
