// The router of a soak: a process of its own, so that its memory, its descriptors and its event loop are nobody else's.
import { spawn, type ChildProcess } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { sumOf, valueOf } from "../helpers/exposition.ts";

const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));

/** What was seen of the process at one moment. */
export interface Sample {
  readonly seconds: number;
  readonly residentMb: number;
  /** Worst share of the requests' event-loop delays since the last sample, ms: the 99th percentile. */
  readonly loopP99Ms: number;
  /** Open descriptors; NaN where the system does not tell. */
  readonly descriptors: number;
  readonly requests: number;
}

export class RouterProcess {
  readonly #child: ChildProcess;
  readonly #startMs = performance.now();
  readonly url: string;
  readonly port: number;
  /** What it said, its last words. */
  #words = "";

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
    this.port = Number(new URL(url).port);
  }

  static start(argv: readonly string[]): Promise<RouterProcess> {
    const child = spawn(process.execPath, [cli, "router", "--host", "127.0.0.1", "--port", "0", ...argv], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    // it must not outlive whoever measures it
    const end = (): void => void child.kill("SIGKILL");
    process.once("exit", end);
    child.once("close", () => process.removeListener("exit", end));
    let words = "";
    return new Promise((resolve, reject) => {
      let router: RouterProcess | null = null;
      const read = (data: Buffer): void => {
        words = (words + data.toString()).slice(-4000);
        if (router !== null) router.#words = words;
        const url = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(words)?.[1];
        if (router !== null || url === undefined) return;
        router = new RouterProcess(child, url);
        resolve(router);
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.once("exit", (code) => reject(new Error(`the router ended with ${code}: ${words}`)));
    });
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get lastWords(): string {
    return this.#words;
  }

  async metrics(): Promise<string> {
    return (await fetch(`${this.url}/metrics`, { headers: { connection: "close" } })).text();
  }

  async sample(): Promise<Sample> {
    const text = await this.metrics();
    return {
      seconds: (performance.now() - this.#startMs) / 1000,
      residentMb: valueOf(text, "process_resident_memory_bytes") / 1e6,
      loopP99Ms: valueOf(text, 'lmstack_event_loop_delay_seconds{stat="p99"}') * 1000,
      descriptors: this.#descriptors(),
      requests: sumOf(text, "lmstack_requests_total"),
    };
  }

  #descriptors(): number {
    try {
      return readdirSync(`/proc/${this.#child.pid}/fd`).length;
    } catch {
      return Number.NaN;
    }
  }

  close(): void {
    this.#child.removeAllListeners("exit");
    this.#child.kill("SIGKILL");
  }
}
