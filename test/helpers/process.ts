// `lmstack` as a child process, for what only a process shows: signals, exit codes, sudden death. It ends with the test.
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { TestContext } from "node:test";

const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));

export interface LmstackProcess {
  readonly child: ChildProcess;
  /** From the line that says where it listens. */
  readonly url: string;
  readonly port: number;
  /** Exit code, or the signal's name, once it has ended. */
  readonly exited: Promise<number | string>;
  /** What it wrote to standard output so far. */
  output(): string;
}

/** Starts it and waits until it listens. */
export async function startLmstack(t: TestContext, argv: readonly string[]): Promise<LmstackProcess> {
  const child = spawn(process.execPath, [cli, ...argv], { stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  let text = "";
  let complaints = "";
  child.stderr.on("data", (data: Buffer) => (complaints += data.toString()));
  const exited = new Promise<number | string>((resolve) =>
    child.once("exit", (code, signal) => resolve(code ?? signal ?? "")),
  );
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (data: Buffer) => {
      text += data.toString();
      const match = /listening on (http:\/\/[\w.]+:\d+)/.exec(text);
      if (match?.[1] !== undefined) resolve(match[1]);
    });
    void exited.then((code) => reject(new Error(`lmstack ${argv.join(" ")} ended with ${code}: ${complaints}`)));
  });
  return { child, url, port: Number(new URL(url).port), exited, output: () => text };
}
