// Engines that report their load with answers (ORCA): the router asks where it is told to, believes what it can read, and the
// client sees nothing of it unless it asked itself.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Endpoint } from "../../src/fleet/endpoint.ts";
import { startEngine } from "../../src/engine/serve.ts";
import { RouterLog } from "../../src/observe/log.ts";
import { RouterMetrics } from "../../src/observe/router-metrics.ts";
import { LoadReports } from "../../src/proxy/load-reports.ts";
import type { Scraped } from "../../src/routing/load.ts";
import { RawClient, post, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import { jsonAnswer, startRawEngine, type RawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";

const field = "endpoint-load-metrics";
const asked = (engine: RawEngine): (string | undefined)[] =>
  engine.requests.map((request) => request.header(`${field}-format`));
const chat = (router: TestRouter, fields: readonly string[] = [], model = "test-model"): Promise<ClientResponse> =>
  post(
    router.port,
    "/v1/chat/completions",
    { model, messages: [{ role: "user", content: "hi" }], max_tokens: 2 },
    fields,
  );
const believed = (router: TestRouter): Scraped | null => router.context.registry.list()[0]?.load.scraped ?? null;
const reports = (router: TestRouter, result: string): number =>
  router.metric(`lmstack_load_reports_total{result="${result}"}`);

/** An engine whose answers carry these values, one after another. */
async function reporting(t: TestContext, values: readonly string[], ...argv: string[]) {
  let next = 0;
  const engine = await startRawEngine(t);
  engine.handler = ({ connection }) => {
    const value = values[next++ % values.length] ?? "";
    connection.write(jsonAnswer({ object: "test" }).replace("\r\n", `\r\n${field}: ${value}\r\n`));
  };
  return { engine, router: await startTestRouter(t, ["--static-backends", engine.url, ...argv]) };
}

test("engines are asked only where that is wanted, and of completions and chats only", async (t) => {
  const { engine, router } = await reporting(t, ["TEXT named_metrics.num_requests_waiting=1.0"], "--load-reports");
  await chat(router);
  await post(router.port, "/v1/embeddings", { model: "test-model", input: "hi" });
  assert.deepEqual(asked(engine), ["TEXT", undefined]);
  const { engine: left, router: plain } = await reporting(t, ["TEXT named_metrics.num_requests_waiting=1.0"]);
  await chat(plain);
  assert.deepEqual(asked(left), [undefined]);
});

test("a report is believed at once, each of them, on one connection too; the client does not see it", async (t) => {
  const values = [1, 2, 3, 4].map(
    (n) => `TEXT named_metrics.num_requests_waiting=${n}.0, named_metrics.kv_cache_usage_perc=0.${n}`,
  );
  const { engine, router } = await reporting(t, values, "--load-reports");
  const client = await RawClient.connect(router.port);
  t.after(() => client.reset());
  const body = JSON.stringify({ model: "test-model", messages: [] });
  for (const n of [1, 2, 3, 4]) {
    client.write(rawRequest("POST", "/v1/chat/completions", body));
    const answer = await client.response();
    assert.deepEqual([answer.status, answer.header(field)], [200, undefined]);
    const { waiting, kvUsage } = believed(router) ?? {};
    assert.deepEqual([waiting, kvUsage], [n, n / 10]);
  }
  assert.equal(engine.connections.length, 1);
  assert.deepEqual([reports(router, "used"), reports(router, "unreadable")], [4, 0]);
  await router.idle();
});

test("a client that asks itself gets the report, in its own format, and the router reads it as well", async (t) => {
  for (const argv of [["--load-reports"], []]) {
    const value = 'JSON {"named_metrics": {"num_requests_waiting": 7.0}}';
    const { engine, router } = await reporting(t, [value, value.replace("7", "8"), value], ...argv);
    for (const n of [7, 8, 7]) {
      const answer = await chat(router, [`Endpoint-Load-Metrics-Format: JSON`]);
      assert.equal(answer.header(field), value.replace("7", String(n)));
      assert.equal(believed(router)?.waiting, n);
    }
    assert.deepEqual(asked(engine), ["JSON", "JSON", "JSON"]);
    const own = await chat(router);
    assert.equal(own.header(field) === undefined, argv.length > 0, "where nobody asked, an answer passes as it came");
  }
});

test("a report of nonsense is left aside and counted, and the answer is none the worse for it", async (t) => {
  const values = ["TEXT \x80\xff=;;", 'JSON {"named', "BIN AAAA", `TEXT ${"x".repeat(5000)}`, "  "];
  const { router } = await reporting(t, values, "--load-reports");
  for (let i = 0; i < values.length; i++) {
    const answer = await chat(router);
    assert.deepEqual([answer.status, answer.json()], [200, { object: "test" }]);
  }
  assert.equal(believed(router), null);
  assert.deepEqual([reports(router, "used"), reports(router, "unreadable")], [0, values.length]);
});

test("a report that can't be read is logged once for each engine, and not in full", () => {
  let text = "";
  const sink = { write: (more: string) => void (text += more), flush: () => undefined, flushSync: () => undefined };
  const log = new RouterLog({ level: "info", format: "text", routingLine: false }, sink);
  const taker = new LoadReports(new RouterMetrics({ legacy: false, windowMs: 1000 }), log);
  const [one, two] = ["10.0.0.1:8000", "10.0.0.2:8000"].map((id) => ({ id }) as Endpoint);
  assert.ok(one !== undefined && two !== undefined);
  for (const endpoint of [one, one, two]) taker.take(endpoint, `\u001b[31m${"x".repeat(9000)}`, 0);
  log.close();
  const lines = text.trimEnd().split("\n");
  assert.equal(lines.length, 2, text);
  assert.match(lines[0] ?? "", /engine 10\.0\.0\.1:8000 reports a load that can't be read: "\\u001b\[31mx+\.\.\."/);
  assert.ok(text.length < 500);
});

test("a report goes the way of a look at the metrics: it keeps what it does not say, and counts what others have", async (t) => {
  const { router } = await reporting(t, ["TEXT named_metrics.num_requests_waiting=5.0"], "--load-reports");
  const load = router.context.registry.list()[0]?.load;
  assert.ok(load !== undefined);
  const lookedAtMs = router.context.clock.nowMs() - 4000;
  load.told({ running: 10, waiting: 2, kvUsage: 0.5 }, lookedAtMs);
  await chat(router);
  const told = believed(router);
  assert.ok(told !== null && told.atMs > lookedAtMs);
  // others had twelve requests there, and the one that was answered is this router's
  assert.deepEqual([told.running, told.waiting, told.kvUsage, told.own], [8, 5, 0.5, 1]);
});

test("simulated engines report as vLLM does: whole completions and chats, in the format that was asked for", async (t) => {
  const engine = await startEngine({ models: ["test-model"], preset: "fast" });
  t.after(() => engine.close());
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--load-reports"]);
  const text =
    /^TEXT named_metrics\.num_requests_waiting=0\.0, named_metrics\.kv_cache_usage_perc=(0\.\d+|\d\.?\d*e-\d+)$/;
  assert.equal((await chat(router)).header(field), undefined);
  const { waiting, kvUsage = -1 } = believed(router) ?? {};
  assert.ok(waiting === 0 && kvUsage >= 0 && kvUsage < 1);
  assert.equal(reports(router, "used"), 1);
  const body = { model: "test-model", prompt: "hi", max_tokens: 2 };
  const ask = (format: string, more: object = {}): Promise<ClientResponse> =>
    post(router.port, "/v1/completions", { ...body, ...more }, [`endpoint-load-metrics-format: ${format}`]);
  assert.match((await ask("text")).header(field) ?? "", text);
  assert.match(
    (await ask("Json")).header(field) ?? "",
    /^JSON \{"named_metrics": \{"num_requests_waiting": 0\.0, "kv_/,
  );
  assert.equal((await ask("BIN")).header(field), undefined);
  assert.equal((await ask("TEXT", { stream: true })).header(field), undefined, "streams carry none");
});
