import assert from "node:assert/strict";
import { test } from "node:test";
import { renderTop } from "../../src/commands/top/view.ts";
import type { Snapshot } from "../../src/console/shapes.ts";
import { startEngine } from "../../src/engine/serve.ts";
import { temporaryFile } from "../helpers/files.ts";
import { startTestRouter } from "../helpers/router.ts";
import { run, start } from "./process.ts";

test("top shows the fleet of a router, once where that is asked", async (t) => {
  const engine = await startEngine({ models: ["tiny"], preset: "fast" });
  t.after(() => engine.close());
  const keys = temporaryFile(t, "keys", "secret\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--console", "--admin-key-file", keys]);
  const { code, out, err } = await run(t, ["top", router.url, "--key-file", keys, "--once"]);
  assert.equal(err, "");
  assert.equal(code, 0);
  assert.match(out, /^1 of 1 endpoints ready {3}0 in flight {3}policy prefixaware\n/);
  assert.match(out, new RegExp(`${engine.url.slice(7)} +ready +0 +0 +- +- +- +tiny\n`));

  const live = start(t, ["top", router.url, "--key-file", keys]);
  await live.says(/1 of 1 endpoints ready/);
  router.running.close();
  assert.equal((await live.exit()).code, 1);
});

test("top says what is wrong with what it was given", async (t) => {
  const engine = await startEngine({ models: ["tiny"], preset: "fast" });
  t.after(() => engine.close());
  const keys = temporaryFile(t, "keys", "secret\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--console", "--admin-key-file", keys]);
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [["nonsense"], /^lmstack: top nonsense: not a URL; write one as http:/],
    [["--often"], /^lmstack: top --often: unknown option; options are --key-file FILE and --once$/m],
    [["--key-file"], /^lmstack: top --key-file: no file is given; /],
    [[router.url], /^lmstack: top http.*: a key is needed; give --key-file /],
    [[router.url, "--key-file", "/no/such"], /^lmstack: --key-file \/no\/such: .*no such file.*; give a file/],
    [[engine.url], /^lmstack: top http.*: there is no console; start the router with --console/],
    [
      ["http://127.0.0.1:1"],
      /^lmstack: top http:\/\/127\.0\.0\.1:1: nobody answers: .*; give the URL of a running router$/m,
    ],
  ];
  for (const [argv, message] of wrong) {
    const { code, err } = await run(t, ["top", ...argv]);
    assert.match(err, message);
    assert.equal(code, 2, argv.join(" "));
  }
});

test("the view fits its terminal, and puts endpoints before requests", () => {
  const endpoint = { models: ["tiny"], state: "ready", queued: 1, running: 2, uptimeMs: 1, ttftMs: [12] };
  const engine = { waiting: 0, running: 2, kvUsage: 0.42, hitRate: 0.875, ageMs: 10 };
  const entry = {
    requestId: "r",
    model: "tiny",
    api: "chat",
    outcome: "ok",
    status: 200,
    endpoint: "a:1",
    attempts: 1,
    reason: "prefix_hit",
    durationMs: 1500,
    firstTokenMs: 40,
    promptTokens: 1,
    generatedTokens: 1,
    cachedTokens: 0,
    error: null,
    scores: null,
    seq: 1,
    atMs: 0,
  };
  const snapshot: Snapshot = {
    nowMs: 0,
    version: "1",
    policy: "p",
    draining: false,
    models: ["tiny"],
    inFlight: 3,
    live: [],
    traffic: [],
    errors: [],
    endpoints: Array.from({ length: 30 }, (_, at) => ({
      ...endpoint,
      id: `10.0.0.${at}:8000`,
      engine: at === 1 ? engine : null,
      problem: at === 0 ? "gone" : null,
    })),
    ended: [entry],
  };
  const all = renderTop(snapshot, { columns: 200, rows: 60, color: false });
  assert.ok(all.some((line) => line === "ok           a:1 (prefix_hit)  first token 40 ms, whole 1.5 s  tiny"));
  assert.ok(
    all.some((line) => /^10\.0\.0\.1:8000 +ready +1 +2 +42 % +88 % +12 ms +tiny$/.test(line)),
    all.join("\n"),
  );
  const small = renderTop(snapshot, { columns: 40, rows: 10, color: true });
  assert.ok(small.length <= 10);
  for (const line of small) assert.ok(line.replaceAll(/\u001b\[\d+m/g, "").length <= 40, line);
  assert.equal(small.at(-1), "and 26 more");
});
