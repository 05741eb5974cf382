// Every process that the benchmark starts goes through here: pinned to its core, remembered by pid, and ended on every
// way out, so that an interrupted run leaves nothing behind that would disturb the next one.
import { spawn } from "node:child_process";
import type { ChildProcess, StdioOptions } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A failure that the person at the terminal can act on; shown without a stack. */
export class BenchError extends Error {}

export interface Started {
  readonly name: string;
  readonly pid: number;
  readonly child: ChildProcess;
  /** Ends the process: SIGTERM, and SIGKILL where that is not enough in time (1 s unless told). */
  stop(graceMs?: number): Promise<void>;
  /** The last lines that it wrote to standard error. */
  lastWords(): string;
  /** What it wrote to standard output, once it has ended; only where `output` was asked for. */
  output(): Promise<string>;
}

const running = new Set<Started>();
let scratch: string | undefined;
let stopping = false;

/** A directory for configurations and sockets that lives as long as the benchmark. */
export function scratchDirectory(): string {
  scratch ??= mkdtempSync(join(tmpdir(), "lmstack-bench-"));
  return scratch;
}

/** The Node that runs this file, as the file itself: what we pin and measure must not be a wrapper. */
export const nodeBinary = process.execPath;

/**
 * Starts a command on one core. `taskset` replaces itself by the command, so the pid is the command's own. Standard
 * output goes to /dev/null unless it is asked for, standard error is kept for `lastWords`.
 */
export function startPinned(
  name: string,
  core: number,
  command: readonly string[],
  extra: "none" | "ipc" | "output" = "none",
): Started {
  const stdio: StdioOptions = ["ignore", extra === "output" ? "pipe" : "ignore", "pipe"];
  if (extra === "ipc") stdio.push("ipc");
  const child = spawn("taskset", ["-c", String(core), ...command], { stdio });
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-4000)));
  child.on("error", () => {}); // spawn failed: `pid` is undefined, which is reported just below
  if (child.pid === undefined)
    throw new BenchError("taskset is not installed (Debian: util-linux); it pins processes.");
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const started: Started = {
    name,
    pid: child.pid,
    child,
    lastWords: () => words.trim(),
    output: () => closed.then(() => output),
    async stop(graceMs = 1000) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        const hard = setTimeout(() => child.kill("SIGKILL"), graceMs);
        await ended;
        clearTimeout(hard);
      }
      running.delete(started);
    },
  };
  running.add(started);
  void ended.then(() => running.delete(started));
  return started;
}

export function hasEnded(started: Started): boolean {
  return started.child.exitCode !== null || started.child.signalCode !== null;
}

/** The first message that a child sends by IPC; fails with its last words where it ends before. */
export function nextMessage<Message>(started: Started): Promise<Message> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new BenchError(`${started.name} ended: ${started.lastWords()}`));
    started.child.once("exit", onExit);
    started.child.once("message", (message) => {
      started.child.off("exit", onExit);
      resolve(message as Message);
    });
  });
}

/** Whether everything is being ended, so that the failures which that causes can be told from real ones. */
export function isStopping(): boolean {
  return stopping;
}

/** Ends everything, latest first. */
export async function stopAll(): Promise<void> {
  stopping = true;
  await Promise.all([...running].toReversed().map((started) => started.stop()));
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  scratch = undefined;
}

/** Arms the ways out: an interrupt ends all children by pid and then this process. */
export function endChildrenOnExit(): void {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.once(signal, () => void stopAll().finally(() => process.exit(code)));
  }
  process.on("exit", () => {
    for (const started of running) started.child.kill("SIGKILL");
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  });
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once("error", reject);
    probe.listen({ port: 0, host: "127.0.0.1" }, () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** Where a program is, or undefined; /usr/sbin is looked at too, as it is not on everybody's PATH. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}
