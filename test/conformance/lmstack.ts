// LMStack's router as a subject of the conformance suite: a process, its engines in a watched file, SIGTERM.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { get } from "../helpers/http-client.ts";
import type { Subject } from "./stand.ts";

const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));
const limitBytes = 1024 * 1024;

export class LmstackSubject implements Subject {
  readonly limitBytes = limitBytes;
  readonly readyPath = "/ready";
  readonly #directory = mkdtempSync(join(tmpdir(), "lmstack-conformance-"));
  readonly #file = join(this.#directory, "engines.json");
  #child: ChildProcess | null = null;
  #revision = 0;
  port = 0;

  readonly restart = async (engines: readonly string[]): Promise<void> => {
    await this.close(false);
    this.#write(engines);
    const argv = ["--host", "127.0.0.1", "--port", "0", "--dynamic-config-json", this.#file];
    const more = ["--max-body-bytes", String(limitBytes), "--drain-delay-seconds", "0.5", "--log-format", "json"];
    const child = spawn(process.execPath, [cli, "router", ...argv, ...more], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    this.port = await new Promise<number>((resolve, reject) => {
      let text = "";
      child.stdout.on("data", (data: Buffer) => {
        // beyond the first words nobody reads them, and a pipe that is full would stop it
        if (text.length < 4096) text += data.toString();
        const port = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1];
        if (port !== undefined) resolve(Number(port));
      });
      child.once("exit", (code) => reject(new Error(`the router ended with ${code}: ${text}`)));
    });
    await this.#known(engines);
  };

  readonly setEngines = async (engines: readonly string[]): Promise<void> => {
    this.#write(engines);
    await this.#known(engines);
  };

  readonly terminate = (): Promise<void> => {
    const child = this.#child;
    if (child === null) return Promise.resolve();
    this.#child = null;
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill("SIGTERM");
    });
  };

  async close(last = true): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    if (last) rmSync(this.#directory, { recursive: true, force: true });
  }

  #write(engines: readonly string[]): void {
    const next = `${this.#file}.${this.#revision++}`;
    const value = { service_discovery: "static", routing_logic: "leastload", static_backends: engines.join(",") };
    writeFileSync(next, JSON.stringify(value));
    // at once, as Kubernetes swaps a ConfigMap
    renameSync(next, this.#file);
  }

  /** Waits until the router lists exactly these. */
  async #known(engines: readonly string[]): Promise<void> {
    const wanted = JSON.stringify([...engines].sort());
    for (const began = performance.now(); performance.now() - began < 20_000;) {
      const answer = await get(this.port, "/engines");
      const listed = answer.json() as { url: string; state: string }[];
      const present = listed.filter(({ state }) => state !== "draining" && state !== "gone");
      if (JSON.stringify(present.map(({ url }) => url).sort()) === wanted) return;
    }
    throw new Error(`the router does not take over ${wanted}`);
  }
}
