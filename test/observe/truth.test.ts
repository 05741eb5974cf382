// Numbers that others read for decisions, against what really happened: the names of production-stack, OpenTelemetry's, and
// the time that a stream's first token took. The bugs behind it: rivals count a client's leaving as success, never set half
// of their gauges, and see tokens only in answers that are no stream.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { RouterMetrics } from "../../src/observe/router-metrics.ts";
import { Distribution } from "../../src/observe/series.ts";
import { StreamPace } from "../../src/proxy/stream-pace.ts";
import { startEngine, type RunningEngine } from "../../src/engine/serve.ts";
import { post, RawClient, rawRequest } from "../helpers/http-client.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

async function stack(
  t: TestContext,
  flags: readonly string[] = [],
): Promise<{ engine: RunningEngine; router: TestRouter }> {
  const engine = await startEngine({ preset: "fast", models: ["m"], simApi: true });
  t.after(() => engine.close());
  return { engine, router: await startTestRouter(t, ["--static-backends", engine.url, ...flags]) };
}

const prompt = { model: "m", prompt: "The rivers of the world", ignore_eos: true };

test("streams, plain answers, errors and clients that leave are each counted as what they are", async (t) => {
  const { engine, router } = await stack(t);
  const { port, metric } = router;
  const labels = `server="${engine.url}",model="m"`;

  const plain = (await post(port, "/v1/completions", { ...prompt, max_tokens: 7 })).json() as {
    usage: { prompt_tokens: number };
  };
  const stream = { ...prompt, stream: true, stream_options: { include_usage: true } };
  await post(port, "/v1/completions", { ...stream, max_tokens: 9 });
  await post(port, "/v1/completions", { ...prompt, max_tokens: -1 });
  await post(port, "/v1/completions", { model: "nobody" });
  engine.setFault({ fault: "error_status", status: 502 });
  await post(port, "/v1/completions", { ...prompt, max_tokens: 7 });
  engine.clearFaults();
  const leaver = await RawClient.connect(port);
  engine.setFault({ fault: "stall_mid_stream", after: 2 });
  leaver.write(rawRequest("POST", "/v1/completions", JSON.stringify({ ...stream, max_tokens: 50 })));
  await leaver.sees("data: ");
  leaver.close();
  await router.idle();

  assert.equal(metric(`vllm:num_incoming_requests_total{model="m"}`), 5);
  assert.equal(metric(`vllm:input_tokens_total{${labels}}`), 2 * plain.usage.prompt_tokens);
  assert.equal(metric(`vllm:output_tokens_total{${labels}}`), 16);
  assert.equal(metric(`vllm:request_latency_seconds_count{${labels},status="success"}`), 2);
  assert.equal(metric(`vllm:request_latency_seconds_count{${labels},status="cancelled"}`), 1);
  assert.equal(metric(`vllm:request_latency_seconds_count{${labels},status="error"}`), 2);
  assert.equal(metric(`vllm:request_errors_total{${labels},error_type="engine_error"}`), 1);
  assert.equal(metric(`vllm:healthy_pods_total{server="${engine.url}"}`), 1);
  assert.equal(metric(`vllm:current_qps{server="${engine.url}"}`) > 0, true);
  assert.ok(metric(`vllm:avg_itl{server="${engine.url}"}`) > 0);
  assert.ok(metric(`vllm:avg_decoding_length{server="${engine.url}"}`) > 0);

  assert.equal(metric('lmstack_responses_total{model="m",status_class="2xx"}'), 3, "the leaver had its 200");
  assert.equal(metric('lmstack_responses_total{model="m",status_class="4xx"}'), 1);
  assert.equal(metric('lmstack_responses_total{model="m",status_class="5xx"}'), 1);
  assert.equal(metric('lmstack_responses_total{model="other",status_class="4xx"}'), 1);
  assert.equal(metric('lmstack_generated_tokens_total{model="m"}'), 16);
  assert.equal(
    metric('lmstack_time_to_first_token_seconds_count{model="m"}'),
    2,
    "a plain answer has no first token to see",
  );
  const endpoint = `endpoint="127.0.0.1:${engine.port}"`;
  assert.equal(metric(`lmstack_endpoint_time_to_first_token_seconds_count{${endpoint}}`), 2);
  assert.equal(metric('lmstack_router_overhead_seconds_count{model="m"}'), 5);
  assert.equal(metric("lmstack_engine_connect_seconds_count") > 0, true);

  const genAi =
    'gen_ai_operation_name="text_completion",gen_ai_provider_name="vllm",gen_ai_request_model="m",gen_ai_response_model="m"';
  assert.equal(metric(`gen_ai_server_request_duration_seconds_count{${genAi},error_type=""}`), 2);
  assert.equal(metric(`gen_ai_server_request_duration_seconds_count{${genAi},error_type="engine_error"}`), 1);
  assert.equal(metric(`gen_ai_server_time_to_first_token_seconds_count{${genAi}}`), 1);
  assert.equal(metric(`gen_ai_server_time_per_output_token_seconds_count{${genAi}}`), 1);
});

test("the time between two tokens is measured as they come", async (t) => {
  const slow = { id: "slow", b0Us: 30_000, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 1000 };
  const engine = await startEngine({ preset: slow, models: ["m"] });
  t.after(() => engine.close());
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  await post(router.port, "/v1/completions", { ...prompt, stream: true, max_tokens: 11 });
  await router.idle();
  const of = (name: string): number => router.metric(`lmstack_${name}{model="m"}`);
  const count = of("inter_token_latency_seconds_count");
  assert.ok(count >= 1 && count <= 11, `${count} gaps: a busy machine reads several tokens at once`);
  const streamed = of("request_duration_seconds_sum") - of("time_to_first_token_seconds_sum");
  const sum = of("inter_token_latency_seconds_sum");
  assert.ok(sum > streamed / 2 && sum <= streamed + 0.001, `${sum} s of ${streamed} s: all of the time is shared out`);
});

test("a silence within a stream is measured as one gap, and a client's slowness is none of the engine's", () => {
  const gaps = new Distribution("", [0.015, 0.05, 0.2, 1]);
  const pace = new StreamPace(gaps, 10, 1_000);
  pace.look(20, 1_100);
  assert.deepEqual([...gaps.counts], [10, 0, 0, 0, 0]);
  pace.look(20, 1_200);
  pace.look(20, 1_300);
  pace.look(22, 1_400);
  assert.deepEqual([...gaps.counts], [10, 1, 0, 1, 0], "250 ms of silence, then one after 50 ms");
  assert.ok(Math.abs(gaps.sum - 0.4) < 1e-9, "all of the time is shared out");
  pace.skip(30, 9_000);
  pace.look(31, 9_010);
  assert.deepEqual([...gaps.counts], [11, 1, 0, 1, 0]);
});

test("an endpoint's uptime begins when it is ready, and anew when it comes back", async (t) => {
  const clock = new ManualClock(1_000);
  const { engine } = await stack(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url], { clock });
  const [endpoint] = router.context.registry.list();
  assert.ok(endpoint !== undefined);
  const uptime = (): number => router.metric(`lmstack_endpoint_uptime_seconds{endpoint="${endpoint.id}"}`);
  clock.advance(5_000);
  assert.equal(uptime(), 5);
  endpoint.breaker.checkFailed(clock.nowMs());
  assert.equal(uptime(), 0);
  assert.equal(router.metric(`lmstack_endpoint_state{endpoint="${endpoint.id}",state="ejected"}`), 1);
  assert.equal(router.metric(`lmstack_endpoint_state{endpoint="${endpoint.id}",state="ready"}`), 0);
  endpoint.breaker.checkPassed(clock.nowMs());
  assert.ok(endpoint.breaker.picked(clock.nowMs()));
  endpoint.breaker.success(clock.nowMs());
  clock.advance(2_000);
  assert.equal(uptime(), 2);
  const moved = (to: string): number =>
    router.metric(`lmstack_endpoint_breaker_transitions_total{endpoint="${endpoint.id}",to="${to}"}`);
  assert.deepEqual(["ejected", "probing", "slow_start"].map(moved), [1, 1, 1]);
});

test("gauges over a window speak of that window, and say -1 where nothing ended in it", () => {
  const metrics = new RouterMetrics({ legacy: true, windowMs: 60_000 });
  const endpoint = metrics.endpoint({ id: "e:1", url: "http://e:1" });
  for (let ms = 0; ms < 120_000; ms += 500) endpoint.sent(ms);
  assert.ok(Math.abs(endpoint.recent(120_000).perSecond - 2) < 0.05);
  assert.equal(endpoint.recent(120_000).duration, null);
  endpoint.began(120_000, 250);
  endpoint.ended("m", {
    api: "chat",
    outcome: "ok",
    status: 200,
    nowMs: 121_000,
    durationMs: 1_250,
    firstTokenMs: 250,
    overheadMs: 0.1,
    usage: { promptTokens: 10, completionTokens: 11, cachedTokens: 0 },
    exemplar: null,
  });
  const recent = endpoint.recent(121_000);
  assert.deepEqual([recent.duration, recent.firstToken, recent.decoding, recent.perToken], [1.25, 0.25, 1, 0.1]);
  assert.equal(endpoint.recent(300_000).duration, null, "forgotten");
});

test("--log-stats prints what each engine did, as text and as JSON", async (t) => {
  const clock = new ManualClock();
  const { engine } = await stack(t);
  const router = await startTestRouter(
    t,
    ["--static-backends", engine.url, "--log-stats", "--log-stats-interval", "5"],
    {
      clock,
    },
  );
  await post(router.port, "/v1/completions", { ...prompt, max_tokens: 3 });
  await router.idle();
  const rows: object[][] = [];
  router.running.log.stats = (given) => void rows.push([...given]);
  clock.advance(5_000);
  await until(() => rows.length === 1, "a table is printed");
  const [row] = rows[0] ?? [];
  assert.deepEqual(
    { ...row, qps: 0, avgLatency: 0, uptimeSeconds: 0 },
    {
      models: ["m"],
      server: engine.url,
      state: "ready",
      prefillRequests: 0,
      decodingRequests: 0,
      qps: 0,
      avgTtft: null,
      avgLatency: 0,
      avgItl: null,
      finished: 1,
      uptimeSeconds: 0,
    },
  );
  clock.advance(5_000);
  await until(() => rows.length === 2, "and the next");
});
