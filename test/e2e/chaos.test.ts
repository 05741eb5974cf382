// The long form of test/chaos/chaos.test.ts, four runs at a time, each in a process of its own: 40 seeds of 5 s, and 20 s of each
// seed that once failed in a run of that length (test/chaos/regression-seeds.ts has the stories).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { failedIn20s } from "../chaos/regression-seeds.ts";

const program = fileURLToPath(new URL("../chaos/main.ts", import.meta.url));

async function noViolation(t: TestContext, ...argv: string[]): Promise<void> {
  const child = spawn(process.execPath, [program, "--parallel", "4", ...argv], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let words = "";
  child.stdout.on("data", (data: Buffer) => (words += data.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  t.diagnostic(words.trimEnd().split("\n").at(-1) ?? "");
  assert.equal(code, 0, words);
}

test("E4, C1, C4: chaos, 40 seeds of 5 s, four at a time, without a violation", (t) =>
  noViolation(t, "--seeds", "40", "--seconds", "5"));

test("E4, C1, C4: chaos, 20 s of each seed that once failed in a run of that length, four at a time, without a violation", (t) =>
  noViolation(t, "--only", failedIn20s.map(([seed]) => seed).join(","), "--seconds", "20"));
