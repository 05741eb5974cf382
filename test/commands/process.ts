// The program as a person starts it: a process, what it prints, how it ends, and which processes it has made.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

export const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));

/** Without the options that the surroundings of the tests may hold. */
export const cleanEnvironment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("LMSTACK_") && name !== "NODE_TEST_CONTEXT"),
);

export class Command {
  readonly child: ChildProcess;
  /** Standard output so far. */
  out = "";
  /** Standard error so far. */
  err = "";
  readonly #exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #wake: (() => void)[] = [];
  #over = false;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.out += text;
      this.#woken();
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.err += text;
      this.#woken();
    });
    this.#exit = once(child, "close").then((args: unknown[]) => {
      this.#over = true;
      this.#woken();
      return { code: args[0] as number | null, signal: args[1] as NodeJS.Signals | null };
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Exit code and signal, when it has ended and all of its output has come. */
  exit(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return this.#exit;
  }

  /**
   * Waits until standard output has a match behind the character `from`.
   * @throws Error when it ends before, with all that it said
   */
  async says(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.out.slice(from));
      if (match !== null) return match;
      if (this.#over) throw new Error(`ended without ${pattern}:\n${this.out}\n${this.err}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  #woken(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Starts `lmstack ARGS`; it is killed when the test ends before it. */
export function start(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Command {
  return startProgram(t, process.execPath, [cli, ...args], env);
}

/** The same with another program before it, such as a shell that sets limits. */
export function startProgram(
  t: TestContext,
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Command {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...cleanEnvironment, ...env } });
  const command = new Command(child);
  t.after(async () => {
    child.kill("SIGKILL");
    await command.exit();
  });
  return command;
}

/** Runs `lmstack ARGS` to its end. */
export async function run(
  t: TestContext,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const command = start(t, args, env);
  const { code } = await command.exit();
  return { code, out: command.out, err: command.err };
}

/** Processes that a process has started, by /proc. */
export function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => statOf(candidate)?.parent === pid);
}

/** Whether /proc is there, as on Linux. */
export const hasProc = existsSync("/proc/self/stat");

export function isAlive(pid: number): boolean {
  const stat = statOf(pid);
  // a zombie only waits for somebody to read its exit code
  return stat !== null && stat.state !== "Z";
}

function statOf(pid: number): { state: string; parent: number } | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent = ""] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return null;
  }
}
