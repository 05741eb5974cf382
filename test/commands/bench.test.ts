// `lmstack bench` as a person runs it: against a simulated engine, two results side by side, the mistakes.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import { run } from "./process.ts";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "lmstack-bench-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

async function engineUrl(t: TestContext, apiKeys: readonly string[] = []): Promise<string> {
  const engine = await startEngine({ models: ["m"], maxModelLen: 32_768, apiKeys: [...apiKeys] });
  t.after(() => engine.close());
  return engine.url;
}

const small = ["--workload", "multi-turn", "--requests", "12", "--concurrency", "6", "--max-lag", "10"];

test("bench finds the model, measures every answer, and writes what the lab writes", async (t) => {
  const here = folder(t);
  const at = (name: string): string => join(here, name);
  // an address as SDKs want it, and a key
  const args = ["bench", "--url", `${await engineUrl(t, ["secret"])}/v1`, "--api-key", "secret", ...small];
  const { code, out, err } = await run(t, [...args, "--json", at("a.json"), "--html", at("a.html")]);
  assert.equal(code, 0, err);
  assert.match(out, /^url +req\/s +failed +TTFT mean s .+\nhttp:\/\/127\.0\.0\.1:\d+ +[\d.]+ +0 +[\d.]+ /);
  assert.match(err, /\nhttp:\/\/127\.0\.0\.1:\d+\/ with m, seed 0\n/);
  const report = JSON.parse(readFileSync(at("a.json"), "utf8")) as { results: Record<string, unknown>[] };
  const wanted = "policy rate requests ttftMeanS ttftP50S ttftP90S ttftP99S itlP50Ms itlP99Ms e2eMeanS hitRate";
  for (const name of wanted.split(" ")) assert.notEqual(report.results[0]?.[name] ?? null, null, name);
  const page = readFileSync(at("a.html"), "utf8");
  assert.match(page, /Requests in flight/);
  assert.doesNotMatch(page, /<script|<link|src=|NaN|Infinity/);
  const lab = await run(t, [
    "lab",
    "--requests",
    "12",
    "--policy",
    "prefixaware",
    "--jobs",
    "1",
    "--json",
    at("b.json"),
  ]);
  assert.equal(lab.code, 0, lab.err);
  const compared = await run(t, ["bench", "--compare", at("a.json"), at("b.json")]);
  assert.equal(compared.code, 0, compared.err);
  assert.match(compared.out, /^result +figure +A +B +B\/A\n.+ TTFT mean s +[\d.]+ +[\d.]+ +[\d.]+\n/);
});

test("bench ends with exit code 1 and the reason when nothing was answered", async (t) => {
  const args = ["bench", "--url", await engineUrl(t), "--model", "other", "--warmup", "0", ...small];
  const { code, out } = await run(t, args);
  assert.equal(code, 1);
  assert.match(out, /12 x status 404: .+other.+\ndiscarded: no request was answered\n$/);
});

const mistakes: Readonly<Record<string, readonly [readonly string[], RegExp]>> = {
  "a URL that is none": [
    ["--url", "localhost:30080"],
    /^lmstack: --url localhost:30080: not a URL; write one such as .+$/,
  ],
  "a URL where nobody listens": [
    ["--url", "http://127.0.0.1:9", "--requests", "1"],
    /^lmstack: --url http:\/\/127\.0\.0\.1:9\/: .*ECONNREFUSED.*; start what is to be measured, or give --model$/,
  ],
  "two rates": [["--rate", "1,2"], /^lmstack: --rate 1,2: one run at a time; give one number$/],
  "a rate in a closed loop": [["--rps", "1", "--concurrency", "2"], /^lmstack: --rps: --concurrency sends without .+$/],
  "one file to compare": [["--compare", "a.json"], /^lmstack: bench --compare a\.json: two files are compared; .+$/],
  "a file that is not there": [["--compare", "/no/a", "/no/b"], /^lmstack: --compare \/no\/a: no such file; .+$/],
};

for (const [what, [args, line]] of Object.entries(mistakes)) {
  test(`bench: ${what} is one line and exit code 2`, async (t) => {
    const { code, err } = await run(t, ["bench", ...args]);
    assert.equal(code, 2);
    assert.match(err.trimEnd().split("\n").at(-1) ?? "", line);
  });
}

test("bench: a file without results is one line and exit code 2", async (t) => {
  const path = join(folder(t), "x.json");
  writeFileSync(path, "{}");
  const { code, err } = await run(t, ["bench", "--compare", path, path]);
  assert.equal(code, 2);
  assert.match(
    err,
    /^lmstack: --compare .+x\.json: holds no results; give files that lmstack bench or lmstack lab wrote .+\n$/,
  );
});
