// The soak itself, for some seconds: that it runs, says what it should, and finds a router that leaks.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("./main.ts", import.meta.url));

function soak(...argv: string[]): { code: number | null; words: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...argv], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return { code: status, words: stdout + stderr };
}

test("a soak of 3,000 requests among disorder loses none, and leaves nothing behind", () => {
  const { words } = soak("--requests", "3000");
  assert.match(words, /^3000 requests of the bulk in \d+ s/m, words);
  assert.match(words, /^outcomes: .*ok \d+/m);
  // a young process still grows; all other findings are findings
  const wrong = words.split("\n").filter((line) => line.startsWith("wrong:") && !/memory grew|too short/.test(line));
  assert.deepEqual(wrong, []);
});

test("a soak says what is wrong with its arguments", () => {
  const { code, words } = soak("--minutes", "long");
  assert.equal(code, 2);
  assert.match(words, /take numbers/);
});
