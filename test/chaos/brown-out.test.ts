// One of four engines refuses, or answers 503, for a while: nobody is told, and it gets traffic again soon after its return.
// The public figures behind it: of 200 requests others failed 0 to 50 here, of 500 up to 125, and an engine that had
// healed idled for 31 s (vllm-project/router) and 55 s (smg).
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { jsonAnswer, RawEngine, wholeStream, type RawRequest } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { Load } from "./load.ts";

function good({ body, connection }: RawRequest): void {
  const stream = body.includes('"stream":true');
  connection.write(stream ? wholeStream("one", "two") : jsonAnswer({ choices: [{ index: 0, text: "one two" }] }));
}

async function fleet(t: TestContext, policy: string): Promise<{ engines: RawEngine[]; router: TestRouter }> {
  const engines = Array.from({ length: 4 }, () => new RawEngine({ models: ["m"], handler: good }));
  await Promise.all(engines.map((engine) => engine.listen()));
  t.after(() => {
    for (const engine of engines) engine.kill();
  });
  const urls = engines.map(({ url }) => url).join(",");
  return { engines, router: await startTestRouter(t, ["--static-backends", urls, "--routing-logic", policy]) };
}

/** Milliseconds from now until the engine gets a request. */
async function back(engine: RawEngine, limitMs: number): Promise<number> {
  const before = engine.requests.length;
  const began = performance.now();
  await until(() => engine.requests.length > before, `it gets traffic again within ${limitMs / 1000} s`, limitMs);
  return performance.now() - began;
}

test("B1, E2: one of four engines refuses for a while: 0 of 200 requests fail, and it is back within 5 s", async (t) => {
  const { engines, router } = await fleet(t, "roundrobin");
  const [gone] = engines;
  assert.ok(gone);
  const { port } = gone;
  const load = new Load(t, { port: router.port, perSecond: 50, model: "m", tokens: 2 });
  await until(() => load.ended >= 20, "the load runs");
  gone.kill();
  await until(() => load.ended >= 200, "200 requests have ended");
  await gone.listen(port);
  const tookMs = await back(gone, 5_000);
  await load.stop();
  assert.deepEqual(load.failures, []);
  await router.idle();
  t.diagnostic(`${load.ended} requests, none failed; traffic ${Math.round(tookMs)} ms after its return`);
});

test("B3, E2: one of four engines answers 503 for 5 s: 0 of 500 requests fail, and it is back within 3 s", async (t) => {
  const { engines, router } = await fleet(t, "leastload");
  const [ill] = engines;
  assert.ok(ill);
  const load = new Load(t, { port: router.port, perSecond: 100, model: "m", tokens: 2 });
  await until(() => load.ended >= 20, "the load runs");
  ill.handler = ({ connection }) => connection.write(jsonAnswer({ detail: "no upstream" }, 503));
  const began = performance.now();
  await until(() => performance.now() - began > 5_000 && load.ended >= 500, "5 s and 500 requests are over");
  ill.handler = good;
  const tookMs = await back(ill, 3_000);
  await load.stop();
  assert.deepEqual(load.failures, []);
  await router.idle();
  t.diagnostic(`${load.ended} requests, none failed; traffic ${Math.round(tookMs)} ms after it was well`);
});
