// Any router as a subject: at an address, with commands that start it and change its engines where the user has some.
import { spawn, type ChildProcess } from "node:child_process";
import { get } from "../helpers/http-client.ts";
import type { Subject } from "./stand.ts";

export interface CommandOptions {
  readonly url: string;
  readonly limitBytes: number;
  readonly readyPath: string;
  /** Shell commands; `{engines}` stands for the engines' URLs with commas between them. */
  readonly start: string | null;
  readonly setEngines: string | null;
}

export class CommandSubject implements Subject {
  readonly port: number;
  readonly limitBytes: number;
  readonly readyPath: string;
  readonly restart: Subject["restart"];
  readonly setEngines: Subject["setEngines"];
  readonly terminate: Subject["terminate"];
  #child: ChildProcess | null = null;

  constructor({ url, limitBytes, readyPath, start, setEngines }: CommandOptions) {
    this.port = Number(new URL(url).port || 80);
    this.limitBytes = limitBytes;
    this.readyPath = readyPath;
    this.restart = start === null ? null : (engines) => this.#restart(start, engines);
    this.terminate = start === null ? null : () => this.#end("SIGTERM");
    this.setEngines = setEngines === null ? null : (engines) => run(filled(setEngines, engines));
  }

  async #restart(start: string, engines: readonly string[]): Promise<void> {
    await this.#end("SIGKILL");
    // `exec`: the signal has to reach the router and not the shell
    const child = spawn("sh", ["-c", `exec ${filled(start, engines)}`], { stdio: ["ignore", "ignore", "inherit"] });
    this.#child = child;
    for (const began = performance.now(); performance.now() - began < 30_000;) {
      if (child.exitCode !== null) throw new Error(`the router ended with ${child.exitCode}`);
      if ((await get(this.port, "/health").catch(() => null)) !== null) return;
      await new Promise<void>((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("the router does not listen after 30 s");
  }

  #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill(signal);
    });
  }

  close(): Promise<void> {
    return this.#end("SIGKILL");
  }
}

function filled(command: string, engines: readonly string[]): string {
  return command.replaceAll("{engines}", engines.join(","));
}

function run(command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-c", command], { stdio: ["ignore", "ignore", "inherit"] });
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`))));
  });
}
