// The live view of `lmstack up`: as pure text at several widths, and once on a real pseudo-terminal.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { renderView, type ViewFacts } from "../../src/commands/up/live-view.ts";
import { quantileMs, type EngineRow, type Snapshot } from "../../src/commands/up/snapshot.ts";
import { cleanEnvironment, cli, Command } from "./process.ts";

const engine: EngineRow = {
  url: "http://127.0.0.1:40001",
  state: "ready",
  running: 12,
  waiting: 3,
  kvUsage: 0.4217,
  hitRate: 0.861,
  restarts: 0,
};

const dead: EngineRow = {
  ...engine,
  url: "http://127.0.0.1:40002",
  state: "dead",
  running: null,
  waiting: null,
  kvUsage: null,
  hitRate: null,
  restarts: 2,
};

const young: EngineRow = { ...dead, url: null, state: "starting", restarts: 0 };

const snapshot: Snapshot = {
  engines: [engine, dead, young, engine],
  inFlight: 15,
  requestsPerSecond: 12.34,
  tokensPerSecond: 1234.5,
  ttftP50Ms: 14.2,
  ttftP90Ms: 1530,
  errors: 3,
};

const facts: ViewFacts = {
  url: "http://localhost:30080",
  model: "facebook/opt-125m",
  preset: "llama-3.1-8b-1xh100",
  policy: "leastload",
  columns: 80,
  rows: 30,
  color: false,
  log: ["info: all 4 engines are up", `warn: request 0123-abcd chat m cut 200 on 127.0.0.1:1, ${"long ".repeat(40)}`],
};

const idle: Snapshot = { ...snapshot, inFlight: 0, ttftP50Ms: null, ttftP90Ms: null, errors: 0 };

test("the view at 80 columns", () => {
  assert.deepEqual(renderView(snapshot, facts), [
    "LMStack  http://localhost:30080  in a browser, or send a request:",
    "",
    "  curl http://localhost:30080/v1/completions \\",
    '    -H "content-type: application/json" \\',
    `    -d '{"model": "facebook/opt-125m", "prompt": "Once upon a time"}'`,
    "",
    "  SDKs: base URL http://localhost:30080/v1   model facebook/opt-125m   any key",
    "",
    "  engine           state     running  waiting  cached  KV used  restarts",
    "  127.0.0.1:40001  ready          12        3   86.1%    42.2%         0",
    "  127.0.0.1:40002  dead            -        -       -        -         2",
    "  engine 3         starting        -        -       -        -         0",
    "  127.0.0.1:40001  ready          12        3   86.1%    42.2%         0",
    "",
    "  in flight   15   requests/s   12.3   tokens/s   1235",
    "  TTFT p50  14 ms, p90  1.5 s   errors 3",
    "  simulated engines: llama-3.1-8b-1xh100   policy: leastload   Ctrl-C to end",
    "  info: all 4 engines are up",
    `  warn: chat m cut 200 on 127.0.0.1:1, ${"long ".repeat(40)}`.slice(0, 80),
  ]);
});

test("no line is longer than the terminal is wide, with colours and without, idle and busy", () => {
  for (let columns = 1; columns <= 200; columns++) {
    for (const color of [true, false]) {
      for (const shown of [snapshot, idle]) {
        for (const line of renderView(shown, { ...facts, columns, color })) {
          assert.ok(stripVTControlCharacters(line).length <= columns, `${columns}: ${line}`);
        }
      }
    }
  }
});

test("a narrow terminal is shown fewer columns of the table, and no half of a command", () => {
  const lines = renderView(snapshot, { ...facts, columns: 40 });
  assert.ok(lines.includes("  127.0.0.1:40002  dead            -"));
  assert.ok(lines.includes("  SDKs: http://localhost:30080/v1"));
  assert.ok(!lines.some((line) => line.includes("curl")));
  const long = renderView(snapshot, {
    ...facts,
    model: "organisation/a-model-with-a-name-of-many-words-and-sizes-70b",
  });
  assert.ok(!long.some((line) => line.includes("curl")));
});

test("many engines leave room for the rest of the view", () => {
  const engines = Array.from({ length: 100 }, () => engine);
  const lines = renderView({ ...snapshot, engines }, { ...facts, rows: 24 });
  assert.equal(lines.length, 23, "one line is left for the cursor");
  assert.ok(lines.includes("  and 93 more; 100 of 100 are ready"));
  assert.ok(lines.some((line) => line.includes("TTFT")));
});

test("colour says which engine is well", () => {
  const lines = renderView(snapshot, { ...facts, color: true });
  const lineOf = (state: string): string => lines.find((line) => line.includes(state)) ?? "";
  assert.ok(lineOf("ready  ").includes("\u001b[32mready"));
  assert.ok(lineOf("dead  ").includes("\u001b[31mdead"));
  assert.ok(!lineOf("starting  ").includes("\u001b["));
});

test("the quantile of a histogram lies in its bucket, and there is none of nothing", () => {
  assert.equal(quantileMs([0, 0, 0], 0.5), null);
  const half = quantileMs([10, 0, 0], 0.5);
  const all = quantileMs([10, 0, 0], 1);
  assert.ok(half !== null && all !== null);
  assert.ok(Math.abs(half * 2 - all) < 1e-9);
});

/** `script` of util-linux gives its child a pseudo-terminal. */
function hasScript(): boolean {
  const { status, stdout } = spawnSync("script", ["--version"], { encoding: "utf8" });
  return status === 0 && stdout.includes("util-linux");
}

test(
  "on a terminal up draws in place, and gives the cursor back",
  { skip: hasScript() ? false : "needs `script` of util-linux" },
  async (t) => {
    const inside = `stty cols 80 rows 24; exec ${process.execPath} ${cli} up --port 0 --engines 2`;
    const child = spawn("script", ["-qfec", inside, "/dev/null"], {
      stdio: ["pipe", "pipe", "pipe"],
      env: cleanEnvironment,
    });
    const terminal = new Command(child);
    t.after(() => child.kill("SIGKILL"));
    await terminal.says(/http:\/\/localhost:\d+\S* {2}in a browser/);
    await terminal.says(/all 2 engines are up/);
    // the next picture begins where this one did
    await terminal.says(/\u001b\[\d+A\u001b\[2K/);
    assert.ok(terminal.out.includes("\u001b[?25l"));
    child.stdin.write("\u0003");
    const { code } = await terminal.exit();
    assert.equal(code, 0);
    assert.match(terminal.out, /\u001b\[\?25h[^]*ending; once more ends at once/);
    const shown = stripVTControlCharacters(terminal.out);
    for (const line of shown.split(/\r?\n/)) assert.ok(line.length <= 80, line);
  },
);
