// Rows D0 and D1: a client that leaves frees its engine in the same turn of the loop, and nobody is blamed for it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import { RawClient, rawRequest } from "../helpers/http-client.ts";
import { chunk, event, startRawEngine, streamHead, type RawHandler } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const streaming = '{"model":"test-model","messages":[],"stream":true}';
const plain = '{"model":"test-model","messages":[]}';

interface Moment {
  readonly body: string;
  readonly handler: RawHandler;
  /** What the client has seen when it leaves; "" = nothing yet. */
  readonly seen: string;
}

const moments: Readonly<Record<string, Moment>> = {
  "in mid-stream": {
    body: streaming,
    handler: (request) => request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))])),
    seen: "one",
  },
  "before the first event of a stream": {
    body: streaming,
    handler: (request) => request.connection.write(streamHead()),
    seen: "",
  },
  "before the engine answered anything": { body: streaming, handler: () => undefined, seen: "" },
  "while a JSON answer is awaited": { body: plain, handler: () => undefined, seen: "" },
  "inside of a JSON answer": {
    body: plain,
    handler: (request) =>
      request.connection.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a":'),
    seen: '{"a":',
  },
};

for (const [when, { body, handler, seen }] of Object.entries(moments)) {
  for (const how of ["closes", "resets", "half-closes"] as const) {
    test(`D1: a client that ${how} ${when}: the engine's connection is closed, nobody is blamed, nothing is retried`, async (t) => {
      const engine = await startRawEngine(t, { handler });
      const other = await startRawEngine(t);
      const router = await startTestRouter(t, ["--static-backends", `${engine.url},${other.url}`], {
        random: () => 0.999,
      });
      const client = await RawClient.connect(router.port);
      client.write(rawRequest("POST", "/v1/chat/completions", body));
      await until(() => engine.requests.length === 1, "the engine has the request");
      if (seen !== "") await client.sees(seen);
      else await turns(5);
      if (how === "closes") client.close();
      else if (how === "resets") client.reset();
      else client.socket.end();
      await until(() => engine.connections[0]?.gone === true, "the engine's connection is closed");
      await router.idle();
      assert.equal(other.requests.length, 0);
      assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="client_gone"}'), 1);
      assert.equal(
        router.metric(`lmstack_attempts_total{endpoint="127.0.0.1:${engine.port}",outcome="client_gone"}`),
        1,
      );
      assert.equal(router.context.registry.list()[0]?.breaker.ejected, 0);
      assert.equal(router.context.registry.list()[0]?.pool.size, 0);
    });
  }
}

test("D1: the engine's connection is closed in the very turn of the loop in which the client's end was read", async (t) => {
  const engine = await startRawEngine(t, { handler: moments["in mid-stream"]?.handler ?? (() => undefined) });
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", streaming));
  await client.sees("one");
  const endpoint = router.context.registry.list()[0];
  const [active] = router.context.active;
  assert.ok(active !== undefined && endpoint !== undefined);
  // the router learns of it through this callback: by the time that it returns, the engine's socket is destroyed
  const told = active.exchange.onClientGone;
  const order: string[] = [];
  active.exchange.onClientGone = () => {
    order.push(`told, ${endpoint.pool.size} open, ${endpoint.inFlight} in flight`);
    told?.();
    order.push(`done, ${endpoint.pool.size} open, ${endpoint.inFlight} in flight`);
  };
  client.close();
  await until(() => order.length === 2, "the router has noticed");
  assert.deepEqual(order, ["told, 1 open, 1 in flight", "done, 0 open, 0 in flight"]);
  // and the engine sees it within the next turns: one for its poll
  await turns(3);
  assert.equal(engine.connections[0]?.gone, true);
});

test("D0: the connection to an engine is never half-closed: what the engine still writes is refused by the system", async (t) => {
  const engine = await startRawEngine(t, { handler: moments["in mid-stream"]?.handler ?? (() => undefined) });
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", streaming));
  await client.sees("one");
  const socket = engine.connections[0]?.socket;
  assert.ok(socket);
  let ended = false;
  let failed = false;
  socket.on("end", () => (ended = true));
  socket.on("error", () => (failed = true));
  await turns(20);
  assert.equal(ended, false, "the router closed its side while the client was still there");
  client.close();
  await until(() => ended || failed, "the engine sees the end");
  // a half-closed peer would take these bytes in silence
  for (let i = 0; i < 50 && !failed; i++) {
    socket.write(chunk(event("more")));
    await turns(2);
  }
  assert.equal(failed, true);
});

test("D1: a client that leaves while its body is on its way never reaches an engine", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", streaming).subarray(0, -5));
  await until(() => router.context.bufferedBytes > 0, "part of the body has arrived");
  client.reset();
  await router.idle();
  assert.equal(router.context.bufferedBytes, 0);
  assert.equal(engine.requests.length, 0);
});

test("D1: a client that pipelines and leaves takes both requests with it", async (t) => {
  const engine = await startRawEngine(t, { handler: () => undefined });
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const client = await RawClient.connect(router.port);
  client.write(
    Buffer.concat([
      rawRequest("POST", "/v1/chat/completions", plain),
      rawRequest("POST", "/v1/chat/completions", plain),
    ]),
  );
  await until(() => engine.requests.length === 1, "the engine has the first request");
  client.close();
  await until(() => engine.connections[0]?.gone === true, "the engine's connection is closed");
  await router.idle();
  assert.equal(engine.requests.length, 1);
});

for (const stream of [true, false]) {
  test(`D1: the simulated engine counts the abort and stops generating (${stream ? "stream" : "no stream"})`, async (t) => {
    const engine = await startEngine({ models: ["test-model"] });
    t.after(() => engine.close());
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const client = await RawClient.connect(router.port);
    const body = JSON.stringify({
      model: "test-model",
      messages: [{ role: "user", content: "x" }],
      max_tokens: 5000,
      ignore_eos: true,
      stream,
    });
    client.write(rawRequest("POST", "/v1/chat/completions", body));
    await until(() => engine.state().running === 1, "the engine generates");
    if (stream) await client.sees("data: ");
    client.close();
    await until(() => engine.state().aborted === 1, "the engine has noticed");
    assert.equal(engine.state().running, 0);
    assert.equal(engine.state().kvBlocksUsed, 0);
    await router.idle();
  });
}
