// Rows E1, E2, E3, E5 and G3 through a router: traffic only to endpoints that were checked, one probe to those that failed,
// and none of them takes the others down.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import type { EndpointSpec } from "../../src/config/types.ts";
import { Random } from "../../src/engine/core/index.ts";
import { startEngine } from "../../src/engine/serve.ts";
import { RouterLog } from "../../src/observe/log.ts";
import { RawClient, get, post, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import {
  chunk,
  done,
  event,
  jsonAnswer,
  lastChunk,
  startRawEngine,
  streamHead,
  type RawEngine,
} from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const body = '{"model":"test-model","messages":[]}';
const ask = async (router: TestRouter): Promise<number> =>
  (await post(router.port, "/v1/chat/completions", body)).status;
const specs = (...engines: readonly RawEngine[]): EndpointSpec[] =>
  engines.map(({ url }) => ({ url, models: null, label: null, modelType: null }));

test("E1: an endpoint gets no traffic before its first good check, though its model is configured", async (t) => {
  const engine = await startRawEngine(t);
  engine.answersChecks = false;
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--static-models", "test-model"], {
    early: true,
  });
  assert.equal(await ask(router), 503);
  assert.equal(engine.requests.length, 0);
  for (const check of engine.checks) check.connection.socket.end(jsonAnswer({ ok: true }));
  engine.answersChecks = true;
  await until(() => router.context.registry.list()[0]?.known === true, "the endpoint is known");
  assert.equal(await ask(router), 200);
});

test("E1: an endpoint whose models are not known gets no traffic: 503 and worth repeating, not 404", async (t) => {
  const engine = await startRawEngine(t, { models: [] });
  const router = await startTestRouter(t, ["--static-backends", engine.url], { early: true });
  await until(() => engine.checks.length >= 2, "the models were asked for");
  await turns(5);
  assert.equal(await ask(router), 503);
  assert.equal(engine.requests.length, 0);
  const state = (await get(router.port, "/engines")).json() as { state: string; problem?: string }[];
  assert.equal(state[0]?.state, "starting");
  assert.match(state[0]?.problem ?? "", /names no model/);
});

test("E1: a router that has just started does not call a model unknown before each engine was asked", async (t) => {
  // a rolling update replaces routers under load: a 404 would not be repeated by any client
  const one = await startRawEngine(t, { models: ["a"] });
  const two = await startRawEngine(t, { models: ["b"] });
  two.answersChecks = false;
  const router = await startTestRouter(t, ["--static-backends", `${one.url},${two.url}`], { early: true });
  const asked = (): Promise<ClientResponse> => post(router.port, "/v1/completions", '{"model":"b"}');
  const before = await asked();
  assert.equal(before.status, 503);
  assert.equal(before.header("x-should-retry"), "true");
  await until(() => router.context.registry.serving("a") !== undefined, "the first engine has told its model");
  assert.equal((await asked()).status, 503);
  two.kill();
  await until(() => router.context.registry.list()[1]?.asked === true, "the second engine's check has failed");
  const after = await asked();
  assert.equal(after.status, 404);
  assert.match(after.text, /known: a/);
});

for (const health of [500, 503, 404]) {
  test(`E1: /health ${health} keeps an endpoint out, and says so`, async (t) => {
    const engine = await startRawEngine(t);
    engine.health = health;
    const router = await startTestRouter(t, ["--static-backends", engine.url, "--static-models", "test-model"], {
      early: true,
    });
    await until(
      () => router.context.registry.list()[0]?.lastProblem === `/health answered ${health}`,
      "the check has failed",
    );
    assert.equal(await ask(router), 503);
    assert.equal(engine.requests.length, 0);
  });
}

test("E1: models are the union over engines, each request reaches one that serves its model", async (t) => {
  const one = await startRawEngine(t, { models: ["a", "both"] });
  const two = await startRawEngine(t, { models: ["b", "both"] });
  const router = await startTestRouter(t, ["--static-backends", `${one.url},${two.url}`]);
  const list = (await get(router.port, "/v1/models")).json() as { data: { id: string }[] };
  assert.deepEqual(list.data.map(({ id }) => id).sort(), ["a", "b", "both"]);
  for (let i = 0; i < 6; i++) {
    await post(router.port, "/v1/completions", '{"model":"a"}');
    await post(router.port, "/v1/completions", '{"model":"b"}');
  }
  assert.ok(one.requests.length === 6 && one.requests.every((request) => request.body.toString().includes('"a"')));
  assert.ok(two.requests.length === 6 && two.requests.every((request) => request.body.toString().includes('"b"')));
});

test("E1: a model that an engine loads or drops while it runs is known after the next check", async (t) => {
  const clock = new ManualClock();
  const engine = await startRawEngine(t, { models: ["a"] });
  const router = await startTestRouter(t, ["--static-backends", engine.url], { clock });
  const status = async (model: string): Promise<number> =>
    (await post(router.port, "/v1/completions", JSON.stringify({ model }))).status;
  assert.deepEqual([await status("a"), await status("b")], [200, 404]);
  engine.models = ["b"];
  clock.advance(11_000);
  await until(() => router.context.registry.serving("b") !== undefined, "the new model is known");
  assert.deepEqual([await status("a"), await status("b")], [404, 200]);
});

test("E2: an endpoint that fails is taken out, tried by exactly one request, and comes back slowly", async (t) => {
  const clock = new ManualClock();
  const engines = await Promise.all(Array.from({ length: 4 }, () => startRawEngine(t)));
  const [bad] = engines;
  assert.ok(bad);
  const router = await startTestRouter(
    t,
    ["--static-backends", engines.map((engine) => engine.url).join(","), "--routing-logic", "roundrobin"],
    { clock },
  );
  const endpoint = router.context.registry.list()[0];
  assert.ok(endpoint);
  bad.handler = (request) => request.connection.reset();
  for (let i = 0; i < 40 && endpoint.breaker.ejected === 0; i++) assert.equal(await ask(router), 200);
  assert.equal(endpoint.breaker.ejected, 1);
  await turns(10);
  const before = bad.requests.length;
  for (let i = 0; i < 20; i++) assert.equal(await ask(router), 200);
  assert.equal(bad.requests.length, before, "an ejected endpoint got traffic");
  assert.match(
    (await get(router.port, "/metrics")).text,
    new RegExp(`lmstack_endpoint_breaker_transitions_total\\{endpoint="127.0.0.1:${bad.port}",to="ejected"\\} 1`),
  );
  // the probe is held open: while it runs nobody else is sent there
  let answer = (): void => undefined;
  bad.handler = (request) => (answer = () => request.connection.write(jsonAnswer({ probed: true })));
  clock.advance(600);
  const asked = Array.from({ length: 20 }, () => ask(router));
  await until(() => bad.requests.length === before + 1, "the probe is sent");
  await turns(20);
  assert.equal(bad.requests.length, before + 1, "more than one probe");
  answer();
  assert.deepEqual(new Set(await Promise.all(asked)), new Set([200]));
  assert.equal(endpoint.breaker.state(clock.nowMs()), "slow_start");
  bad.handler = (request) => request.connection.write(jsonAnswer({ ok: true }));
  clock.advance(6000);
  await turns(20);
  assert.equal(endpoint.breaker.state(clock.nowMs()), "ready");
});

// leastload weighed an endpoint in its slow start like one with ten times its load: while the others were idle it got
// nothing at all, for five seconds.
for (const policy of ["leastload", "roundrobin", "random"]) {
  test(`E2: an endpoint that has just come back gets a share of light traffic too, a small one (${policy})`, async (t) => {
    const clock = new ManualClock();
    const random = new Random(7);
    const engines = await Promise.all(Array.from({ length: 3 }, () => startRawEngine(t)));
    const router = await startTestRouter(
      t,
      ["--static-backends", engines.map((engine) => engine.url).join(","), "--routing-logic", policy],
      { clock, random: () => random.unit() },
    );
    const endpoint = router.context.registry.list()[0];
    assert.ok(endpoint);
    endpoint.breaker.checkFailed(clock.nowMs());
    endpoint.breaker.checkPassed(clock.nowMs());
    for (let i = 0; i < 20 && endpoint.breaker.state(clock.nowMs()) !== "slow_start"; i++) await ask(router);
    assert.equal(endpoint.breaker.state(clock.nowMs()), "slow_start");
    const before = engines[0]?.requests.length ?? 0;
    for (let i = 0; i < 200; i++) assert.equal(await ask(router), 200);
    const share = (engines[0]?.requests.length ?? 0) - before;
    // a tenth of a third
    assert.ok(share >= 1 && share <= 20, `${share} of 200 requests`);
  });
}

test("E2: a client that leaves an older request does not make room for a second probe", async (t) => {
  const clock = new ManualClock();
  const engines = await Promise.all([startRawEngine(t), startRawEngine(t), startRawEngine(t)]);
  const [bad] = engines;
  assert.ok(bad);
  bad.handler = () => undefined;
  const urls = engines.map((engine) => engine.url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls, "--routing-logic", "roundrobin"], {
    clock,
    random: () => 0.999,
  });
  const older = await RawClient.connect(router.port);
  older.write(rawRequest("POST", "/v1/chat/completions", body));
  await until(() => bad.requests.length === 1, "the older request is on the engine");
  const endpoint = router.context.registry.list()[0];
  for (let i = 0; i < 5; i++) endpoint?.breaker.failure(clock.nowMs());
  clock.advance(600);
  const asked = Array.from({ length: 6 }, () => ask(router));
  await until(() => bad.requests.length === 2, "the probe is on the engine");
  older.close();
  await until(() => bad.connections[0]?.gone === true, "the older request is gone");
  for (let i = 0; i < 6; i++) assert.equal(await ask(router), 200);
  assert.equal(bad.requests.length, 2, "a second probe was sent");
  bad.connections[1]?.write(jsonAnswer({ ok: true }));
  await Promise.all(asked);
});

test("E2: an engine that nobody listens for any more is out after one check, and back after one", async (t) => {
  const clock = new ManualClock();
  const [one, two, three] = await Promise.all([startRawEngine(t), startRawEngine(t), startRawEngine(t)]);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const router = await startTestRouter(t, ["--static-backends", `${one.url},${two.url},${three.url}`], {
    clock,
    random: () => 0.999,
  });
  const endpoint = router.context.registry.list()[0];
  assert.ok(endpoint);
  one.kill();
  assert.equal(await ask(router), 200);
  await until(() => endpoint.state(clock.nowMs()) === "ejected", "a check has followed the failure at once");
  for (let i = 0; i < 10; i++) assert.equal(await ask(router), 200);
  assert.equal(router.metric(`lmstack_attempts_total{endpoint="127.0.0.1:${one.port}",outcome="unreachable"}`), 1);
  await one.listen(one.port);
  for (let i = 0; i < 5 && endpoint.lastProblem !== null; i++) {
    clock.advance(2500);
    await turns(30);
  }
  await until(() => endpoint.lastProblem === null, "a check has passed");
  assert.equal(await ask(router), 200);
  assert.ok(one.requests.length > 0, "the probe");
});

test("E3: with more than half of the endpoints out, ejection is ignored rather than everything refused", async (t) => {
  const engines = await Promise.all(Array.from({ length: 3 }, () => startRawEngine(t)));
  const router = await startTestRouter(
    t,
    ["--static-backends", engines.map((engine) => engine.url).join(","), "--retries", "0"],
    { clock: new ManualClock() },
  );
  for (const endpoint of router.context.registry.list()) for (let i = 0; i < 5; i++) endpoint.breaker.failure(0);
  for (let i = 0; i < 30; i++) assert.equal(await ask(router), 200);
  assert.equal(engines.filter((engine) => engine.requests.length > 0).length, 3);
});

test("E3: the log says when ejection is ignored, and when that is over, once each", async (t) => {
  const engines = await Promise.all(Array.from({ length: 3 }, () => startRawEngine(t)));
  const urls = engines.map(({ url }) => url).join(",");
  const clock = new ManualClock();
  let text = "";
  const sink = { write: (more: string) => void (text += more), flush: () => undefined, flushSync: () => undefined };
  const log = new RouterLog({ level: "info", format: "text", routingLine: false }, sink);
  const router = await startTestRouter(t, ["--static-backends", urls], { clock, log });
  const said = (): string[] =>
    text.split("\n").flatMap((line) => /model test-model: (?:\d of \d|half).*/.exec(line)?.[0] ?? []);
  const endpoints = router.context.registry.list();
  for (const { breaker } of endpoints.slice(1)) for (let i = 0; i < 5; i++) breaker.failure(0);
  for (let i = 0; i < 5; i++) assert.equal(await ask(router), 200);
  assert.deepEqual(said(), ["model test-model: 2 of 3 engines are out, which is ignored: requests go to them too"]);
  for (const { breaker } of endpoints.slice(1)) {
    clock.advance(1_000);
    assert.equal(breaker.picked(clock.nowMs()), true);
    breaker.success(clock.nowMs(), true);
  }
  for (let i = 0; i < 5; i++) assert.equal(await ask(router), 200);
  assert.equal(said().length, 2, text);
  assert.match(said()[1] ?? "", /half of the engines or more are back/);
});

test("E3: endpoints that are still starting do not count among those that could serve", async (t) => {
  // while a Deployment grows, its one running engine was refused after a few failures, since "only" a third of three was out
  const engines = await Promise.all(Array.from({ length: 3 }, () => startRawEngine(t)));
  for (const engine of engines.slice(1)) engine.answersChecks = false;
  const urls = engines.map((engine) => engine.url).join(",");
  const models = ["--static-models", "test-model,test-model,test-model"];
  const router = await startTestRouter(t, ["--static-backends", urls, ...models], {
    clock: new ManualClock(),
    early: true,
  });
  const [first] = router.context.registry.list();
  await until(() => first?.known === true, "the first endpoint is known");
  for (let i = 0; i < 5; i++) first?.breaker.failure(0);
  assert.equal(await ask(router), 200);
});

test("E3: the only endpoint of a model is not closed to everybody else while its probe runs", async (t) => {
  const clock = new ManualClock();
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url], { clock });
  const endpoint = router.context.registry.list()[0];
  assert.ok(endpoint);
  for (let i = 0; i < 5; i++) endpoint.breaker.failure(0);
  assert.equal(endpoint.breaker.ejected, 1);
  clock.advance(600);
  // the probe is a long answer: its end is seconds away
  engine.script(() => undefined);
  const probe = ask(router);
  await until(() => engine.requests.length === 1, "the probe is on the engine");
  for (let i = 0; i < 5; i++) assert.equal(await ask(router), 200);
  engine.connections[0]?.write(jsonAnswer({ probed: true }));
  assert.equal(await probe, 200);
});

test("E5: a hung engine among four costs nobody else anything: all others answer, and its clients get their code in time", async (t) => {
  const clock = new ManualClock();
  const engines = await Promise.all(Array.from({ length: 4 }, () => startRawEngine(t)));
  const [hung] = engines;
  assert.ok(hung);
  hung.handler = () => undefined;
  const streaming = '{"model":"test-model","messages":[],"stream":true}';
  for (const engine of engines.slice(1)) {
    engine.handler = (request) =>
      request.connection.write(
        Buffer.concat([Buffer.from(streamHead()), chunk(event("a") + done), Buffer.from(lastChunk)]),
      );
  }
  const urls = engines.map((engine) => engine.url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls, "--first-event-timeout-seconds", "2"], { clock });
  const asked = Array.from({ length: 100 }, () => post(router.port, "/v1/chat/completions", streaming));
  await until(
    () => router.context.active.size === hung.requests.length && hung.requests.length > 0,
    "only the hung ones wait",
  );
  assert.equal((await get(router.port, "/health")).status, 200);
  clock.advance(2200);
  const responses = await Promise.all(asked);
  // not one is lost: what hung is tried elsewhere
  assert.ok(responses.every((response) => response.text === event("a") + done));
  await router.idle();
});

test("E5: an engine whose health answers and whose inference does not is taken out by its requests", async (t) => {
  const half = await startEngine({
    models: ["test-model"],
    preset: "fast",
    faults: [{ fault: "error_status", status: 500 }],
  });
  const whole = await startEngine({ models: ["test-model"], preset: "fast" });
  t.after(() => Promise.all([half.close(), whole.close()]));
  const clock = new ManualClock();
  const router = await startTestRouter(
    t,
    ["--static-backends", `${half.url},${whole.url}`, "--routing-logic", "roundrobin"],
    { clock },
  );
  for (let i = 0; i < 20; i++) {
    const response = await post(router.port, "/v1/completions", '{"model":"test-model","prompt":"x","max_tokens":2}');
    assert.equal(response.status, 200);
  }
  assert.equal(half.state().requests, 0, "a request that fails by the fault is not counted as generating");
  assert.equal(router.context.registry.list()[0]?.breaker.ejected, 1);
  assert.equal(router.metric(`lmstack_attempts_total{endpoint="127.0.0.1:${half.port}",outcome="server_error"}`), 5);
});

test("G3: an endpoint that discovery no longer lists finishes its streams and gets nothing new", async (t) => {
  const one = await startRawEngine(t);
  const two = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", one.url]);
  one.handler = (request) => request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))]));
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await client.sees("one");
  router.running.apply({ ...router.context.config.dynamic, endpoints: specs(two) }, "next");
  await until(() => router.context.registry.list()[0]?.known === true, "the new endpoint is known");
  for (let i = 0; i < 5; i++) assert.equal(await ask(router), 200);
  assert.equal(one.requests.length, 1);
  assert.equal(two.requests.length, 5);
  const states = (await get(router.port, "/engines")).json() as { engine_id: string; state: string }[];
  assert.deepEqual(
    states.map(({ state }) => state),
    ["ready", "draining"],
  );
  one.connections[0]?.write(Buffer.concat([chunk(event("two") + done), Buffer.from(lastChunk)]));
  assert.equal((await client.response()).text, event("one") + event("two") + done);
  await until(() => router.context.registry.list().length === 1, "the drained endpoint is forgotten");
  await until(() => one.open === 0, "no connection to it is left");
  client.close();
});

test("G3: an endpoint that comes back while it drains is a new one beside the old", async (t) => {
  const one = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", one.url]);
  one.script((request) => request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))])));
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await client.sees("one");
  router.running.apply({ ...router.context.config.dynamic, endpoints: [] }, "none");
  router.running.apply({ ...router.context.config.dynamic, endpoints: specs(one) }, "back");
  await until(() => router.context.registry.list()[0]?.known === true, "it is known again");
  assert.equal(await ask(router), 200);
  assert.match(
    (await get(router.port, "/metrics")).text,
    new RegExp(`lmstack_endpoint_in_flight\\{endpoint="127.0.0.1:${one.port}",phase="running"\\} 1`),
  );
  one.connections[0]?.write(Buffer.concat([chunk(done), Buffer.from(lastChunk)]));
  assert.ok((await client.response()).complete);
  await router.idle();
  client.close();
});

test("E5: an engine that is healthy by its word and fails inference checks gets no traffic until one passes", async (t) => {
  // The next check, two seconds later, did not ask for inference again and so found all well: no engine was ever ejected.
  const good = await startRawEngine(t);
  const half = await startRawEngine(t);
  const checked: number[] = [];
  let status = 200;
  half.handler = ({ connection }) => {
    checked.push(status);
    connection.write(jsonAnswer({ object: "test" }, status));
  };
  const clock = new ManualClock();
  const options = ["--static-backend-health-checks", "--static-backend-health-check-interval", "60"];
  const router = await startTestRouter(t, ["--static-backends", `${good.url},${half.url}`, ...options], { clock });
  const state = (): string | undefined => router.context.registry.list()[1]?.state(clock.nowMs());
  const pass = async (ms: number, reached: () => boolean, what: string): Promise<void> => {
    await until(() => {
      if (!reached()) clock.advance(ms);
      return reached();
    }, what);
  };
  assert.deepEqual(checked, [200], "asked once before it is known");
  status = 500;
  await pass(50, () => state() === "ejected", "it is ejected");
  assert.deepEqual(checked.slice(0, 3), [200, 500, 500]);
  const before = half.requests.length;
  assert.equal(await ask(router), 200);
  assert.equal(half.requests.length, before);
  status = 200;
  await pass(50, () => router.context.registry.list()[1]?.breaker.admits(clock.nowMs()) === true, "it may be probed");
});

test("E1: a request that fails makes the next check come at once, and not each one of many", async (t) => {
  const clock = new ManualClock();
  const engine = await startRawEngine(t, { handler: ({ connection }) => connection.reset() });
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--retries", "0"], { clock });
  const checks = (): number => engine.checks.filter(({ target }) => target === "/v1/models").length;
  const before = checks();
  for (let i = 0; i < 20; i++) await ask(router);
  await until(() => checks() === before + 1, "the engine is checked");
  await turns(20);
  assert.equal(checks(), before + 1);
  await ask(router);
  clock.advance(250);
  await until(() => checks() === before + 2, "the engine is checked again");
});

test("E1: an engine is checked every 10 s while all is well and every 2 s while it is not, give or take a tenth", async (t) => {
  const clock = new ManualClock();
  const engine = await startRawEngine(t);
  // drawn once at the end of each check, for when the next one is
  let ended = 0;
  const random = (): number => {
    ended++;
    return 0.5;
  };
  await startTestRouter(t, ["--static-backends", engine.url], { clock, random });
  const checks = (): number => engine.checks.filter(({ target }) => target === "/health").length;
  const next = async (waitMs: number): Promise<void> => {
    const before = checks();
    await until(() => ended === before, "the last check is over");
    await turns(1);
    clock.advance(waitMs - 1);
    await turns(20);
    assert.equal(checks(), before);
    clock.advance(1);
    await until(() => checks() === before + 1, "it is checked");
  };
  await next(10_000);
  engine.health = 503;
  await next(10_000);
  await next(2_000);
  engine.health = 200;
  await next(2_000);
});

test("E1: a large fleet that does not start is asked at a bounded rate, not each endpoint as if it were the only one", async (t) => {
  const engine = await startRawEngine(t);
  engine.health = 503;
  const clock = new ManualClock();
  const many = Array.from({ length: 400 }, (_, i) => `${engine.url}/${i}`).join(",");
  await startTestRouter(t, ["--static-backends", many], { clock, early: true });
  await until(() => engine.checks.length === 400, "each was asked once");
  for (let i = 0; i < 60; i++) {
    clock.advance(50);
    await turns(20);
  }
  // 200 a second: each once more in three seconds; alone, it would have been twelve times
  await until(() => engine.checks.length >= 800, "they are asked again");
  await turns(50);
  assert.equal(engine.checks.length, 800);
});
