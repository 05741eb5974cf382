// The first moments of a router: engines have not told their models yet. A request for one of them waits to hear of it, within
// bounds of number and time; before, it was answered 503 at once, so that `npm start` and a request right after it failed.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { longestIntroductionMs } from "../../src/proxy/introductions.ts";
import { RawClient, errorOf, get, post, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import { jsonAnswer, startRawEngine, type RawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const ask = (router: TestRouter, model = "test-model", fields: readonly string[] = []): Promise<ClientResponse> =>
  post(router.port, "/v1/chat/completions", { model, messages: [] }, fields);
const underWay = (router: TestRouter): number => router.context.active.size;

interface Stage {
  readonly clock: ManualClock;
  readonly engine: RawEngine;
  readonly router: TestRouter;
  /** The engine answers the checks that wait, and those to come. */
  introduce(): Promise<void>;
  pass(ms: number): Promise<void>;
}

/** A router whose only engine takes its time with telling its models. */
async function stage(t: TestContext, ...argv: string[]): Promise<Stage> {
  const clock = new ManualClock();
  const engine = await startRawEngine(t);
  engine.answersChecks = false;
  const options = ["--static-backends", engine.url, "--hold-timeout-seconds", "60", ...argv];
  const router = await startTestRouter(t, options, { clock, early: true });
  await until(() => engine.checks.length === 1, "it is asked");
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      await turns(4);
    }
  };
  const introduce = async (): Promise<void> => {
    engine.answersChecks = true;
    for (const check of engine.checks) check.connection.socket.end(jsonAnswer({ ok: true }));
    await until(() => router.context.registry.list().every(({ known }) => known), "its models are known");
  };
  return { clock, engine, router, introduce, pass };
}

test("F3: a request that comes before engines have told their models waits for that, and is answered", async (t) => {
  const { clock, engine, router, introduce, pass } = await stage(t);
  const answer = ask(router);
  await until(() => underWay(router) === 1, "it is here");
  await pass(400);
  assert.equal(underWay(router), 1);
  await introduce();
  clock.advance(100);
  assert.equal((await answer).status, 200);
  assert.equal(engine.requests.length, 1);
  assert.equal(router.metric('lmstack_queue_time_seconds_count{model="test-model"}'), 1);
  assert.equal(router.metric('lmstack_queue_time_seconds_sum{model="test-model"}'), 0.5);
  await router.idle();
});

test("F3: a name that turns out to be unknown is 404 as soon as the engines have told theirs", async (t) => {
  const { clock, router, introduce } = await stage(t);
  const answer = ask(router, "typo");
  await until(() => underWay(router) === 1, "it is here");
  await introduce();
  clock.advance(100);
  const error = errorOf(await answer);
  assert.deepEqual([error.status, error.code], [404, "model_not_found"]);
  assert.match(error.message, /known: test-model/);
  assert.doesNotMatch((await get(router.port, "/metrics")).text, /typo/);
  await router.idle();
});

test("F3: it waits ten seconds at most, no longer than its client, and not at all where nothing is held", async (t) => {
  const { router, pass } = await stage(t);
  const hurried = ask(router, "test-model", ["x-request-timeout: 1"]);
  const answer = ask(router);
  await until(() => underWay(router) === 2, "they are here");
  await pass(1000);
  assert.match(errorOf(await hurried).message, /after 1\.0 s, and `test-model` may be one: try again shortly/);
  await pass(longestIntroductionMs - 1200);
  assert.equal(underWay(router), 1);
  await pass(300);
  const error = errorOf(await answer);
  assert.deepEqual([error.status, error.code], [503, "no_endpoint"]);
  assert.ok(Number((await answer).header("retry-after")) > 0);
  await router.idle();

  for (const none of [
    ["--hold-timeout-seconds", "0"],
    ["--max-queued-requests", "0"],
  ]) {
    const { router: at } = await stage(t, ...none);
    assert.match(errorOf(await ask(at)).message, /told their models yet, and `test-model` may be one/);
  }
});

test("F3: as many wait as may wait in the queue, and one whose client leaves makes room", async (t) => {
  const { clock, engine, router, introduce } = await stage(t, "--max-queued-requests", "2");
  const clients = await Promise.all([0, 1].map(() => RawClient.connect(router.port)));
  t.after(() => clients.forEach((client) => client.reset()));
  const question = rawRequest(
    "POST",
    "/v1/completions",
    JSON.stringify({ model: "test-model", prompt: "x".repeat(9000) }),
  );
  for (const client of clients) client.write(question);
  await until(() => router.context.bufferedBytes > 18_000, "two wait");
  assert.deepEqual([errorOf(await ask(router)).status, underWay(router)], [503, 2]);
  clients[0]?.reset();
  await until(() => underWay(router) === 1, "one has left");
  const third = ask(router);
  await until(() => underWay(router) === 2, "another waits in its place");
  await introduce();
  clock.advance(100);
  assert.equal((await third).status, 200);
  await until(() => engine.requests.length === 2, "both that waited have got there");
  assert.equal(router.context.bufferedBytes, 0);
  await router.idle();
});
