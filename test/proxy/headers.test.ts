// Rows A3, A4 and A5: which header fields go on in either direction, request ids, and how a stream begins.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RawClient, get, post, rawRequest } from "../helpers/http-client.ts";
import { chunk, done, event, jsonAnswer, lastChunk, startRawEngine, streamHead } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";

const body = '{"model":"test-model","messages":[]}';

test("A3: hop-by-hop fields, and those that Connection names, stay behind on the way to the engine", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  await post(router.port, "/v1/chat/completions", body, [
    "Connection: keep-alive, X-Private",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic eA==",
    "TE: trailers",
    "Trailer: x-sum",
    "Upgrade: websocket",
    "X-Private: secret",
    "X-Public: one",
    "X-Public: two",
    "Accept: text/event-stream",
    "Authorization: Bearer the-clients-own",
  ]);
  const request = engine.requests[0];
  assert.ok(request);
  const names = request.headers.map(([name]) => name.toLowerCase());
  for (const gone of [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "x-private",
  ]) {
    assert.ok(!names.includes(gone), `${gone} was sent on`);
  }
  assert.deepEqual(
    request.headers.filter(([name]) => name.toLowerCase() === "x-public").map(([, value]) => value),
    ["one", "two"],
  );
  assert.equal(request.header("accept"), "text/event-stream");
  assert.equal(request.header("authorization"), "Bearer the-clients-own");
});

test("A3: the Host that an engine sees is its own, and the client's is told beside it", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  await post(router.port, "/v1/chat/completions", body, [
    "x-forwarded-host: forged",
    "x-forwarded-proto: https",
    "forwarded: for=1.2.3.4",
  ]);
  const request = engine.requests[0];
  assert.equal(request?.header("host"), `127.0.0.1:${engine.port}`);
  assert.equal(request?.headers.filter(([name]) => name.toLowerCase() === "host").length, 1);
  assert.equal(request?.header("x-forwarded-host"), "test");
  assert.equal(request?.header("x-forwarded-proto"), "http");
  assert.equal(request?.header("forwarded"), undefined);
});

test("A3: X-Forwarded-For of anybody is replaced by the peer's address", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  await post(router.port, "/v1/chat/completions", body, ["x-forwarded-for: 203.0.113.9"]);
  assert.equal(engine.requests[0]?.header("x-forwarded-for"), "127.0.0.1");
});

test("A3: X-Forwarded-For of a trusted proxy is appended to, all its lines", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--trusted-proxies", "127.0.0.0/8"]);
  await post(router.port, "/v1/chat/completions", body, [
    "x-forwarded-for: 203.0.113.9, 10.0.0.1",
    "x-forwarded-for: 10.0.0.2",
  ]);
  const request = engine.requests[0];
  assert.equal(request?.header("x-forwarded-for"), "203.0.113.9, 10.0.0.1, 10.0.0.2, 127.0.0.1");
});

test("A3: Via names the router in both directions, after those that were there", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const response = await post(router.port, "/v1/chat/completions", body, ["via: 1.0 front"]);
  assert.equal(engine.requests[0]?.header("via"), "1.0 front, 1.1 lmstack");
  assert.equal(response.header("via"), "1.1 lmstack");
});

test("A3: an answer's hop-by-hop fields stay behind, repeated ones survive in order", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  engine.script((request) =>
    request.connection.write(
      jsonAnswer({ ok: true }, 200, [
        "Connection: keep-alive, X-Internal",
        "X-Internal: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: Basic",
        "Set-Cookie: a=1; Path=/",
        "Set-Cookie: b=2",
        "X-Kept: yes",
      ]),
    ),
  );
  const response = await post(router.port, "/v1/chat/completions", body);
  assert.deepEqual(response.all("set-cookie"), ["a=1; Path=/", "b=2"]);
  assert.equal(response.header("x-kept"), "yes");
  for (const name of ["x-internal", "keep-alive", "proxy-authenticate", "connection"])
    assert.equal(response.header(name), undefined, name);
  assert.deepEqual(response.all("content-length"), [String(response.body.length)]);
});

test("A3: query and path reach the engine as they came, an absolute target as its path", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  await post(router.port, "/v1/chat/completions?a=%20b&c", body);
  assert.equal(engine.requests[0]?.target, "/v1/chat/completions?a=%20b&c");
  await post(router.port, "http://other/v1/chat/completions?x", body);
  assert.equal(engine.requests[1]?.target, "/v1/chat/completions?x");
  assert.equal(engine.requests[1]?.header("host"), `127.0.0.1:${engine.port}`);
});

test("A3: an engine behind a path prefix is asked below it", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", `${engine.url}/serving/a`]);
  await post(router.port, "/v1/chat/completions", body);
  assert.equal(engine.requests[0]?.target, "/serving/a/v1/chat/completions");
  assert.ok(engine.checks.every((check) => check.target.startsWith("/serving/a/")));
});

test("A4: a sane request id of the client reaches the engine and comes back", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const id of ["abc-123", "x".repeat(128), 'id"with;odd,characters']) {
    const response = await post(router.port, "/v1/chat/completions", body, [`x-request-id: ${id}`]);
    assert.equal(response.header("x-request-id"), id);
    assert.equal(engine.requests.at(-1)?.header("x-request-id"), id);
  }
});

test("A4: an id that is too long, or has characters beyond visible ASCII, is replaced", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const id of ["x".repeat(129), "two words", "caf\u00e9", ""]) {
    const response = await post(router.port, "/v1/chat/completions", body, [`x-request-id: ${id}`]);
    const given = response.header("x-request-id") ?? "";
    assert.match(given, /^[0-9a-f]{32}$/);
    assert.deepEqual(
      engine.requests.at(-1)?.headers.filter(([name]) => name === "x-request-id"),
      [["x-request-id", given]],
    );
  }
});

test("A4: errors and answers of the router itself carry the id too, and an engine's own id does not take its place", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const id = "x-request-id: mine";
  assert.equal((await post(router.port, "/v1/chat/completions", "{", [id])).header("x-request-id"), "mine");
  assert.equal(
    (await post(router.port, "/v1/chat/completions", '{"model":"other"}', [id])).header("x-request-id"),
    "mine",
  );
  assert.equal((await get(router.port, "/nowhere", [id])).header("x-request-id"), "mine");
  assert.equal((await get(router.port, "/v1/models/other", [id])).header("x-request-id"), "mine");
  engine.script((request) => request.connection.write(jsonAnswer({}, 200, ["x-request-id: the-engines"])));
  assert.deepEqual((await post(router.port, "/v1/chat/completions", body, [id])).all("x-request-id"), ["mine"]);
});

test("A5: a stream says that nobody may buffer it, and its first frame leaves before the second comes", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  let finish = (): void => undefined;
  engine.script((request) => {
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))]));
    finish = () => request.connection.write(Buffer.concat([chunk(done), Buffer.from(lastChunk)]));
  });
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await client.sees(event("one"));
  finish();
  const response = await client.response();
  assert.ok(response.complete);
  assert.equal(response.header("cache-control"), "no-cache");
  assert.equal(response.header("x-accel-buffering"), "no");
  assert.equal(response.header("transfer-encoding"), "chunked");
  assert.equal(response.header("content-length"), undefined);
});

test("A5: head and first frame leave in the turn of the loop in which the frame came", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const client = await RawClient.connect(router.port);
  let order: string[] = [];
  // the engine's bytes and the client's are seen by this process in the order in which the router moved them: with one
  // frame sent, two turns are one for the router's read and write, and one for the client's read
  client.socket.on("data", () => order.push("client"));
  engine.script((request) => {
    request.connection.socket.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))]), () => {
      order = [];
      let turn = 0;
      const count = (): void => {
        order.push(`turn ${++turn}`);
        if (turn < 5) setImmediate(count);
      };
      setImmediate(count);
    });
  });
  client.write(rawRequest("POST", "/v1/chat/completions", body));
  await client.sees(event("one"));
  while (order.length < 5) await new Promise<void>((resolve) => setImmediate(resolve));
  assert.ok(order.indexOf("client") >= 0 && order.indexOf("client") <= 3, order.join(", "));
  client.close();
});

test("A5: an engine's own cache-control is kept", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  engine.script((request) =>
    request.connection.write(
      Buffer.concat([
        Buffer.from(streamHead(["cache-control: no-store"])),
        chunk(event("a") + done),
        Buffer.from(lastChunk),
      ]),
    ),
  );
  const response = await post(router.port, "/v1/chat/completions", body);
  assert.deepEqual(response.all("cache-control"), ["no-store"]);
});

test("A2: every answer of a connection carries its own date, also where the word stands in another field, or two dates", async (t) => {
  // what is made of a head is kept for the next one like it: a field `vary: date` made the first answer's date stay for all
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const fields of [["vary: date"], ["date: Thu, 01 Jan 1970 00:00:00 GMT"], []]) {
    const client = await RawClient.connect(router.port);
    for (let second = 10; second < 15; second++) {
      const date = `Thu, 26 Nov 2026 01:52:${second} GMT`;
      engine.script(({ connection }) => connection.write(jsonAnswer({ ok: true }, 200, [...fields, `date: ${date}`])));
      const response = await client.write(rawRequest("POST", "/v1/chat/completions", body)).response();
      assert.equal(response.all("date").at(-1), date);
    }
    client.close();
  }
});

test("A4: a model that does not exist is told under the request's id, and an unfit id is no id", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const fields of [[], [`X-Request-Id: ${"x".repeat(129)}`]]) {
    const response = await get(router.port, "/v1/models/other", fields);
    assert.equal(response.status, 404);
    assert.match(response.text, /`other` does not exist; known: test-model\./);
    assert.match(response.header("x-request-id") ?? "", /^[0-9a-f]{32}$/);
  }
});
