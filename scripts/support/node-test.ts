// Finds test files and runs them by `node --test` in the Node that runs this script.
import { spawn, type ChildProcess } from "node:child_process";
import { globSync } from "node:fs";
import { join, relative, resolve } from "node:path";

import { root, toolEnvironment } from "./steps.ts";

export interface TestArguments {
  /** Folders and files that are wanted; empty = all. */
  readonly only: readonly string[];
  readonly check: boolean;
  /** For `node --test`. */
  readonly rest: readonly string[];
}

/** Splits `--only PATH...` and `--no-check` from what is node's. */
export function testArguments(argv: readonly string[]): TestArguments {
  const only: string[] = [];
  const rest: string[] = [];
  let check = true;
  let inOnly = false;
  for (const argument of argv) {
    if (argument === "--only") inOnly = true;
    else if (argument.startsWith("-")) {
      inOnly = false;
      if (argument === "--no-check") check = false;
      else rest.push(argument);
    } else if (inOnly) only.push(argument);
    else rest.push(argument);
  }
  return { only, check: check && only.length === 0, rest };
}

/** Test files of a tier, relative to the root, in a fixed order. */
export function testFiles(pattern: string, excluded: readonly string[], only: readonly string[]): string[] {
  const wanted = only.map((path) => relative(root, resolve(path)));
  return globSync(pattern, { cwd: root })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => !excluded.some((folder) => path.startsWith(folder)))
    .filter((path) => wanted.length === 0 || wanted.some((start) => path === start || path.startsWith(`${start}/`)))
    .toSorted();
}

export interface TestRun {
  readonly child: ChildProcess;
  /** Exit code; 1 when a signal ended it. */
  readonly done: Promise<number>;
}

export function runTests(files: readonly string[], options: readonly string[], env: NodeJS.ProcessEnv = {}): TestRun {
  const reporter = join(root, "scripts/support/reporter.ts");
  const args = ["--test", `--test-reporter=${reporter}`, ...options, ...files];
  const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit", env: { ...toolEnvironment(), ...env } });
  const done = new Promise<number>((resolveDone, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolveDone(code ?? 1));
  });
  return { child, done };
}
