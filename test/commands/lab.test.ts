// `lmstack lab` as a person runs it: the table, the files, the mistakes.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { run } from "./process.ts";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "lmstack-lab-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

interface Report {
  readonly results: readonly Readonly<Record<string, number | string>>[];
  readonly capacities?: readonly { readonly engines: number }[];
}

const small = ["lab", "--workload", "multi-turn", "--requests", "60", "--engines", "2", "--jobs", "1"];

test("lab prints a table, and writes the same JSON for the same seed, and one page without a script", async (t) => {
  const here = folder(t);
  const at = (name: string): string => join(here, name);
  const args = [...small, "--policy", "prefixaware,roundrobin", "--rate", "1,4", "--jobs", "2"];
  const first = await run(t, [...args, "--json", at("a.json"), "--html", at("a.html")]);
  assert.equal(first.code, 0, first.err);
  const lines = first.out.trimEnd().split("\n");
  assert.match(lines[0] ?? "", /^policy +rate +req\/s +TTFT mean s +p50 +p90 +p99 +ITL p50 ms/);
  assert.deepEqual(
    lines.slice(1).map((line) => line.split(/ +/).slice(0, 2)),
    [
      ["prefixaware", "1"],
      ["roundrobin", "1"],
      ["prefixaware", "4"],
      ["roundrobin", "4"],
    ],
  );
  // not a terminal: lines in place of a bar
  assert.match(first.err, /^multi-turn: 60 requests, .+\n2 engines of .+\n( *\d+ % .+\n)+$/);
  const report = JSON.parse(readFileSync(at("a.json"), "utf8")) as Report;
  const wanted =
    "policy rate requests ttftMeanS ttftP50S ttftP90S ttftP99S itlP50Ms itlP99Ms e2eMeanS hitRate imbalance";
  for (const result of report.results) {
    for (const name of wanted.split(" ")) assert.ok(result[name] !== undefined && result[name] !== null, name);
  }
  const second = await run(t, [...args, "--json", at("b.json")]);
  assert.equal(second.out, first.out);
  assert.equal(readFileSync(at("b.json"), "utf8"), readFileSync(at("a.json"), "utf8"));
  const page = readFileSync(at("a.html"), "utf8");
  assert.match(page, /^<!doctype html>/);
  assert.doesNotMatch(page, /<script|<link|src=|url\(|NaN|Infinity/);
  for (const title of ["Time to first token, p90", "Imbalance", "prefixaware, "])
    assert.ok(page.includes(title), title);
});

test("lab replays a trace, at a number of requests a second", async (t) => {
  const trace = join(folder(t), "t.csv");
  const rows = Array.from({ length: 40 }, (_, i) => `2023-11-16 18:15:${String(i).padStart(2, "0")}.5,374,44`);
  writeFileSync(trace, ["TIMESTAMP,ContextTokens,GeneratedTokens", ...rows].join("\n"));
  const { code, out, err } = await run(t, [
    "lab",
    "--trace",
    trace,
    "--rps",
    "5",
    "--policy",
    "leastload",
    "--jobs",
    "1",
  ]);
  assert.equal(code, 0, err);
  assert.match(out.split("\n")[1] ?? "", /^leastload +5 +5\.00 /);
  assert.match(err, /^t\.csv: 40 requests, 1\.00 per second at rate 1, mean prompt 374 tokens, mean answer 44\n/);
});

/** Their values as arguments of one call were too many: "Maximum call stack size exceeded". */
test("lab takes a trace of 130,000 requests", async (t) => {
  const trace = join(folder(t), "long.csv");
  const rows = Array.from({ length: 130_000 }, (_, i) => `${new Date(i * 2).toISOString().slice(0, -1)},8,1`);
  writeFileSync(trace, ["TIMESTAMP,ContextTokens,GeneratedTokens", ...rows].join("\n"));
  const { code, out, err } = await run(t, ["lab", "--trace", trace, "--policy", "roundrobin", "--jobs", "1"]);
  assert.equal(code, 0, err);
  assert.match(out.split("\n")[1] ?? "", /^roundrobin +1 +500 /);
});

test("lab --find-engines says how many", async (t) => {
  const json = join(folder(t), "c.json");
  const args = [...small, "--find-engines", "--slo", "ttft_p90=1s", "--policy", "prefixaware", "--json", json];
  const { code, out, err } = await run(t, args);
  assert.equal(code, 0, err);
  assert.match(out, /^policy +objective +engines +rate .+\nprefixaware +ttft_p90=1s +1 +1\.00 /);
  assert.equal((JSON.parse(readFileSync(json, "utf8")) as Report).capacities?.[0]?.engines, 1);
});

test("lab: a trace with a broken line is one line with its number, and exit code 2", async (t) => {
  const trace = join(folder(t), "t.jsonl");
  const row = '{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": [1]}';
  writeFileSync(trace, [row, row, row.slice(0, 40), row].join("\n"));
  const { code, out, err } = await run(t, ["lab", "--trace", trace]);
  assert.equal(code, 2);
  assert.equal(out, "");
  assert.match(err.trimEnd().split("\n").at(-1) ?? "", /^lmstack: --trace .*t\.jsonl:3: /);
  assert.doesNotMatch(err, /^ +at /m);
});

test("lab --compare-waits sets each wait beside the one in order of arrival, for those policies that let wait", async (t) => {
  const here = folder(t);
  const json = join(here, "w.json");
  const html = join(here, "w.html");
  const load = [
    "lab",
    "--workload",
    "long-documents",
    "--requests",
    "60",
    "--engines",
    "2",
    "--jobs",
    "1",
    "--rate",
    "1",
  ];
  const args = [...load, "--compare-waits", "--policy", "prefixaware,least-tokens", "--json", json, "--html", html];
  const { code, out, err } = await run(t, args);
  assert.equal(code, 0, err);
  const lines = out.trimEnd().split("\n");
  const at = lines.findIndex((line) => line.startsWith("Waits in the router"));
  assert.match(
    lines[at + 1] ?? "",
    /^policy +rate +wait mean s +max +in order: mean s +max +looked at +worst ratio +over 3 x$/,
  );
  assert.match(lines[at + 2] ?? "", /^prefixaware +1 /);
  assert.equal(lines.length, at + 3, "baselines have no queue");
  const { results } = JSON.parse(readFileSync(json, "utf8")) as {
    readonly results: readonly { readonly waits?: Readonly<Record<string, number>> }[];
  };
  assert.ok((results[0]?.waits?.["meanS"] ?? 0) > 0 && (results[0]?.waits?.["inOrderMeanS"] ?? 0) > 0);
  assert.equal(results[1]?.waits, undefined);
  assert.ok(readFileSync(html, "utf8").includes("Waits, and those in order of arrival"));
});

const mistakes: Readonly<Record<string, readonly [readonly string[], RegExp]>> = {
  "a policy that is none": [
    ["--policy", "fastest"],
    /^lmstack: --policy fastest: there is no such policy; give some of all,/,
  ],
  "a workload that is none": [
    ["--workload", "busy"],
    /^lmstack: --workload busy: there is no such workload; give one of multi-turn, /,
  ],
  "a trace that is not there": [["--trace", "/no/such"], /^lmstack: --trace \/no\/such: no such file; .+$/],
  "a rate that is none": [["--rate", "1,fast"], /^lmstack: --rate fast: not a number above 0; .+$/],
  "two kinds of rate": [
    ["--rate", "1", "--rps", "2"],
    /^lmstack: --rps: --rate says how fast already; give one of them$/,
  ],
  "a trace and a workload": [["--trace", "x", "--workload", "agents"], /^lmstack: --workload: --trace says what .+$/],
  "waits where capacity is asked for": [
    ["--compare-waits", "--find-capacity"],
    /^lmstack: --compare-waits: --find-capacity makes another table; .+$/,
  ],
  "an objective that is none": [["--slo", "fast"], /^lmstack: --slo fast: no objective; write NAME=2s or .+$/],
  "a place that can't be written": [
    ["--requests", "5", "--policy", "random", "--jobs", "1", "--json", "/no/such/out.json"],
    /^lmstack: --json \/no\/such\/out\.json: can't be written .+$/m,
  ],
};

for (const [what, [args, line]] of Object.entries(mistakes)) {
  test(`lab: ${what} is one line and exit code 2`, async (t) => {
    const { code, err } = await run(t, ["lab", ...args]);
    assert.equal(code, 2);
    assert.match(err.trimEnd().split("\n").at(-1) ?? "", line);
  });
}
