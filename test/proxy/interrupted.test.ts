// Rows B4, C1, C3, C4 and C5: time limits, and engines that fail after the first event. A stream that is not whole must
// never look like one that is.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import net from "node:net";
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
  type RawConnection,
  type RawEngine,
} from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const body = '{"model":"test-model","messages":[],"stream":true}';

interface Stage {
  readonly engine: RawEngine;
  readonly router: TestRouter;
  readonly clock: ManualClock;
}

async function stage(t: TestContext, argv: readonly string[] = []): Promise<Stage> {
  const engine = await startRawEngine(t);
  const clock = new ManualClock();
  const router = await startTestRouter(t, ["--static-backends", engine.url, ...argv], { clock });
  return { engine, router, clock };
}

/** Begins a stream with two events, lets them pass, and then does what is said. */
function begun(then: (connection: RawConnection) => void) {
  return ({ connection }: { readonly connection: RawConnection }): void => {
    connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one")), chunk(event("two"))]));
    void turns(5).then(() => then(connection));
  };
}

const half = event("three").slice(0, 20);
const deaths: Readonly<Record<string, (connection: RawConnection) => void>> = {
  "resets the connection": (connection) => connection.reset(),
  "closes the connection": (connection) => connection.end(),
  "ends its answer properly, without [DONE]": (connection) => connection.write(lastChunk),
  "sends half of an event and closes": (connection) =>
    void connection.flushed(chunk(half)).then(() => connection.end()),
  "sends half of an event and ends its answer properly": (connection) =>
    connection.write(Buffer.concat([chunk(half), Buffer.from(lastChunk)])),
  "sends half of an event together with [DONE] lacking its empty line": (connection) =>
    connection.write(Buffer.concat([chunk("data: [DONE]\n"), Buffer.from(lastChunk)])),
  "is cut inside of an HTTP chunk": (connection) =>
    void connection.flushed(`ff\r\n${half}`).then(() => connection.reset()),
  "sends bytes that are no chunk": (connection) => connection.write("zz\r\n"),
};

for (const [what, die] of Object.entries(deaths)) {
  test(`C1: an engine that ${what} in mid-stream: whole events, an error frame, the end, and no [DONE]`, async (t) => {
    const { engine, router } = await stage(t);
    engine.script(begun(die));
    const response = await post(router.port, "/v1/chat/completions", body);
    assert.equal(response.status, 200);
    const error = /^([^]*?)data: (\{"error":.*\})\n\n$/.exec(response.text);
    assert.ok(error, response.text);
    assert.equal(error[1], event("one") + event("two"));
    assert.equal((JSON.parse(error[2] ?? "") as { error: { code: string } }).error.code, "stream_interrupted");
    assert.ok(response.complete, "the client's connection can be used again");
    await router.idle();
    assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="cut"}'), 1);
    assert.equal(router.metric(`lmstack_attempts_total{endpoint="127.0.0.1:${engine.port}",outcome="interrupted"}`), 1);
  });
}

test("C1: an HTTP/1.0 client is told by the same frame", async (t) => {
  const { engine, router } = await stage(t);
  engine.script(begun((connection) => connection.reset()));
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body).toString().replace("HTTP/1.1", "HTTP/1.0"));
  const response = await client.response();
  assert.match(response.text, /data: \{"error":.*"code":"stream_interrupted"\}\}\n\n$/);
});

test("C1: on /v1/messages the frame is Anthropic's", async (t) => {
  const { engine, router } = await stage(t);
  const first = 'event: message_start\ndata: {"type":"message_start"}\n\n';
  engine.script(
    (request) =>
      void request.connection
        .flushed(Buffer.concat([Buffer.from(streamHead()), chunk(first)]))
        .then(() => request.connection.reset()),
  );
  const response = await post(router.port, "/v1/messages", body, ["x-request-id: mine"]);
  const match = /^event: message_start\n.*\n\nevent: error\ndata: (.*)\n\n$/.exec(response.text);
  assert.ok(match, response.text);
  const frame = JSON.parse(match[1] ?? "") as {
    type: string;
    error: { type: string; message: string };
    request_id: string;
  };
  assert.equal(frame.type, "error");
  assert.equal(frame.error.type, "api_error");
  assert.equal(frame.request_id, "mine");
});

test("C1: a stream of messages is whole with message_stop, and not with anything else", async (t) => {
  const { engine, router } = await stage(t);
  const events = ["message_start", "message_stop"].map((type) => chunk(`event: ${type}\ndata: {"type":"${type}"}\n\n`));
  engine.script((request) =>
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), ...events, Buffer.from(lastChunk)])),
  );
  const response = await post(router.port, "/v1/messages", body);
  assert.doesNotMatch(response.text, /error/);
  assert.ok(response.complete);
  assert.equal(router.metric('lmstack_requests_total{model="test-model",api="messages",outcome="ok"}'), 1);
});

test("C1: a text that speaks of message_stop does not end a stream of messages", async (t) => {
  // the word was looked for anywhere in an event: an engine that died behind such a text was taken for one that had ended
  const { engine, router } = await stage(t);
  const data = {
    type: "content_block_delta",
    index: 0,
    delta: { type: "text_delta", text: "then comes message_stop" },
  };
  const text = `event: content_block_delta\ndata: ${JSON.stringify(data)}\n\n`;
  engine.script(
    ({ connection }) =>
      void connection.flushed(Buffer.concat([Buffer.from(streamHead()), chunk(text)])).then(() => connection.reset()),
  );
  const response = await post(router.port, "/v1/messages", body);
  assert.match(response.text, /\n\nevent: error\ndata: /);
  await router.idle();
  assert.equal(router.metric('lmstack_requests_total{model="test-model",api="messages",outcome="cut"}'), 1);
});

test("C1: an empty line behind [DONE] takes nothing from a stream that is whole", async (t) => {
  const { engine, router } = await stage(t);
  for (const rest of ["\n", "\r\n", ": bye"]) {
    engine.script(({ connection }) =>
      connection.write(
        Buffer.concat([Buffer.from(streamHead()), chunk(event("one")), chunk(done + rest), Buffer.from(lastChunk)]),
      ),
    );
    const response = await post(router.port, "/v1/chat/completions", body);
    assert.equal(response.text, event("one") + done);
    assert.ok(response.complete);
  }
  await router.idle();
  assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="ok"}'), 3);
});

test("C1: on /v1/responses the frame is that of the Responses API", async (t) => {
  const { engine, router } = await stage(t);
  const created = { response: { id: "resp_1" }, sequence_number: 0, type: "response.created" };
  const delta = { delta: '"sequence_number":7', sequence_number: 41, type: "response.output_text.delta" };
  const first = [created, delta].map((said) => `event: ${said.type}\ndata: ${JSON.stringify(said)}\n\n`).join("");
  engine.script(
    (request) =>
      void request.connection
        .flushed(Buffer.concat([Buffer.from(streamHead()), chunk(first)]))
        .then(() => request.connection.end()),
  );
  const response = await post(router.port, "/v1/responses", '{"model":"test-model","input":"x","stream":true}');
  const match = /\n\nevent: error\ndata: (.*)\n\n$/.exec(response.text);
  assert.ok(match, response.text);
  const frame = JSON.parse(match[1] ?? "") as Record<
    "type" | "code" | "message" | "sequence_number" | "error",
    unknown
  >;
  assert.equal(frame.type, "error");
  assert.equal(frame.sequence_number, 42);
  assert.equal(frame.code, "stream_interrupted");
  assert.deepEqual(frame.error, { type: "api_error", code: frame.code, message: frame.message, param: null });
});

for (const together of [true, false]) {
  test(`C3: after the engine's own error frame its [DONE] does not pass (${together ? "in one read" : "in two reads"})`, async (t) => {
    const { engine, router } = await stage(t);
    const end = Buffer.concat([chunk(done), Buffer.from(lastChunk)]);
    const error =
      'data: {"error":{"message":"EngineCore encountered an issue","type":"InternalServerError","code":500}}\n\n';
    engine.script(
      begun((connection) => {
        if (together) connection.write(Buffer.concat([chunk(error), chunk(done), Buffer.from(lastChunk)]));
        else {
          connection.write(chunk(error));
          void turns(5).then(() => connection.write(end));
        }
      }),
    );
    const response = await post(router.port, "/v1/chat/completions", body);
    assert.equal(response.text, event("one") + event("two") + error);
    assert.ok(response.complete);
    await router.idle();
    assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="cut"}'), 1);
    assert.equal(router.metric(`lmstack_attempts_total{endpoint="127.0.0.1:${engine.port}",outcome="interrupted"}`), 1);
  });
}

test("C3: five streams that break eject the endpoint", async (t) => {
  const { engine, router } = await stage(t);
  engine.handler = begun((connection) => connection.reset());
  for (let i = 0; i < 5; i++) await post(router.port, "/v1/chat/completions", body);
  assert.equal(router.context.registry.list()[0]?.breaker.ejected, 1);
});

for (const [framing, head] of [
  ["a length", "content-length: 1000"],
  ["chunks", "transfer-encoding: chunked"],
] as const) {
  test(`C4: an answer in ${framing} that is cut short cuts the client's connection`, async (t) => {
    const { engine, router } = await stage(t);
    engine.script((request) => {
      const part = '{"object":"chat.completion"';
      const bytes = framing === "chunks" ? chunk(part) : part;
      void request.connection
        .flushed(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${head}\r\n\r\n${bytes.toString()}`)
        .then(() => request.connection.end());
    });
    const response = await post(router.port, "/v1/chat/completions", body);
    assert.equal(response.complete, false);
    assert.notEqual(response.end, "open");
    await router.idle();
    assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="cut"}'), 1);
  });
}

test("C5: silence gets comments between events, from the heartbeat interval on, never inside an event", async (t) => {
  const { engine, router, clock } = await stage(t, ["--sse-heartbeat-seconds", "15"]);
  engine.script((request) =>
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one") + half)])),
  );
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await client.sees(event("one"));
  for (let i = 0; i < 2; i++) {
    // in steps that the router's own checks of the engine can follow
    for (let second = 0; second < 15; second++) {
      assert.equal(client.received.toString().split(": ping").length - 1, i);
      clock.advance(1000);
      await turns(4);
    }
    clock.advance(200);
    await until(() => client.received.toString().split(": ping").length - 1 === i + 1, "the next ping has come");
  }
  engine.connections[0]?.write(
    Buffer.concat([chunk(event("three").slice(half.length) + done), Buffer.from(lastChunk)]),
  );
  const response = await client.response();
  assert.equal(response.text, `${event("one")}: ping\n\n: ping\n\n${event("three")}${done}`);
});

test("C5: an engine's own comments before the first event, which do not pass, do not put the heartbeat off", async (t) => {
  const { engine, router, clock } = await stage(t, ["--sse-heartbeat-seconds", "15"]);
  engine.script((request) => request.connection.write(streamHead()));
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await until(() => engine.requests.length === 1, "the engine has the request");
  for (let second = 0; second < 16; second++) {
    await engine.connections[0]?.flushed(chunk(": queued\n\n"));
    await turns(4);
    clock.advance(1000);
    await turns(4);
  }
  await client.sees(": ping\n\n");
  engine.connections[0]?.write(Buffer.concat([chunk(event("one") + done), Buffer.from(lastChunk)]));
  assert.equal((await client.response()).text, `: ping\n\n${event("one")}${done}`);
});

test("C5: a request can do without comments, by a header that is for the router alone", async (t) => {
  const { engine, router, clock } = await stage(t);
  engine.script(begun(() => undefined));
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body, ["X-LMStack-Heartbeat: off"]));
  await client.sees("two");
  for (let i = 0; i < 40; i++) {
    clock.advance(1000);
    await turns(2);
  }
  engine.connections[0]?.write(Buffer.concat([chunk(done), Buffer.from(lastChunk)]));
  const response = await client.response();
  assert.doesNotMatch(response.text, /ping/);
  assert.match(response.text, /\[DONE\]/);
  assert.equal(engine.requests[0]?.header("x-lmstack-heartbeat"), undefined);
});

test("C5: no comments where --sse-heartbeat-seconds is 0, and none into answers that are no streams", async (t) => {
  for (const stream of [true, false]) {
    const { engine, router, clock } = await stage(t, ["--sse-heartbeat-seconds", stream ? "0" : "1"]);
    engine.script((request) => stream && request.connection.write(streamHead()));
    const asked = post(router.port, "/v1/chat/completions", body);
    await until(() => engine.requests.length === 1, "the engine has the request");
    await turns(5);
    clock.advance(3000);
    await turns(5);
    engine.connections[0]?.write(
      stream ? Buffer.concat([chunk(event("one") + done), Buffer.from(lastChunk)]) : jsonAnswer({ ok: true }),
    );
    const response = await asked;
    assert.equal(response.text, stream ? event("one") + done : '{"ok":true}');
  }
});

// --- B4

/** Sends a request, waits until the engine has it, and lets time pass. */
async function timedOut(
  { engine, router, clock }: Stage,
  ms: number,
  fields: readonly string[] = [],
): Promise<ClientResponse> {
  const asked = post(router.port, "/v1/chat/completions", body, fields);
  await until(() => engine.requests.length === 1, "the engine has the request");
  await turns(10);
  clock.advance(ms);
  const response = await asked;
  await until(() => engine.connections[0]?.gone === true, "the engine's connection is closed");
  await router.idle();
  return response;
}

for (const accepted of [true, false]) {
  test(`B4: no first event within --first-event-timeout-seconds (${accepted ? "stream accepted" : "no head"}): 504 engine_first_event_timeout`, async (t) => {
    const here = await stage(t, ["--first-event-timeout-seconds", "2"]);
    here.engine.script((request) => accepted && request.connection.write(streamHead()));
    const response = await timedOut(here, 2200);
    const error = errorOf(response);
    assert.equal(error.status, 504);
    assert.equal(error.code, "engine_first_event_timeout");
    assert.equal(response.header("x-should-retry"), "false");
    assert.equal(
      here.router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="engine_timeout"}'),
      1,
    );
  });
}

test("B4: the first event's limit passes after a heartbeat: the same code in an error frame", async (t) => {
  const here = await stage(t, ["--first-event-timeout-seconds", "2", "--sse-heartbeat-seconds", "1"]);
  here.engine.script((request) => request.connection.write(streamHead()));
  const response = await timedOut(here, 2200);
  assert.equal(response.status, 200);
  assert.match(response.text, /^: ping\n\n(: ping\n\n)?data: \{"error":.*"code":"engine_first_event_timeout"\}\}\n\n$/);
});

test("B4: a pause longer than --idle-timeout-seconds in a stream: an error frame engine_idle_timeout", async (t) => {
  const here = await stage(t, ["--idle-timeout-seconds", "2", "--sse-heartbeat-seconds", "0"]);
  here.engine.script((request) =>
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))])),
  );
  const response = await timedOut(here, 2200);
  assert.ok(response.text.startsWith(event("one")));
  assert.match(response.text, /"code":"engine_idle_timeout"/);
  assert.equal(here.router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="engine_timeout"}'), 1);
});

test("B4: a waiting JSON answer is not limited by the first event's or the idle limit, only by the total one", async (t) => {
  const here = await stage(t, ["--idle-timeout-seconds", "1", "--first-event-timeout-seconds", "1"]);
  here.engine.script(() => undefined);
  const asked = post(here.router.port, "/v1/chat/completions", '{"model":"test-model","messages":[]}');
  await until(() => here.engine.requests.length === 1, "the engine has the request");
  here.clock.advance(5000);
  await turns(5);
  here.engine.connections[0]?.write(jsonAnswer({ ok: true }));
  assert.deepEqual((await asked).json(), { ok: true });
});

test("B4: --total-timeout-seconds ends any request: 504 total_timeout, not the endpoint's fault", async (t) => {
  const here = await stage(t, ["--total-timeout-seconds", "2"]);
  here.engine.script(() => undefined);
  const response = await timedOut(here, 2200);
  const error = errorOf(response);
  assert.equal(error.status, 504);
  assert.equal(error.code, "total_timeout");
  assert.equal(here.router.context.registry.list()[0]?.breaker.ejected, 0);
});

test("B4: --total-timeout-seconds in mid-stream: an error frame; inside of a JSON answer: the connection is cut", async (t) => {
  const here = await stage(t, ["--total-timeout-seconds", "2"]);
  here.engine.script((request) =>
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))])),
  );
  const stream = await timedOut(here, 2200);
  assert.match(stream.text, /^data: .*"one".*\n\ndata: \{"error":.*"code":"total_timeout"\}\}\n\n$/);
  assert.ok(stream.complete);
  const other = await stage(t, ["--total-timeout-seconds", "2"]);
  other.engine.script((request) =>
    request.connection.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"a":'),
  );
  const json = await timedOut(other, 2200);
  assert.equal(json.complete, false);
  assert.notEqual(json.end, "open");
});

// Found by the chaos harness (seed 38): behind [DONE] came an error frame, and a whole answer was counted as an error.
test("B4: --total-timeout-seconds after the last event, before the framing's end: the answer is whole, without an error", async (t) => {
  const here = await stage(t, ["--total-timeout-seconds", "2"]);
  here.engine.script((request) =>
    request.connection.write(
      Buffer.concat([Buffer.from(streamHead()), chunk(event("one")), chunk("data: [DONE]\n\n")]),
    ),
  );
  const stream = await timedOut(here, 2200);
  assert.match(stream.text, /^data: .*"one".*\n\ndata: \[DONE\]\n\n$/);
  assert.ok(stream.complete);
});

test("B4: x-request-timeout ends any request when its client waits no longer, before the answer and inside of it", async (t) => {
  const here = await stage(t, []);
  here.engine.script(() => undefined);
  const none = errorOf(await timedOut(here, 2200, ["x-request-timeout: 2"]));
  assert.deepEqual([none.status, none.code], [504, "total_timeout"]);
  assert.match(none.message, /longer than the 2 s that the client waits/);
  assert.equal(here.router.context.registry.list()[0]?.breaker.ejected, 0);
  const other = await stage(t, []);
  other.engine.script(({ connection }) =>
    connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))])),
  );
  const stream = await timedOut(other, 2200, ["x-request-timeout: 2"]);
  assert.match(stream.text, /"code":"total_timeout"\}\}\n\n$/);
});

test("B4: x-stainless-timeout, which SDKs send, ends a request before its answer and not a stream that has begun", async (t) => {
  const here = await stage(t, []);
  here.engine.script(() => undefined);
  const none = errorOf(await timedOut(here, 2200, ["x-stainless-timeout: 2"]));
  assert.deepEqual([none.status, none.code], [504, "total_timeout"]);
  const other = await stage(t, []);
  const send = async (connection: RawConnection): Promise<void> => {
    await connection.flushed(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))]));
    await until(() => other.router.context.registry.list()[0]?.running === 1, "the stream has begun");
    other.clock.advance(5000);
    connection.write(Buffer.concat([chunk(event("two")), chunk(done), Buffer.from(lastChunk)]));
  };
  other.engine.script(({ connection }) => void send(connection));
  const stream = await post(other.router.port, "/v1/chat/completions", body, ["x-stainless-timeout: 2"]);
  assert.match(stream.text, /"two".*\[DONE\]/s);
});

test("B4: no connection within --connect-timeout-seconds: another endpoint; 504 engine_connect_timeout with none left", async (t) => {
  // a stopped process: the system completes connections until its queue is full, then leaves them hanging
  const script = `
    const http = require("node:http");
    const server = http.createServer((q, s) => s.end(q.url === "/health" ? "" : JSON.stringify({ data: [{ id: "test-model" }] })));
    server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => process.stdout.write(String(server.address().port)));`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const port = await new Promise<number>((resolve) =>
    child.stdout.once("data", (data: Buffer) => resolve(Number(data.toString()))),
  );
  const clock = new ManualClock();
  const engine = await startRawEngine(t, { handler: (request) => request.connection.write(wholeStream("hello")) });
  const router = await startTestRouter(t, ["--static-backends", `http://127.0.0.1:${port},${engine.url}`], {
    clock,
    random: () => 0.999,
  });
  child.kill("SIGSTOP");
  const fillers = Array.from({ length: 8 }, () => net.connect(port, "127.0.0.1"));
  t.after(() => fillers.forEach((socket) => socket.destroy()));
  for (const socket of fillers) socket.on("error", () => undefined);
  await until(() => fillers.some((socket) => !socket.connecting), "the queue takes connections");
  await turns(20);
  const asked = post(router.port, "/v1/chat/completions", body);
  await until(() => router.context.registry.list()[0]?.queued === 1, "the stopped engine is tried");
  await turns(5);
  clock.advance(2200);
  assert.equal((await asked).text, event("hello") + done);
  assert.equal(router.metric(`lmstack_attempts_total{endpoint="127.0.0.1:${port}",outcome="timeout"}`), 1);
  engine.kill();
  const failed = post(router.port, "/v1/chat/completions", body);
  await until(() => router.context.registry.list()[0]?.queued === 1, "the stopped engine is tried again");
  await turns(5);
  clock.advance(2200);
  const error = errorOf(await failed);
  assert.ok(error.code === "engine_connect_timeout" || error.code === "engine_unreachable", error.code);
  assert.ok(error.status === 504 || error.status === 502);
});
