// Row F3: a model that is known and has no engine at present. Its requests wait for one, within bounds of number, tokens and
// time; a model that nobody knows is told so at once.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { EndpointSpec } from "../../src/config/types.ts";
import { RouterLog } from "../../src/observe/log.ts";
import { RouterMetrics } from "../../src/observe/router-metrics.ts";
import { Holds } from "../../src/proxy/holds.ts";
import { RawClient, errorOf, get, post, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import { jsonAnswer, startRawEngine, type RawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

const model = "scaled-model";
const ask = (router: TestRouter, user = "", fields: readonly string[] = []): Promise<ClientResponse> =>
  post(router.port, "/v1/chat/completions", { model, user, messages: [] }, fields);
const waiting = (router: TestRouter): number => router.metric(`lmstack_queue_length{model="${model}"}`);
const held = (router: TestRouter, result: string): number =>
  router.metric(`lmstack_held_requests_total{model="${model}",result="${result}"}`);
const specOf = ({ url }: RawEngine): EndpointSpec => ({ url, models: null, label: null, modelType: null });

/** A router whose `scaled-model` has no engine; another model has one. */
async function scaledToZero(t: TestContext, ...argv: string[]): Promise<{ router: TestRouter; other: RawEngine }> {
  const other = await startRawEngine(t, { models: ["other-model"] });
  const options = ["--static-backends", other.url, "--known-models", model, "--hold-timeout-seconds", "60", ...argv];
  return { router: await startTestRouter(t, options), other };
}

/** The engines of the fleet from now on. */
function scale(router: TestRouter, ...engines: readonly RawEngine[]): void {
  router.running.apply({ ...router.context.config.dynamic, endpoints: engines.map(specOf) }, "scaled");
}

test("F3: requests for a known model without an engine wait for one, and go to it in the order in which they came", async (t) => {
  const { router, other } = await scaledToZero(t);
  const answers: Promise<ClientResponse>[] = [];
  for (let i = 0; i < 5; i++) {
    answers.push(ask(router, `user-${i}`));
    await until(() => waiting(router) === i + 1, "it waits");
  }
  const engine = await startRawEngine(t, { models: [model] });
  scale(router, other, engine);
  for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(
    engine.requests.map(({ body }) => /user-\d/.exec(body.toString())?.[0]),
    ["user-0", "user-1", "user-2", "user-3", "user-4"],
  );
  assert.equal(other.requests.length, 0);
  assert.deepEqual([waiting(router), held(router, "found"), held(router, "timeout")], [0, 5, 0]);
  assert.equal(router.metric(`lmstack_queue_time_seconds_count{model="${model}"}`), 5);
  await router.idle();
});

test("F3: an engine that is listed and not up yet is waited for", async (t) => {
  const engine = await startRawEngine(t, { models: [model] });
  engine.answersChecks = false;
  const options = ["--static-backends", engine.url, "--static-models", model, "--hold-timeout-seconds", "60"];
  const router = await startTestRouter(t, options, { early: true });
  const answer = ask(router);
  await until(() => waiting(router) === 1, "it waits");
  for (const check of engine.checks) check.connection.socket.end(jsonAnswer({ ok: true }));
  engine.answersChecks = true;
  assert.equal((await answer).status, 200);
});

test("F3: when none comes in time the answer is 503, worth repeating, and says for how long it was waited", async (t) => {
  const { router } = await scaledToZero(t, "--hold-timeout-seconds", "0.2");
  const answer = await ask(router);
  const error = errorOf(answer);
  assert.deepEqual([error.status, error.code], [503, "no_endpoint"]);
  assert.match(error.message, /`scaled-model` is ready after 0\.[2-9] s \(none\)/);
  assert.ok(Number(answer.header("retry-after")) > 0);
  assert.equal(answer.header("x-should-retry"), "true");
  assert.deepEqual([waiting(router), held(router, "timeout")], [0, 1]);
  assert.equal(router.metric(`lmstack_requests_total{model="${model}",api="chat",outcome="no_endpoint"}`), 1);
});

test("F3: with --hold-timeout-seconds 0 it is told at once, and a model that nobody knows is 404 whatever is held", async (t) => {
  const { router } = await scaledToZero(t, "--hold-timeout-seconds", "0");
  assert.equal(errorOf(await ask(router)).code, "no_endpoint");
  const { router: holding } = await scaledToZero(t);
  const unknown = errorOf(await post(holding.port, "/v1/chat/completions", { model: "typo", messages: [] }));
  assert.deepEqual([unknown.status, unknown.code], [404, "model_not_found"]);
  assert.match(unknown.message, /other-model, scaled-model/);
  const listed = (await get(holding.port, "/v1/models")).json() as { data: { id: string }[] };
  assert.deepEqual(listed.data.map(({ id }) => id).toSorted(), ["other-model", "scaled-model"]);
});

test("F3: what is held is bounded, in requests and in tokens", async (t) => {
  const few = await scaledToZero(t, "--max-queued-requests", "2");
  const clients = await Promise.all([0, 1].map(() => RawClient.connect(few.router.port)));
  t.after(() => clients.forEach((client) => client.reset()));
  for (const client of clients) client.write(rawRequest("POST", "/v1/completions", JSON.stringify({ model })));
  await until(() => waiting(few.router) === 2, "two wait");
  const third = await ask(few.router);
  assert.equal(errorOf(third).code, "queue_full");
  assert.equal(third.status, 429);
  assert.match(errorOf(third).message, /No endpoint of the model .* is there, and 2 requests wait already/);
  assert.ok(Number(third.header("retry-after")) > 0);

  const short = await scaledToZero(t, "--max-queued-tokens", "10000");
  const client = await RawClient.connect(short.router.port);
  t.after(() => client.reset());
  client.write(rawRequest("POST", "/v1/completions", JSON.stringify({ model, prompt: "a ".repeat(15_000) })));
  await until(() => waiting(short.router) === 1, "one waits");
  const long = await post(short.router.port, "/v1/completions", { model, prompt: "b ".repeat(15_000) });
  assert.equal(errorOf(long).code, "queue_full");
});

test("D2, F3: a client that leaves while its request is held is forgotten at once, and its memory given back", async (t) => {
  const { router, other } = await scaledToZero(t);
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/completions", JSON.stringify({ model, prompt: "x".repeat(100_000) })));
  await until(() => waiting(router) === 1, "it waits");
  assert.ok(router.context.bufferedBytes > 100_000);
  client.reset();
  await until(() => waiting(router) === 0, "it is forgotten");
  await router.idle();
  assert.equal(router.context.bufferedBytes, 0);
  assert.equal(held(router, "left"), 1);
  const engine = await startRawEngine(t, { models: [model] });
  scale(router, other, engine);
  assert.equal((await ask(router)).status, 200);
  assert.equal(engine.requests.length, 1, "nobody generates for a client that has left");
});

test("F3: a request waits no longer than its client says", async (t) => {
  const { router } = await scaledToZero(t);
  const error = errorOf(await ask(router, "", ["x-request-timeout: 0.3"]));
  assert.deepEqual([error.status, error.code], [503, "queue_timeout"]);
  assert.equal(held(router, "left"), 1);
});

test("F3: the log says when a model has no engine, and when it has one again", () => {
  let text = "";
  const sink = { write: (more: string) => void (text += more), flush: () => undefined, flushSync: () => undefined };
  const log = new RouterLog({ level: "info", format: "text", routingLine: false }, sink);
  const holds = new Holds(new RouterMetrics({ legacy: false, windowMs: 1000 }), log);
  holds.began("m");
  holds.began("m");
  holds.ended("m", "found", 1234);
  holds.ended("m", "found", 1200);
  holds.began("n");
  holds.ended("n", "timeout", 60_000);
  log.close();
  const lines = text.trimEnd().split("\n");
  assert.equal(lines.length, 4, text);
  assert.match(lines[0] ?? "", /model m: no engine may be used, its requests wait for one/);
  assert.match(lines[1] ?? "", /model m: an engine is there after 1\.2 s/);
  assert.match(lines[3] ?? "", /model n: no engine came, the last request that waited was given up after 60\.0 s/);
});
