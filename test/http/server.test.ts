// The listening side on real sockets, with a handler that echoes and a clock that moves by hand: order, framing,
// limits, slow clients, and the ways in which a client can leave.
import assert from "node:assert/strict";
import { test } from "node:test";
import tls from "node:tls";
import { RawClient } from "../helpers/http-client.ts";
import { turns, until } from "../helpers/until.ts";
import { selfSigned } from "./self-signed.ts";
import {
  headMs,
  bodyIdleMs,
  keepAliveMs,
  clientStallMs,
  maxBodyBytes,
  lateMs,
  serve,
  request,
  codeOf,
  begin,
  pass,
} from "./serve.ts";

test("pipelined requests are told one at a time and answered in order", async (t) => {
  const { told, held, connect } = await serve(t);
  const client = await connect();
  client.write(request("/hold", "first") + request("/echo/2", "second") + request("/echo/3", "third"));
  await until(() => held.length === 1, "the first request is told");
  await turns(5);
  assert.deepEqual(told, ["/hold"], "the second waits until the first is answered");
  held[0]?.answer(200, [], "held");
  const texts = [await client.response(), await client.response(), await client.response()].map(({ text }) => text);
  assert.deepEqual(texts, ["held", "second", "third"]);
});

test("pipelined requests within what is held are all answered in order", async (t) => {
  const { held, connect } = await serve(t);
  const client = await connect();
  const body = "x".repeat(1000);
  client.write(request("/hold"));
  for (let i = 0; i < 200; i++) client.write(request(`/echo/${i}`, body));
  await until(() => held.length === 1, "the first request is told");
  await turns(20);
  held[0]?.answer(200, [], "held");
  assert.equal((await client.response()).text, "held");
  for (let i = 0; i < 200; i++) {
    const response = await client.response();
    assert.equal(response.header("x-target"), `/echo/${i}`);
    assert.equal(response.text, body);
  }
});

test("answers that wait for others leave in order with those that do not", async (t) => {
  const { connect } = await serve(t);
  const client = await connect();
  const targets = Array.from({ length: 200 }, (_, i) => `/${i % 3 === 0 ? "echo" : "whole"}/${i}`);
  client.write(targets.map((target) => request(target, "body")).join(""));
  for (const target of targets) {
    const response = await client.response();
    assert.deepEqual([response.header("x-target"), response.text], [target, "body"]);
  }
});

// Found in review: the second request's end took the answer with it that was complete and waited for the end of the turn.
test("an answer that waits for others is not lost to what ends the connection in the same turn", async (t) => {
  const { connect, server } = await serve(t);
  const ends: readonly ((client: RawClient) => void)[] = [
    (client) => client.write(request("/whole", "all", ["Connection: close"])),
    (client) => client.write(request("/whole", "all") + request("/cut")),
    (client) => client.write(`${request("/whole", "all")}GET nonsense`),
    (client) => {
      client.socket.allowHalfOpen = true;
      client.socket.end(request("/whole", "all"));
    },
  ];
  for (const end of ends) {
    const client = await connect();
    end(client);
    const response = await client.response();
    assert.deepEqual([response.complete, response.text], [true, "all"]);
    client.close();
  }
  await until(() => server.connections === 0, "the connections are gone");
});

// The socket was paused once, and a client that left then was not seen: its engine worked on for nobody.
test("a client that pipelines more than is held gets its answer, and then the end of the connection", async (t) => {
  const { held, connect } = await serve(t);
  const client = await connect();
  client.write(request("/hold"));
  for (let i = 0; i < 1000; i++) client.write(request(`/echo/${i}`, "x".repeat(1000)));
  await until(() => held.length === 1, "the first request is told");
  await turns(20);
  held[0]?.answer(200, [], "held");
  assert.equal((await client.response()).text, "held");
  await until(() => client.end !== "open", "the connection has ended");
});

test("a connection is kept by HTTP/1.1 and by HTTP/1.0 that asks for it, and ended otherwise", async (t) => {
  const { connect } = await serve(t);
  for (const [version, connection, kept] of [
    ["HTTP/1.1", "keep-alive", true],
    ["HTTP/1.1", "x", true],
    ["HTTP/1.1", "close", false],
    ["HTTP/1.1", "keep-alive, close", false],
    ["HTTP/1.0", "keep-alive", true],
    ["HTTP/1.0", "x", false],
    ["HTTP/1.0", "keep-alive, close", false],
  ] as const) {
    const what = `${version} with ${connection}`;
    const client = await connect();
    client.write(request("/echo", "a", [`Connection: ${connection}`], version));
    const response = await client.response();
    assert.equal(response.text, "a", what);
    const said = kept ? (version === "HTTP/1.0" ? "keep-alive" : undefined) : "close";
    assert.equal(response.header("connection"), said, what);
    if (kept) {
      client.write(request("/echo", "b"));
      assert.equal((await client.response()).text, "b", what);
    } else assert.equal(await client.ended(), "closed", what);
  }
});

test("an answer that was given before the body was read ends the connection, and the client can go on sending", async (t) => {
  const { told, connect } = await serve(t);
  const client = await connect();
  const body = request("/echo", "smuggled").repeat(2000);
  client.write(request("/own", body));
  const response = await client.response();
  assert.deepEqual([response.status, response.header("connection")], [200, "close"]);
  assert.equal(await client.ended(), "closed", "not reset while the client was sending");
  assert.deepEqual(told, ["/own"], "what stood in the body is no request");
});

// The reader of a request without a body was told of its end twice: when it asked, and when the parser reached it.
test("the end of a body is told once, whether there is one or not", async (t) => {
  const { held, connect } = await serve(t);
  for (const bytes of [request("/hold"), request("/hold", "", ["Content-Length: 0"]), request("/hold", "x")]) {
    const client = await connect();
    client.write(bytes);
    await until(() => held.length > 0, "the request is told");
    assert.equal(held.length, 1);
    held.pop()?.answer(200, [], "");
    assert.equal((await client.response()).status, 200);
  }
});

test("bodies of any bytes and any size come in and go out as they are", async (t) => {
  const { connect } = await serve(t);
  const client = await connect();
  for (const size of [1, 256, 5000, 8 * 1024, 8 * 1024 + 1, 16 * 1024, 16 * 1024 + 1, maxBodyBytes]) {
    const bytes = Buffer.from(Array.from({ length: size }, (_, i) => (i * 167 + (i >> 8)) & 0xff));
    client.write(`POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`).write(bytes);
    const response = await client.response();
    assert.ok(response.body.equals(bytes), `${size} bytes`);
  }
});

// --- limits

test("a head over 64 KiB is answered with 431 that the client can read, whole or without end", async (t) => {
  const { told, connect } = await serve(t);
  for (const end of ["\r\n\r\n", ""]) {
    const client = await connect();
    client.write(`GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(2_000_000)}${end}`);
    const response = await client.response();
    assert.equal(response.status, 431);
    assert.equal(codeOf(response), "head_too_large");
    assert.equal(await client.ended(), "closed");
  }
  assert.deepEqual(told, []);
});

test("A6: a body of exactly the limit passes and one byte more is 413, with a length and in chunks", async (t) => {
  const { bodyErrors, connect } = await serve(t);
  const chunked = (length: number): string =>
    `POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${length.toString(16)}\r\n${"x".repeat(length)}\r\n0\r\n\r\n`;
  const counted = (length: number): string => request("/echo", "x".repeat(length));
  for (const make of [counted, chunked]) {
    const client = await connect();
    client.write(make(maxBodyBytes));
    const good = await client.response();
    assert.deepEqual([good.status, good.body.length], [200, maxBodyBytes]);
    client.write(make(maxBodyBytes + 1));
    const bad = await client.response();
    assert.deepEqual([bad.status, codeOf(bad), bad.header("connection")], [413, "body_too_large", "close"]);
    assert.equal(await client.ended(), "closed");
  }
  assert.deepEqual(bodyErrors, ["body_too_large", "body_too_large"]);
});

test("A6: a client that goes on sending a body that is too large reads its 413 and is not reset", async (t) => {
  const { connect } = await serve(t);
  const megabyte = "x".repeat(1024 * 1024);
  for (const head of ["Content-Length: 8388608\r\n\r\n", `Transfer-Encoding: chunked\r\n\r\n800000\r\n`]) {
    const client = await connect();
    // the router ends its side at once; a client may not look at that before it has sent everything
    client.socket.allowHalfOpen = true;
    client.write(`POST /echo HTTP/1.1\r\nHost: a\r\n${head}`);
    for (let i = 0; i < 8; i++) await new Promise<void>((resolve) => client.socket.write(megabyte, () => resolve()));
    const response = await client.response();
    assert.deepEqual([response.status, response.complete], [413, true]);
    client.socket.end();
    assert.equal(await client.ended(), "closed");
  }
});

test("A6: a client that never stops sending after its 413 is cut after a while", async (t) => {
  const { clock, server, connect } = await serve(t);
  const client = await connect();
  client.socket.allowHalfOpen = true;
  client.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  assert.equal((await client.response()).status, 413);
  for (let second = 0; second < 4; second++) {
    client.write("x");
    await pass(clock, 1_000);
    assert.equal(server.connections, 1);
  }
  await pass(clock, 1_000 + lateMs);
  await until(() => server.connections === 0, "the connection is given up");
});

// --- 100-continue

test("A6: 100 Continue is sent when the body is asked for, and not where there is none to wait for", async (t) => {
  const { connect } = await serve(t);
  const client = await connect();
  client.write("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  await client.sees("HTTP/1.1 100 Continue\r\n\r\n");
  client.write("hello");
  const response = await client.response();
  assert.deepEqual([response.status, response.text, response.interim], [200, "hello", [100]]);
  for (const [bytes, status] of [
    ["POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n", 200],
    ["POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", 200],
    ["POST /own HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", 200],
    ["POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n", 413],
  ] as const) {
    const other = await connect();
    other.write(bytes);
    const answer = await other.response();
    assert.deepEqual([answer.status, answer.interim], [status, []], bytes);
  }
});

// --- time

test("a head that does not come is cut after its limit, with 408", async (t) => {
  const { clock, connect } = await serve(t);
  const client = await connect();
  client.write("POST /echo HTTP/1.1\r\nHost: a\r\n");
  await until(() => clock.pending > 0, "the server waits");
  await turns(5);
  await pass(clock, headMs - lateMs);
  assert.equal(client.end, "open");
  await pass(clock, 2 * lateMs);
  const response = await client.response();
  assert.deepEqual([response.status, codeOf(response)], [408, "request_timeout"]);
  assert.equal(await client.ended(), "closed");
});

test("a body that pauses for longer than its limit is cut with 408, one that is slow and steady is not", async (t) => {
  const { clock, bodyErrors, connect } = await serve(t);
  const client = await connect();
  client.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
  for (const byte of ["a", "b", "c", "d"]) {
    client.write(byte);
    await turns(5);
    await pass(clock, bodyIdleMs - lateMs);
    assert.deepEqual(bodyErrors, []);
  }
  await pass(clock, 2 * lateMs);
  const response = await client.response();
  assert.deepEqual([response.status, codeOf(response)], [408, "request_timeout"]);
  assert.equal(await client.ended(), "closed");
});

test("an idle connection is closed without a word after its limit, before and between requests", async (t) => {
  const { clock, connect } = await serve(t);
  const silent = await connect();
  const used = await connect();
  used.write(request("/echo", "a"));
  await used.response();
  await turns(5);
  await pass(clock, keepAliveMs - lateMs);
  assert.deepEqual([silent.end, used.end], ["open", "open"]);
  await pass(clock, 2 * lateMs);
  assert.equal(await silent.ended(), "closed");
  assert.equal(await used.ended(), "closed");
  assert.equal(silent.received.length, 0);
});

test("a client that takes nothing is cut after its limit, and whoever works for it is told", async (t) => {
  const { clock, gone, held, server, connect } = await serve(t);
  const client = await connect();
  client.socket.pause();
  client.write(request("/hold"));
  await until(() => held.length === 1, "the request is told");
  const [exchange] = held;
  assert.ok(exchange !== undefined);
  begin(exchange);
  exchange.write(Buffer.alloc(64 * 1024 * 1024, "x"));
  await until(() => exchange.queuedBytes > 0, "the system takes no more");
  await turns(20);
  await pass(clock, clientStallMs - lateMs);
  assert.deepEqual(gone, []);
  await pass(clock, 3 * lateMs);
  assert.deepEqual(gone, ["/hold"]);
  assert.equal(server.connections, 0);
});

// --- bytes that are no request

test("what is no request is answered with 400 in OpenAI's shape and the end of the connection, also behind a good one", async (t) => {
  const { told, connect } = await serve(t);
  for (const before of ["", request("/echo", "good")]) {
    const client = await connect();
    client.write(`${before}GET / HTTP/1.1\nHost: a\n\n`);
    if (before !== "") assert.equal((await client.response()).text, "good");
    const response = await client.response();
    assert.deepEqual(
      [response.status, response.header("content-type"), response.header("connection")],
      [400, "application/json", "close"],
    );
    const { error } = response.json() as { error: object };
    assert.deepEqual(Object.keys(error), ["message", "type", "param", "code"]);
    assert.equal(codeOf(response), "malformed_http");
    assert.equal(await client.ended(), "closed");
  }
  assert.deepEqual(told, ["/echo"]);
});

test("chunks that break are told to whoever reads the body, and nothing behind them is read", async (t) => {
  const { told, bodyErrors, connect } = await serve(t);
  const client = await connect();
  client.write(
    `POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n${request("/echo", "b")}`,
  );
  const response = await client.response();
  assert.deepEqual([response.status, codeOf(response)], [400, "malformed_http"]);
  assert.equal(await client.ended(), "closed");
  assert.deepEqual([told, bodyErrors], [["/echo"], ["malformed_http"]]);
});

// --- leaving

test("a client that closes its side, ends or resets has left, whether its answer has begun or not", async (t) => {
  const { held, gone, server, connect } = await serve(t);
  const ways: ((client: RawClient) => void)[] = [
    (client) => client.socket.end(),
    (client) => client.close(),
    (client) => client.reset(),
  ];
  for (const leave of ways) {
    for (const begun of [false, true]) {
      const client = await connect();
      client.write(request("/hold"));
      await until(() => held.length === 1, "the request is told");
      const exchange = held.pop();
      assert.ok(exchange !== undefined);
      if (begun) {
        begin(exchange);
        exchange.write(Buffer.from("1\r\nx\r\n"));
        await client.sees("1\r\nx\r\n");
      }
      leave(client);
      await until(() => gone.length === 1, "the client is known to have left");
      gone.pop();
      assert.equal(exchange.finished, true);
      exchange.answer(200, [], "too late");
      await until(() => server.connections === 0, "the connection is gone");
    }
  }
});

test("a client that leaves in the middle of its body is gone, and nothing is told of the body's end", async (t) => {
  const { told, held, gone, bodyErrors, server, connect } = await serve(t);
  const client = await connect();
  client.write("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  await until(() => told.length === 1, "the request is told");
  client.close();
  await until(() => server.connections === 0, "the connection is gone");
  assert.deepEqual([gone, held, bodyErrors], [["/hold"], [], []]);
});

test("an answer that is complete is let out to a client that has closed its side meanwhile", async (t) => {
  const { connect } = await serve(t);
  const client = await connect();
  client.socket.allowHalfOpen = true;
  client.socket.pause();
  client.write(request("/big"));
  client.socket.end();
  client.socket.resume();
  const response = await client.response();
  assert.deepEqual([response.complete, response.body.length], [true, 64 * 1024 * 1024]);
});

test("an answer that is cut is reset, so that nobody takes it for whole", async (t) => {
  const { held, gone, server, connect } = await serve(t);
  const client = await connect();
  client.write(request("/hold"));
  await until(() => held.length === 1, "the request is told");
  const [exchange] = held;
  assert.ok(exchange !== undefined);
  begin(exchange);
  exchange.write(Buffer.from("1\r\nx\r\n"));
  await client.sees("1\r\nx\r\n");
  exchange.cut();
  assert.equal(await client.ended(), "reset");
  assert.deepEqual(gone, [], "it is ours to know");
  await until(() => server.connections === 0, "the connection is gone");
});

// --- draining

// A drain used to end idle connections at once. A request that was on its way just then was lost: its client saw the end of
// a connection and no answer, and nothing may repeat a POST by itself.
test("G1: a drain answers whoever asks, also on a connection that was idle, and says close; the end of it ends idle ones", async (t) => {
  const { server, held, port, connect } = await serve(t);
  const idle = await connect();
  idle.write(request("/echo", "a"));
  await idle.response();
  const busy = await connect();
  busy.write(request("/hold"));
  await until(() => held.length === 1, "the request is told");
  const silent = await connect();
  const unused = await connect();
  unused.write(request("/echo", "u"));
  await unused.response();
  server.drain();
  idle.write(request("/echo", "again"));
  const again = await idle.response();
  assert.deepEqual([again.text, again.header("connection")], ["again", "close"]);
  assert.equal(await idle.ended(), "closed");
  held[0]?.answer(200, [], "finished");
  const response = await busy.response();
  assert.deepEqual([response.text, response.header("connection")], ["finished", "close"]);
  assert.equal(await busy.ended(), "closed");
  const late = await connect();
  late.write(request("/echo", "late"));
  assert.equal((await late.response()).header("connection"), "close");
  const closed = server.close();
  assert.equal(await unused.ended(), "closed");
  // this one's first request is on its way
  silent.write(request("/echo", "first"));
  assert.equal((await silent.response()).text, "first");
  await closed;
  await assert.rejects(RawClient.connect(port), "nobody listens any more");
});

test("G1: the end of a drain does not wait for ever for a connection that never says anything", async (t) => {
  const { server, clock, connect } = await serve(t);
  const silent = await connect();
  const closed = server.close();
  await turns(3);
  assert.equal(silent.end, "open");
  await pass(clock, 2_000);
  assert.equal(await silent.ended(), "closed");
  await closed;
});

// --- TLS

test("the same over TLS, with a certificate that can be renewed for the connections to come", async (t) => {
  const first = selfSigned("first");
  const second = selfSigned("second");
  const { server, port } = await serve(t, first);
  const ask = (ca: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = tls.connect({ port, host: "127.0.0.1", ca, ALPNProtocols: ["h2", "http/1.1"] }, () => {
        socket.write(request("/echo", "secret", ["Connection: close"]));
      });
      let text = "";
      socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
      socket.on("end", () => resolve(`${String(socket.alpnProtocol)} ${text}`));
      socket.on("error", reject);
    });
  assert.match(await ask(first.cert), /^http\/1\.1 HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nsecret$/);
  server.setTls(second);
  assert.match(await ask(second.cert), /secret$/);
  await assert.rejects(ask(first.cert), /self-signed|certificate/);
});

test("over TLS a body that is too large is answered, and a client that leaves is noticed", async (t) => {
  const certificate = selfSigned();
  const { port, held, gone } = await serve(t, certificate);
  const connectTls = (): Promise<tls.TLSSocket> =>
    new Promise((resolve) => {
      const socket = tls.connect({ port, host: "127.0.0.1", ca: certificate.cert }, () => resolve(socket));
    });
  const large = await connectTls();
  let answer = "";
  large.on("data", (bytes: Buffer) => (answer += bytes.toString("latin1")));
  const ended = new Promise((resolve) => large.once("close", resolve));
  large.write(request("/echo", "x".repeat(4_000_000)));
  await ended;
  assert.match(answer, /^HTTP\/1\.1 413 /);
  const leaving = await connectTls();
  leaving.write(request("/hold"));
  await until(() => held.length === 1, "the request is told");
  leaving.destroy();
  await until(() => gone.length === 1, "the client is known to have left");
});
