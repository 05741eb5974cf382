// Rows G1, G2 and G4: a router ends without losing a request, is ready when it should get traffic, and takes a new
// configuration while requests run.
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { ManualClock, systemClock } from "../../src/clock.ts";
import { loadRouterConfig } from "../../src/config/parse-command.ts";
import { RouterLog } from "../../src/observe/log.ts";
import { startRouter } from "../../src/proxy/start-router.ts";
import { RawClient, errorOf, get, post, rawRequest } from "../helpers/http-client.ts";
import { temporaryFile } from "../helpers/files.ts";
import { startLmstack } from "../helpers/process.ts";
import {
  chunk,
  done,
  event,
  lastChunk,
  startRawEngine,
  streamHead,
  wholeStream,
  type RawEngine,
} from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const body = '{"model":"test-model","messages":[],"stream":true}';
const rest = Buffer.concat([chunk(event("two") + done), Buffer.from(lastChunk)]);

/** An engine that sends one event and waits. */
const slow = (t: TestContext): Promise<RawEngine> =>
  startRawEngine(t, {
    handler: (request) => request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))])),
  });

async function streaming(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port);
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await client.sees("one");
  return client;
}

interface Draining {
  readonly engine: RawEngine;
  readonly router: TestRouter;
  readonly clock: ManualClock;
  readonly client: RawClient;
  readonly drained: Promise<void>;
}

async function draining(t: TestContext): Promise<Draining> {
  const engine = await slow(t);
  const clock = new ManualClock();
  const router = await startTestRouter(
    t,
    ["--static-backends", engine.url, "--drain-delay-seconds", "5", "--drain-timeout-seconds", "30"],
    { clock },
  );
  const client = await streaming(router.port);
  return { engine, router, clock, client, drained: router.running.drain() };
}

test("G1: draining: not ready at once and alive, requests are still taken, answers say connection: close", async (t) => {
  const { engine, router } = await draining(t);
  const ready = await get(router.port, "/ready");
  assert.equal(ready.status, 503);
  assert.deepEqual(ready.json(), { status: "not ready", reason: "draining" });
  assert.equal((await get(router.port, "/health")).status, 200);
  engine.script((request) => request.connection.write(wholeStream("still")));
  const late = await RawClient.connect(router.port);
  late.write(rawRequest("POST", "/v1/chat/completions", body));
  const response = await late.response();
  assert.equal(response.text, event("still") + done);
  assert.equal(response.header("connection"), "close");
  assert.equal(await late.ended(), "closed");
});

test("G1: after the drain's delay idle connections are closed, and running streams finish; then it is over", async (t) => {
  const engine = await slow(t);
  const clock = new ManualClock();
  const router = await startTestRouter(t, ["--static-backends", engine.url], { clock });
  const idle = await RawClient.connect(router.port);
  idle.write(rawRequest("GET", "/health", null));
  await idle.response();
  const client = await streaming(router.port);
  const drained = router.running.drain();
  await turns(5);
  assert.equal(idle.end, "open");
  clock.advance(5100);
  assert.equal(await idle.ended(), "closed");
  await assert.rejects(RawClient.connect(router.port), "no more connections after the delay");
  engine.connections[0]?.write(rest);
  assert.equal((await client.response()).text, event("one") + event("two") + done);
  assert.equal(await client.ended(), "closed");
  await drained;
  await router.idle();
});

test("G1: what still runs after --drain-timeout gets an error frame, and the router ends", async (t) => {
  const { engine, router, clock, client, drained } = await draining(t);
  clock.advance(5100);
  await turns(5);
  for (let second = 0; second < 31; second++) {
    clock.advance(1000);
    await turns(2);
  }
  const response = await client.response();
  assert.ok(response.text.startsWith(event("one")));
  assert.match(response.text, /data: \{"error":.*"code":"shutting_down"\}\}\n\n$/);
  assert.ok(response.complete);
  await drained;
  await until(() => engine.connections[0]?.gone === true, "the engine is let go");
  await router.idle();
});

test("G1: a request without an event at the end of the drain gets a true 503 that is worth repeating elsewhere", async (t) => {
  const { engine, router, clock, client, drained } = await draining(t);
  engine.script(() => undefined);
  const waiting = await RawClient.connect(router.port);
  waiting.write(rawRequest("POST", "/v1/chat/completions", body));
  await until(() => engine.requests.length === 2, "the engine has the second request");
  clock.advance(5100);
  await turns(5);
  clock.advance(30_100);
  const response = await waiting.response();
  assert.equal(errorOf(response).code, "shutting_down");
  assert.equal(response.status, 503);
  assert.equal(response.header("x-should-retry"), "true");
  await client.response();
  await drained;
});

test("G1: a client that does not read does not hold up the end of the drain for longer than a moment", async (t) => {
  // its answer was over and not taken: only the stall limit, a minute later, ended the router, and a slow reader never did
  const { engine, router, clock, client, drained } = await draining(t);
  client.socket.pause();
  const flood = chunk(event("x".repeat(1_000_000)));
  for (let i = 0; i < 16; i++) engine.connections[0]?.write(flood);
  await until(() => engine.connections[0]?.socket.writableNeedDrain === true, "the engine is held back");
  clock.advance(5_000);
  await turns(5);
  clock.advance(30_100);
  await turns(5);
  clock.advance(5_100);
  await drained;
  await router.idle();
});

test("G1: SIGTERM: readiness falls, the stream that runs finishes, new requests are taken for the delay, exit code 0", async (t) => {
  const engine = await slow(t);
  const router = await startLmstack(t, [
    "router",
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--static-backends",
    engine.url,
    "--drain-delay-seconds",
    "0.5",
  ]);
  let ready = 0;
  while (ready !== 200) ready = (await get(router.port, "/v1/models/test-model")).status;
  const client = await streaming(router.port);
  router.child.kill("SIGTERM");
  while (ready !== 503) ready = (await get(router.port, "/ready")).status;
  engine.script((request) => request.connection.write(wholeStream("late")));
  assert.equal((await post(router.port, "/v1/chat/completions", body)).text, event("late") + done);
  engine.connections.find((connection) => !connection.gone)?.write(rest);
  assert.equal((await client.response()).text, event("one") + event("two") + done);
  assert.equal(await router.exited, 0);
});

test("G1: a second signal ends at once, with exit code 0", async (t) => {
  const engine = await slow(t);
  const router = await startLmstack(t, [
    "router",
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--static-backends",
    engine.url,
    "--drain-delay-seconds",
    "60",
  ]);
  let known = 0;
  while (known !== 200) known = (await get(router.port, "/v1/models/test-model")).status;
  const client = await streaming(router.port);
  router.child.kill("SIGTERM");
  let ready = 0;
  while (ready !== 503) ready = (await get(router.port, "/ready")).status;
  router.child.kill("SIGTERM");
  assert.equal(await router.exited, 0);
  await client.ended();
});

test("G2: health and readiness need no key and no engine", async (t) => {
  const keys = temporaryFile(t, "keys", "secret\n");
  const router = await startTestRouter(
    t,
    ["--static-backends", "http://127.0.0.1:1", "--api-key-file", keys, "--admin-key-file", keys],
    { early: true },
  );
  assert.deepEqual((await get(router.port, "/health")).json(), { status: "healthy" });
  assert.deepEqual((await get(router.port, "/ready")).json(), { status: "ready" });
});

const fileOf = (engines: readonly RawEngine[], policy: string): string =>
  JSON.stringify({
    service_discovery: "static",
    routing_logic: policy,
    static_backends: engines.map(({ url }) => url).join(","),
    static_models: engines.map(() => "test-model").join(","),
  });

test("G4: the dynamic file rewritten 20 times under load: no request is lost, and the last version is in force", async (t) => {
  const handler: RawEngine["handler"] = (request) => {
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))]));
    void turns(3).then(() => request.connection.write(rest));
  };
  const engines = await Promise.all([0, 1, 2, 3].map(() => startRawEngine(t, { handler })));
  const file = temporaryFile(t, "dynamic.json", fileOf(engines, "roundrobin"));
  const router = await startTestRouter(t, ["--dynamic-config-json", file]);
  let running = true;
  let count = 0;
  const worker = async (): Promise<void> => {
    while (running) {
      const response = await post(router.port, "/v1/chat/completions", body);
      count++;
      assert.equal(response.text, event("one") + event("two") + done, `request ${count}: ${response.status}`);
    }
  };
  const load = Array.from({ length: 8 }, worker);
  for (let i = 0; i < 20; i++) {
    // one engine stays, so that there is always one that was checked; the others come and go
    const some = engines.filter((_, at) => at === 0 || (i + at) % 3 !== 0);
    // replaced at once: the watcher may be reading, and half a file would count as one more rejected
    writeFileSync(
      `${file}.new`,
      i % 7 === 6 ? "{ this is no JSON" : fileOf(some, i % 2 === 0 ? "roundrobin" : "leastload"),
    );
    renameSync(`${file}.new`, file);
    const before = count;
    await router.running.reload();
    await until(() => count > before + 10, "requests go on");
  }
  running = false;
  await Promise.all(load);
  await router.idle();
  assert.equal(router.metric('lmstack_config_reloads_total{result="rejected"}'), 2);
  assert.ok(router.metric('lmstack_config_reloads_total{result="applied"}') >= 17);
  assert.equal(router.context.routing.name, "leastload");
  await until(() => router.context.registry.list().every((endpoint) => !endpoint.leaving), "all that left are drained");
});

test("G4: models and labels of all engines change at once: no request meets the moment in between", async (t) => {
  const engine = await startRawEngine(t, {
    models: ["test-model", "extra"],
    handler: (request) => request.connection.write(wholeStream("one")),
  });
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const { dynamic } = router.context.config;
  const spec = { url: engine.url, modelType: null };
  const versions = [
    { ...spec, models: ["test-model"], label: null },
    { ...spec, models: ["test-model", "extra"], label: null },
    { ...spec, models: ["test-model", "extra"], label: "decode" },
    { ...spec, models: null, label: "decode" },
    { ...spec, models: null, label: null },
  ];
  for (const [i, version] of versions.entries()) {
    router.running.apply({ ...dynamic, endpoints: [version] }, String(i));
    const response = await post(router.port, "/v1/chat/completions", body);
    assert.equal(response.status, 200, `version ${i}: ${response.text}`);
  }
  await until(() => router.context.registry.list().length === 1, "the old endpoints are gone");
  await router.idle();
});

test("G4: an engine that was out is checked anew when its entry changes", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const { dynamic } = router.context.config;
  engine.kill();
  const old = router.context.registry.list()[0];
  old?.breaker.checkFailed(router.context.clock.nowMs());
  router.running.apply(
    { ...dynamic, endpoints: [{ url: engine.url, models: ["test-model"], label: "x", modelType: null }] },
    "x",
  );
  assert.equal(router.context.registry.list()[0]?.state(router.context.clock.nowMs()), "starting");
});

test("G4: the log says of a rejected file what is wrong with it, in which line", async (t) => {
  // it said [object Object]
  const good = "service_discovery: static\nrouting_logic: random\nstatic_backends: http://127.0.0.1:1\n";
  const path = temporaryFile(t, "dynamic.yaml", good);
  let text = "";
  const sink = { write: (more: string) => void (text += more), flush: () => undefined, flushSync: () => undefined };
  const { config } = loadRouterConfig(["--host", "127.0.0.1", "--port", "0", "--dynamic-config-yaml", path], {});
  const log = new RouterLog(config.log, sink);
  const router = await startRouter(config, { clock: systemClock, random: Math.random, version: "0", page: null, log });
  t.after(() => router.close());
  await until(() => text.includes("is in force"), "the file is in force");
  writeFileSync(path, good.replace("random", "rnadom"));
  await router.reload();
  await until(() => text.includes("is rejected"), "the change is rejected");
  assert.match(text, /dynamic\.yaml:2: routing_logic rnadom: .*; .*random/);
  assert.doesNotMatch(text, /object Object/);
});
