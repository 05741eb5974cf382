// Runs commands beside each other and tells of each in one line; what a command printed is shown only when it failed.
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** One command of a check. */
export interface Step {
  readonly name: string;
  /** A program of `node_modules/.bin`, or `node` for the Node that runs this script. */
  readonly command: string;
  readonly args: readonly string[];
  /** What to do when it fails. */
  readonly hint?: string;
}

/** The environment of this process with the package's own programs first in PATH. */
export function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}` };
}

interface Result {
  readonly ok: boolean;
  readonly output: string;
}

function run(step: Step): Promise<Result> {
  return new Promise((resolve) => {
    const command = step.command === "node" ? process.execPath : step.command;
    const child = spawn(command, step.args, {
      cwd: root,
      env: toolEnvironment(),
      shell: process.platform === "win32" && command !== process.execPath,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output += chunk.toString("utf8");
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => resolve({ ok: false, output: `${step.command}: ${error.message}\n` }));
    child.on("close", (code) => resolve({ ok: code === 0, output }));
  });
}

/**
 * Runs all steps, `parallel` at a time.
 * @returns names of those that failed
 */
export async function runSteps(steps: readonly Step[], parallel: number): Promise<readonly string[]> {
  const waiting = [...steps];
  const failed: string[] = [];
  const worker = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      const startedMs = performance.now();
      const { ok, output } = await run(step);
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      process.stdout.write(`${ok ? "ok    " : "FAILED"} ${step.name.padEnd(14)} ${seconds.padStart(5)} s\n`);
      if (ok) continue;
      failed.push(step.name);
      process.stdout.write(`${output.trimEnd()}\n`);
      if (step.hint !== undefined) process.stdout.write(`=> ${step.hint}\n`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return failed;
}
