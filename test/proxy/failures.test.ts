// Rows B1, B2, B3, B5, B7 and B8: what happens when an engine fails before the first event. The engines are asked in the
// order in which they are listed: `first` makes the policy's coin fall so.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { RawClient, errorOf, post, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import {
  chunk,
  done,
  event,
  jsonAnswer,
  lastChunk,
  startRawEngine,
  streamHead,
  wholeStream,
  type RawEngine,
  type RawHandler,
} from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const first = (): number => 0.999;
const body = '{"model":"test-model","messages":[],"stream":true}';

interface Fleet {
  readonly engines: readonly RawEngine[];
  readonly router: TestRouter;
  readonly clock: ManualClock;
  ask(path?: string): Promise<ClientResponse>;
}

/** Engines with a handler each, and a router in front whose time stands still. */
async function fleet(t: TestContext, handlers: readonly RawHandler[], argv: readonly string[] = []): Promise<Fleet> {
  const engines = await Promise.all(handlers.map((handler) => startRawEngine(t, { handler })));
  const clock = new ManualClock();
  const urls = engines.map((engine) => engine.url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls, ...argv], { clock, random: first });
  return { engines, router, clock, ask: (path = "/v1/chat/completions") => post(router.port, path, body) };
}

const good: RawHandler = (request) => request.connection.write(wholeStream("hello"));
const dies: Readonly<Record<string, RawHandler>> = {
  "resets the connection": (request) => request.connection.reset(),
  "closes the connection": (request) => request.connection.end(),
  "resets inside the head": (request) =>
    void request.connection.flushed("HTTP/1.1 200 OK\r\ncontent-").then(() => request.connection.reset()),
  "answers something else than HTTP": (request) => request.connection.write("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
  "answers with two framings": (request) =>
    request.connection.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
  "switches protocols": (request) => request.connection.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
  "answers 502": (request) => request.connection.write(jsonAnswer({ error: { message: "bad gateway" } }, 502)),
  "answers 503": (request) => request.connection.write(jsonAnswer({ error: { message: "not now" } }, 503)),
  "answers 504": (request) => request.connection.write(jsonAnswer({ error: { message: "too late" } }, 504)),
  "accepts a stream and resets": (request) =>
    void request.connection.flushed(streamHead()).then(() => request.connection.reset()),
  "accepts a stream and closes": (request) =>
    void request.connection.flushed(streamHead()).then(() => request.connection.end()),
  "accepts a stream and ends it without an event": (request) => request.connection.write(`${streamHead()}${lastChunk}`),
  "accepts a stream, pings and resets": (request) =>
    void request.connection
      .flushed(Buffer.concat([Buffer.from(streamHead()), chunk(": ping\n\n")]))
      .then(() => request.connection.reset()),
  "resets inside of the first event": (request) =>
    void request.connection
      .flushed(Buffer.concat([Buffer.from(streamHead()), chunk('data: {"id"')]))
      .then(() => request.connection.reset()),
  "sends an error as the first event": (request) =>
    request.connection.write(
      Buffer.concat([
        Buffer.from(streamHead()),
        chunk(
          'data: {"error":{"message":"EngineCore encountered an issue","type":"InternalServerError","code":500}}\n\n',
        ),
        chunk(done),
        Buffer.from(lastChunk),
      ]),
    ),
};

for (const [what, handler] of Object.entries(dies)) {
  test(`B1, B3, B7: an engine that ${what} before the first event is replaced by another, unseen by the client`, async (t) => {
    const { engines, router, ask } = await fleet(t, [handler, good]);
    const response = await ask();
    assert.equal(response.status, 200, response.text);
    assert.equal(response.text, event("hello") + done);
    assert.deepEqual(
      engines.map((engine) => engine.requests.length),
      [1, 1],
    );
    assert.equal(engines[0]?.requests[0]?.header("x-request-id"), engines[1]?.requests[0]?.header("x-request-id"));
    await router.idle();
    assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="ok"}'), 1);
  });

  test(`B5: with nobody left after an engine that ${what}, the client gets 502 or 503 and no reason to try again`, async (t) => {
    const { router, ask } = await fleet(t, [handler]);
    const response = await ask();
    assert.ok([500, 502, 503, 504].includes(response.status), String(response.status));
    assert.equal(response.header("x-should-retry"), "false");
    assert.equal(response.header("content-type"), "application/json");
    assert.ok(errorOf(response).message.length > 0);
    await router.idle();
    assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="engine_error"}'), 1);
  });
}

test("B1: an engine that refuses connections is replaced by another", async (t) => {
  const { engines, router, ask } = await fleet(t, [good, good]);
  engines[0]?.kill();
  assert.equal((await ask()).text, event("hello") + done);
  assert.equal(engines[1]?.requests.length, 1);
  assert.equal(router.metric('lmstack_retries_total{reason="unreachable"}'), 1);
});

test("B1: an engine whose name does not resolve is replaced by another", async (t) => {
  const { engines, router, ask } = await fleet(t, [good]);
  const specs = ["http://engine.invalid:8000", engines[0]?.url ?? ""].map((url) => ({
    url,
    models: ["test-model"],
    label: null,
    modelType: null,
  }));
  router.running.apply({ ...router.context.config.dynamic, endpoints: specs }, "test");
  for (const endpoint of router.context.registry.list()) endpoint.becameReady(0);
  assert.equal((await ask()).text, event("hello") + done);
  assert.equal(router.metric('lmstack_retries_total{reason="unreachable"}'), 1);
});

test("B1: an endpoint that was tried is not tried again, and --retries bounds the others", async (t) => {
  const reset: RawHandler = (request) => request.connection.reset();
  const { engines, router, ask } = await fleet(t, [reset, reset, reset, good]);
  const response = await ask();
  const error = errorOf(response);
  assert.equal(error.status, 502);
  assert.equal(error.code, "engine_reset");
  assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${engines[2]?.port}`));
  assert.deepEqual(
    engines.map((engine) => engine.requests.length),
    [1, 1, 1, 0],
  );
  assert.equal(router.metric('lmstack_retries_total{reason="reset"}'), 2);
});

test("B1: --retries 0 tries one endpoint only", async (t) => {
  const { engines, ask } = await fleet(t, [(request) => request.connection.reset(), good], ["--retries", "0"]);
  assert.equal((await ask()).status, 502);
  assert.equal(engines[1]?.requests.length, 0);
});

test("B1: retries stop when the budget is used up, so that a brown-out is not amplified", async (t) => {
  const reset: RawHandler = (request) => request.connection.reset();
  const { engines, router, clock } = await fleet(t, [reset, reset], ["--retries", "1"]);
  // ejected endpoints are still asked: both are out, which is panic
  const attempts = (): number => engines.reduce((sum, engine) => sum + engine.requests.length, 0);
  const plain = '{"model":"test-model","messages":[]}';
  for (let i = 0; i < 150; i++) await post(router.port, "/v1/chat/completions", plain);
  // 100 and 20 % of 150, and each request once
  assert.ok(attempts() >= 250 && attempts() <= 280, String(attempts()));
  const before = attempts();
  for (let i = 0; i < 5; i++) await post(router.port, "/v1/chat/completions", plain);
  assert.ok(attempts() - before <= 6, String(attempts() - before));
  clock.advance(11_000);
  const later = attempts();
  await post(router.port, "/v1/chat/completions", plain);
  assert.equal(attempts() - later, 2);
});

test("B1: refused connections cost nothing of the budget", async (t) => {
  const { engines, router } = await fleet(t, [good, good]);
  for (const engine of engines) engine.kill();
  for (let i = 0; i < 150; i++) {
    for (const endpoint of router.context.registry.list()) endpoint.breaker.checkPassed(0);
    await post(router.port, "/v1/chat/completions", body);
  }
  assert.equal(router.metric('lmstack_retries_total{reason="unreachable"}'), 150);
});

test("B2: a kept connection that dies before a byte of the answer is replaced by a new one to the same engine, uncounted", async (t) => {
  for (const ending of ["reset", "end"] as const) {
    const { engines, router } = await fleet(t, [good, good], ["--routing-logic", "session", "--retries", "0"]);
    const asked = (): Promise<ClientResponse> => post(router.port, "/v1/chat/completions", body, ["x-user-id: a"]);
    await asked();
    const home = engines.find((engine) => engine.requests.length === 1);
    assert.ok(home);
    // so often that the failures, were they counted, would eject it
    for (let i = 0; i < 15; i++) {
      home.script((request) => request.connection[ending]());
      assert.equal((await asked()).text, event("hello") + done);
      assert.deepEqual(
        home.requests.slice(-2).map((request) => request.connection.index),
        [i, i + 1],
      );
    }
    assert.equal(
      engines.reduce((sum, engine) => sum + engine.requests.length, 0),
      31,
    );
    assert.equal(router.metric('lmstack_retries_total{reason="stale_connection"}'), 15);
    assert.equal(
      router.context.registry.list().reduce((sum, endpoint) => sum + endpoint.breaker.ejected, 0),
      0,
    );
    await router.idle();
  }
});

test("B2: a new connection that dies is not taken for a stale one: no endless loop", async (t) => {
  const { engines, ask } = await fleet(t, [good], ["--retries", "0"]);
  await ask();
  engines[0]?.script(
    (request) => request.connection.reset(),
    (request) => request.connection.reset(),
  );
  assert.equal(errorOf(await ask()).code, "engine_reset");
  assert.equal(engines[0]?.requests.length, 3);
});

const busy: Readonly<Record<string, RawHandler>> = {
  "429": (request) =>
    request.connection.write(
      jsonAnswer({ error: { message: "slow down", type: "rate_limit_exceeded", code: 429 } }, 429, ["retry-after: 3"]),
    ),
  "503 of a full queue": (request) =>
    request.connection.write(
      jsonAnswer({ error: { message: "The server is currently busy", type: "Service Unavailable", code: 503 } }, 503, [
        "retry-after: 3",
      ]),
    ),
};

for (const [what, handler] of Object.entries(busy)) {
  test(`B3: ${what} means busy: another endpoint, left alone for Retry-After, and no failure counted`, async (t) => {
    const { engines, router, clock, ask } = await fleet(t, [handler, good]);
    for (let i = 0; i < 20; i++) assert.equal((await ask()).status, 200);
    assert.deepEqual(
      engines.map((engine) => engine.requests.length),
      [1, 20],
    );
    assert.equal(router.metric(`lmstack_attempts_total{endpoint="127.0.0.1:${engines[0]?.port}",outcome="busy"}`), 1);
    clock.advance(2900);
    await ask();
    assert.equal(engines[0]?.requests.length, 1);
    clock.advance(200);
    for (let i = 0; i < 10; i++) {
      await ask();
      clock.advance(3100);
      await turns(2);
    }
    assert.ok((engines[0]?.requests.length ?? 0) > 5);
    assert.equal(router.context.registry.list()[0]?.breaker.ejected, 0);
  });

  test(`B5: with every endpoint busy (${what}), the client gets the engine's own words and when to come again`, async (t) => {
    const { router, ask } = await fleet(t, [handler, handler]);
    const response = await ask();
    assert.equal(response.status, 429);
    assert.equal(response.header("x-should-retry"), "true");
    assert.equal(response.header("retry-after"), "3");
    const delayMs = Number(response.header("retry-after-ms"));
    assert.ok(delayMs >= 3000 && delayMs <= 5000, String(delayMs));
    assert.match(response.text, /slow down|currently busy/);
    assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="queue_full"}'), 1);
  });
}

test("B5: a busy engine that names no delay: the router does, in both spellings", async (t) => {
  const { ask } = await fleet(t, [
    (request) => request.connection.write(jsonAnswer({ error: { message: "slow down" } }, 429)),
  ]);
  const response = await ask();
  assert.equal(response.status, 429);
  assert.ok(Number(response.header("retry-after")) >= 1);
  assert.ok(Number(response.header("retry-after-ms")) >= 1000);
  assert.equal(response.header("x-should-retry"), "true");
});

for (const status of [400, 401, 403, 404, 409, 413, 422, 499]) {
  test(`B3: ${status} is the client's: passed on as it is, not retried, not counted`, async (t) => {
    const answer = jsonAnswer({ error: { message: "the client's", code: status } }, status);
    const { engines, router, ask } = await fleet(t, [(request) => request.connection.write(answer), good]);
    for (let i = 0; i < 12; i++) {
      const response = await ask();
      if (engines[0]?.requests.length === i + 1) {
        assert.equal(response.status, status);
        assert.deepEqual(response.json(), { error: { message: "the client's", code: status } });
        assert.equal(response.header("x-should-retry"), undefined);
      }
    }
    assert.ok((engines[0]?.requests.length ?? 0) >= 12);
    assert.equal(engines[1]?.requests.length, 0);
    assert.equal(router.context.registry.list()[0]?.breaker.ejected, 0);
    await router.idle();
  });
}

test("B7: after a heartbeat had to be sent, another endpoint goes on inside the 200", async (t) => {
  const handlers: RawHandler[] = [(request) => request.connection.write(streamHead()), good];
  const { engines, router, clock } = await fleet(t, handlers, ["--sse-heartbeat-seconds", "1"]);
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await until(
    () => [...router.context.active].length === 1 && engines[0]?.requests.length === 1,
    "the first engine has the request",
  );
  await turns(5);
  assert.equal(client.received.length, 0);
  clock.advance(1200);
  await client.sees(": ping\n\n");
  engines[0]?.connections[0]?.reset();
  const response = await client.response();
  assert.equal(response.status, 200);
  assert.equal(response.text, `: ping\n\n${event("hello")}${done}`);
  assert.ok(response.complete);
  await router.idle();
});

const inside: Readonly<Record<string, readonly [RawHandler, RegExp]>> = {
  "rejects the request with 400": [
    (request) =>
      request.connection.write(
        jsonAnswer({ error: { message: "max_tokens is too large", type: "BadRequestError", code: 400 } }, 400),
      ),
    /^: ping\n\ndata: \{"error":\{"message":"max_tokens is too large".*\}\n\n$/,
  ],
  "answers JSON where a stream was promised": [
    (request) => request.connection.write(jsonAnswer({ object: "chat.completion" })),
    /^: ping\n\ndata: \{"error":\{.*\}\n\n$/,
  ],
  "answers 500": [
    (request) => request.connection.write(jsonAnswer({ error: { message: "boom", code: 500 } }, 500)),
    /^: ping\n\ndata: \{"error":\{.*\}\n\n$/,
  ],
  "dies too": [
    (request) => request.connection.reset(),
    /^: ping\n\ndata: \{"error":\{.*"code":"engine_reset"\}\}\n\n$/,
  ],
};
for (const [what, [handler, expected]] of Object.entries(inside)) {
  test(`B7: after a heartbeat, an endpoint that ${what} ends the stream with an error frame`, async (t) => {
    const handlers: RawHandler[] = [(request) => request.connection.write(streamHead()), handler];
    const { engines, router, clock } = await fleet(t, handlers, ["--sse-heartbeat-seconds", "1"]);
    const client = await RawClient.connect(router.port);
    client.write(rawRequest("POST", "/v1/chat/completions", body));
    await until(() => engines[0]?.requests.length === 1, "the first engine has the request");
    await turns(5);
    clock.advance(1200);
    await client.sees(": ping\n\n");
    engines[0]?.connections[0]?.reset();
    const response = await client.response();
    assert.ok(response.complete, "the stream ends properly");
    assert.match(response.text, expected);
    await router.idle();
  });
}

for (const [code, expected] of [
  [500, 500],
  [503, 503],
  [400, 400],
  [404, 404],
  ["invalid", 500],
] as const) {
  test(`B7: an error with code ${code} as the first event of the only endpoint becomes a true status ${expected}`, async (t) => {
    const frame = `data: {"error":{"message":"no","type":"X","param":null,"code":${JSON.stringify(code)}}}\n\n`;
    const { router, ask } = await fleet(t, [
      (request) =>
        request.connection.write(
          Buffer.concat([Buffer.from(streamHead()), chunk(frame), chunk(done), Buffer.from(lastChunk)]),
        ),
    ]);
    const response = await ask();
    assert.equal(response.status, expected);
    assert.equal(response.header("content-type"), "application/json");
    assert.deepEqual(response.json(), { error: { message: "no", type: "X", param: null, code } });
    assert.equal(response.header("transfer-encoding"), undefined);
    const endpoint = router.context.registry.list()[0];
    await router.idle();
    assert.equal(endpoint?.breaker.ejected, 0);
  });
}

test("B7: an error with a 4xx code as the first event is the client's: not retried, not counted", async (t) => {
  const frame = 'data: {"error":{"message":"no","code":400}}\n\n';
  const refuse: RawHandler = (request) =>
    request.connection.write(
      Buffer.concat([Buffer.from(streamHead()), chunk(frame), chunk(done), Buffer.from(lastChunk)]),
    );
  const { engines, router, ask } = await fleet(t, [refuse, good]);
  for (let i = 0; i < 10; i++) assert.equal((await ask()).status, 400);
  assert.equal(engines[1]?.requests.length, 0);
  assert.equal(router.context.registry.list()[0]?.breaker.ejected, 0);
});

for (const message of [
  "EngineCore encountered an issue. See stack trace (above) for the root cause.",
  "cannot schedule new futures after shutdown",
]) {
  test(`B8: 500 "${message.slice(0, 31)}..." is a dying engine: another endpoint`, async (t) => {
    const dying: RawHandler = (request) =>
      request.connection.write(
        jsonAnswer({ error: { message, type: "InternalServerError", param: null, code: 500 } }, 500),
      );
    const { router, ask } = await fleet(t, [dying, good]);
    assert.equal((await ask()).text, event("hello") + done);
    assert.equal(router.metric('lmstack_retries_total{reason="server_error"}'), 1);
  });
}

// Five poisonous requests in a row took both engines out.
test("B8: endpoints that give the same 500 are not charged with it", async (t) => {
  const boom: RawHandler = (request) =>
    request.connection.write(jsonAnswer({ error: { message: "list index out of range", code: 500 } }, 500));
  const { router, ask } = await fleet(t, [boom, boom]);
  for (let i = 0; i < 12; i++) assert.equal((await ask()).status, 500);
  for (const endpoint of router.context.registry.list()) assert.equal(endpoint.state(0), "ready");
});

test("B8: an endpoint whose 500 nobody else gives is charged with it", async (t) => {
  const { router, ask } = await fleet(t, [
    (request) => request.connection.write(jsonAnswer({ error: { message: "boom", code: 500 } }, 500)),
    good,
  ]);
  for (let i = 0; i < 12; i++) assert.equal((await ask()).status, 200);
  assert.deepEqual(
    router.context.registry.list().map((endpoint) => endpoint.breaker.ejected > 0),
    [true, false],
  );
});

test("B8: a probe that is answered 500 ejects the endpoint again, for longer", async (t) => {
  // who is charged is known only when the next endpoint has answered, and by then it was not known to have been the probe:
  // every further request became one
  const { engines, router, clock, ask } = await fleet(t, [
    (request) => request.connection.write(jsonAnswer({ error: { message: "boom", code: 500 } }, 500)),
    (request) => request.connection.write(jsonAnswer({ ok: true })),
    (request) => request.connection.write(jsonAnswer({ ok: true })),
  ]);
  const [endpoint] = router.context.registry.list();
  for (let i = 0; i < 5; i++) endpoint?.breaker.failure(clock.nowMs());
  clock.advance(600);
  const asked = (): number => engines[0]?.requests.length ?? 0;
  for (let i = 0; i < 100 && asked() === 0; i++) assert.equal((await ask()).status, 200);
  assert.equal(asked(), 1);
  assert.equal(endpoint?.breaker.ejected, 2);
  for (let i = 0; i < 20; i++) assert.equal((await ask()).status, 200);
  assert.equal(asked(), 1);
});

test("B8: a 500 that two endpoints give alike is the request's, and passes as it is", async (t) => {
  const broken: RawHandler = (request) =>
    request.connection.write(jsonAnswer({ error: { message: "list index out of range", code: 500 } }, 500));
  const { engines, ask } = await fleet(t, [broken, broken, good]);
  const response = await ask();
  assert.equal(response.status, 500);
  assert.deepEqual(response.json(), { error: { message: "list index out of range", code: 500 } });
  assert.equal(response.header("x-should-retry"), "false");
  assert.equal(engines[2]?.requests.length, 0);
});

test("B8: an engine's long error passes whole, or not at all as if it were whole", async (t) => {
  const long = { error: { message: "x".repeat(200_000), code: 500 } };
  const { router, ask } = await fleet(t, [(request) => request.connection.write(jsonAnswer(long, 500))]);
  const response = await ask();
  assert.ok(response.status === 500 || response.status === 502 || response.status === 503);
  assert.ok(errorOf(response).message.length > 0, "what the client gets is JSON");
  await router.idle();
});

test("B8: an engine that fails with an endless body is not read for ever", async (t) => {
  const { engines, router, ask } = await fleet(t, [
    (request) => {
      const { socket } = request.connection;
      socket.write("HTTP/1.1 500 Status\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
      const block = chunk("x".repeat(60_000));
      const more = (): void => {
        while (!request.connection.gone && socket.write(block));
        if (!request.connection.gone) socket.once("drain", more);
      };
      more();
    },
    good,
  ]);
  assert.equal((await ask()).text, event("hello") + done);
  await until(() => engines[0]?.connections[0]?.gone === true, "the failing engine is let go");
  await router.idle();
});

test("B7: an HTTP/1.0 client gets heartbeat and events without chunk framing", async (t) => {
  const handlers: RawHandler[] = [(request) => request.connection.write(streamHead()), good];
  const { engines, router, clock } = await fleet(t, handlers, ["--sse-heartbeat-seconds", "1"]);
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body).toString().replace("HTTP/1.1", "HTTP/1.0"));
  await until(() => engines[0]?.requests.length === 1, "the first engine has the request");
  await turns(5);
  clock.advance(1200);
  await client.sees(": ping\n\n");
  engines[0]?.connections[0]?.reset();
  const response = await client.response();
  assert.equal(response.text, `: ping\n\n${event("hello")}${done}`);
  assert.equal(response.end, "closed");
});

test("B3: a 5xx that is no reason for another try passes, and is counted as the engine's error and not as the client's", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  engine.script(({ connection }) => connection.write(jsonAnswer({ error: { message: "not built" } }, 501)));
  assert.equal((await post(router.port, "/v1/embeddings", '{"model":"test-model"}')).status, 501);
  await router.idle();
  assert.equal(router.metric('lmstack_requests_total{model="test-model",api="embeddings",outcome="engine_error"}'), 1);
});
