// What engines say of themselves, under the router's names and production-stack's. The bugs behind it: a rival copies names that
// engines have not had for years, so that its hit rate is 0 for ever, and shows what an engine said last long after its end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

const often = ["--engine-stats-interval", "0.05"];

/** Two ranks behind one address. */
function exposition(names: { usage: string; cache: string }, hits: number): string {
  return `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:${names.usage}{engine="0",model_name="m"} 0.25
vllm:${names.usage}{engine="1",model_name="m"} 0.75
vllm:${names.cache}_queries_total{engine="0",model_name="m"} ${1000 + 2 * hits}.0
vllm:${names.cache}_hits_total{engine="0",model_name="m"} ${hits}.0
process_start_time_seconds ${Math.floor(Date.now() / 1000) - 500}
`;
}

for (const [what, names] of [
  ["an engine of today", { usage: "kv_cache_usage_perc", cache: "prefix_cache" }],
  ["an engine of vLLM 0.9", { usage: "gpu_cache_usage_perc", cache: "gpu_prefix_cache" }],
] as const) {
  test(`what ${what} says of itself is told on, all of its ranks together`, async (t) => {
    const engine = await startRawEngine(t);
    engine.metrics = exposition(names, 400);
    const { metric } = await startTestRouter(t, ["--static-backends", engine.url, ...often]);
    const id = `endpoint="127.0.0.1:${engine.port}"`;
    const server = `server="${engine.url}"`;
    await until(() => metric(`lmstack_engine_requests{${id},phase="running"}`) === 7, "its figures were read");
    assert.equal(metric(`lmstack_engine_requests{${id},phase="waiting"}`), 2);
    assert.equal(metric(`lmstack_engine_kv_usage_ratio{${id}}`), 0.5);
    assert.equal(metric(`lmstack_engine_cache_query_tokens_total{${id}}`), 1800);
    assert.equal(metric(`lmstack_engine_cache_hit_tokens_total{${id}}`), 400);
    const uptime = metric(`lmstack_engine_uptime_seconds{${id}}`);
    assert.ok(uptime >= 499 && uptime < 560, `${uptime}`);
    assert.ok(metric(`lmstack_engine_scrape_age_seconds{${id}}`) < 30);
    assert.equal(metric(`vllm:gpu_prefix_cache_queries_total{${server}}`), 1800);
    assert.equal(metric(`vllm:gpu_prefix_cache_hits_total{${server}}`), 400);
    // of 200 tokens more 100 were found: what matters is how it does now, not since its start
    engine.metrics = exposition(names, 500);
    await until(() => metric(`vllm:gpu_prefix_cache_hit_rate{${server}}`) === 0.5, "its new figures were read");
    assert.equal(metric(`lmstack_engine_cache_hit_tokens_total{${id}}`), 500);
  });
}

test("figures of an engine that tells none any more end, and only their age goes on", async (t) => {
  const engine = await startRawEngine(t);
  engine.metrics = exposition({ usage: "kv_cache_usage_perc", cache: "prefix_cache" }, 400);
  const { metric, context } = await startTestRouter(t, ["--static-backends", engine.url, ...often]);
  const id = `endpoint="127.0.0.1:${engine.port}"`;
  const told = (): string[] =>
    context.metrics.registry
      .render()
      .split("\n")
      .filter(
        (line) => /^(lmstack_engine_[a-z_]+\{endpoint|vllm:gpu_prefix)/.test(line) && !line.includes("_connections"),
      )
      .map((line) => line.slice(0, line.search(/[{]/)));
  await until(() => told().length === 10, "its figures were read");
  engine.metrics = "";
  await until(() => told().length === 1, "they are too old");
  assert.deepEqual(told(), ["lmstack_engine_scrape_age_seconds"]);
  assert.ok(metric(`lmstack_engine_scrape_age_seconds{${id}}`) > 0.15);
  engine.metrics = exposition({ usage: "kv_cache_usage_perc", cache: "prefix_cache" }, 450);
  await until(() => told().length === 10, "it tells them again");
  assert.equal(metric(`lmstack_engine_cache_hit_tokens_total{${id}}`), 450);
});

test("without a look at engines' metrics there is no figure of theirs", async (t) => {
  const engine = await startRawEngine(t);
  const { context } = await startTestRouter(t, ["--static-backends", engine.url]);
  assert.doesNotMatch(
    context.metrics.registry.render(),
    /^lmstack_engine_(requests|kv|cache|scrape|uptime)[^\n]* [\d.]+$/m,
  );
});

test("the wait that is told is what is queued there at the rate that was learnt", async (t) => {
  const engine = await startRawEngine(t);
  const { metric, context } = await startTestRouter(t, ["--static-backends", engine.url]);
  const [endpoint] = context.registry.list();
  assert.ok(endpoint !== undefined);
  const id = `endpoint="${endpoint.id}"`;
  assert.equal(metric(`lmstack_endpoint_estimated_wait_seconds{${id}}`), 0);
  const ticket = endpoint.load.send(1e9, 1e9, 10, context.clock.nowMs());
  const seconds = metric(`lmstack_endpoint_estimated_wait_seconds{${id}}`);
  const tokens = metric(`lmstack_endpoint_queued_tokens{${id}}`);
  const perSecond = metric(`lmstack_endpoint_prefill_tokens_per_second{${id}}`);
  assert.ok(Math.abs(seconds - tokens / perSecond) < 1, `${seconds} s for ${tokens} tokens at ${perSecond}`);
  ticket.release(context.clock.nowMs());
  assert.equal(metric(`lmstack_endpoint_estimated_wait_seconds{${id}}`), 0);
});
