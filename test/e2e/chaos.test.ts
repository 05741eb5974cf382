// The long form of test/chaos/chaos.test.ts: 40 seeds of 5 s, two at a time, each in a process of its own. A violation counts
// when the seed has it again in two runs by itself.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("chaos: 40 seeds of 5 s, two at a time, without a violation that comes again", async (t) => {
  const program = fileURLToPath(new URL("../chaos/main.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    [program, "--seeds", "40", "--seconds", "5", "--parallel", "2", "--confirm", "2"],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  t.after(() => child.kill("SIGKILL"));
  let words = "";
  child.stdout.on("data", (data: Buffer) => (words += data.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  t.diagnostic(words.trimEnd().split("\n").at(-1) ?? "");
  assert.equal(code, 0, words);
});
