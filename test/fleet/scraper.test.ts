// Looking at engines' metrics, on sockets: what is learnt of them, and that one which says nothing does no harm.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import { post } from "../helpers/http-client.ts";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

const model = "test-model";
const often = ["--engine-stats-interval", "0.05"];

const words = "the quick brown fox jumps over the lazy dog ".repeat(60);
const ask = (router: TestRouter, text = words) =>
  post(router.port, "/v1/completions", { model, prompt: text, max_tokens: 4 });

/**
 * The same prompt until an engine that has it answers again. On a machine that stood still for a moment the other of two may
 * be thought quicker once, so the third time at the latest.
 */
async function askUntilHit(router: TestRouter): Promise<void> {
  const hits = (): number => router.metric('lmstack_choices_total{policy="prefixaware",reason="prefix_hit"}');
  for (let i = 0; i < 3 && hits() === 0; i++) assert.equal((await ask(router)).status, 200);
  assert.equal(hits(), 1);
}

async function twoEngines(t: TestContext) {
  const options = { models: [model], preset: "fast", blockSize: 16, numGpuBlocks: 700 } as const;
  const engines = await Promise.all([0, 1].map((seed) => startEngine({ ...options, seed })));
  for (const engine of engines) t.after(() => engine.close());
  const router = await startTestRouter(t, ["--static-backends", engines.map(({ url }) => url).join(","), ...often]);
  return { engines, router };
}

test("the size of an engine's cache bounds what is believed to be in it", async (t) => {
  const { router } = await twoEngines(t);
  const { index } = router.context.prefixes;
  const ids = router.context.registry.list().map(({ id }) => id);
  await until(() => ids.every((id) => index.capacityTokens(id) === 700 * 16), "both sizes are known");
  for (const { load } of router.context.registry.list()) {
    assert.equal(load.capacityTokens, 700 * 16);
    assert.equal(load.scraped?.running, 0);
  }
});

test("an engine that has restarted is taken for empty, though it never was out", async (t) => {
  const { engines, router } = await twoEngines(t);
  const { context } = router;
  const stats = (): boolean => context.registry.list().every(({ load }) => load.scraped !== null);
  await until(stats, "both were looked at");
  await askUntilHit(router);
  const home = engines.findIndex((engine) => engine.state().finished === 2);
  const port = engines[home]?.port ?? 0;
  const id = `127.0.0.1:${port}`;
  const endpoint = context.registry.find(id);
  // the counters of the two requests have been seen
  const seenAt = endpoint?.load.scraped?.atMs ?? 0;
  await until(() => (endpoint?.load.scraped?.atMs ?? 0) > seenAt + 120, "it was looked at again");
  const had = context.prefixes.index.nodes;
  assert.ok(had > 0);
  // of the one prompt that there is, each of them has as much
  const holders = engines.filter((engine) => engine.state().finished > 0).length;
  await engines[home]?.close();
  const next = await startEngine({ models: [model], preset: "fast", port });
  t.after(() => next.close());
  await until(() => context.prefixes.index.nodes === had - had / holders, "its prefixes are forgotten, and no other's");
});

test("requests of other routers are seen: their share of the work, and what they have waiting", async (t) => {
  const { engines, router } = await twoEngines(t);
  const stats = (): boolean => router.context.registry.list().every(({ load }) => load.scraped !== null);
  await until(stats, "both were looked at");
  assert.equal(router.context.routing.othersShare, 0);
  const direct = async (url: string): Promise<void> => {
    const body = JSON.stringify({ model, prompt: "hello", max_tokens: 2 });
    await (
      await fetch(`${url}/v1/completions`, { method: "POST", body, headers: { "content-type": "application/json" } })
    ).text();
  };
  for (let i = 0; i < 20; i++) {
    await ask(router, `${words}${i}`);
    for (const { url } of engines) await direct(url);
  }
  await until(() => router.context.routing.othersShare > 0.5, "two of three requests are not ours");
  assert.ok(router.context.routing.othersShare < 0.8, String(router.context.routing.othersShare));
});

for (const [what, metrics] of [
  ["not there", null],
  ["a page", "<html>"],
  ["empty", ""],
  ["garbage under vLLM's names", "vllm:num_requests_running NaN\nvllm:cache_config_info{{{\n\0"],
] as const) {
  test(`engines whose metrics are ${what} are routed to as well`, async (t) => {
    const engines = await Promise.all([0, 1].map(() => startRawEngine(t)));
    for (const engine of engines) engine.metrics = metrics;
    const router = await startTestRouter(t, ["--static-backends", engines.map(({ url }) => url).join(","), ...often]);
    const looks = (): number =>
      engines.flatMap(({ checks }) => checks).filter(({ target }) => target === "/metrics").length;
    await until(() => looks() >= 3, "they were looked at");
    for (let i = 0; i < 3; i++) assert.equal((await ask(router)).status, 200);
    for (const { load } of router.context.registry.list()) assert.equal(load.capacityTokens, 0);
  });
}

test("an engine that tells its load and not the size of its cache is believed to have a usual one", async (t) => {
  const engines = await Promise.all([0, 1].map(() => startRawEngine(t)));
  const gauges = ["num_requests_running 3", "num_requests_waiting 2", "kv_cache_usage_perc 0.25"];
  for (const engine of engines) engine.metrics = gauges.map((line) => `vllm:${line}\n`).join("");
  const router = await startTestRouter(t, ["--static-backends", engines.map(({ url }) => url).join(","), ...often]);
  const { prefixes, registry } = router.context;
  await until(() => registry.list().every(({ load }) => load.scraped !== null), "both were looked at");
  for (const { load } of registry.list()) {
    const { running, waiting, kvUsage } = load.scraped ?? {};
    assert.deepEqual([running, waiting, kvUsage, load.capacityTokens], [3, 2, 0.25, 0]);
  }
  await askUntilHit(router);
  const sizes = registry.list().map(({ id }) => prefixes.index.capacityTokens(id));
  assert.ok(sizes.includes(450_000), String(sizes));
});
