// Rows A9 and A10: a slow reader holds the engine back and not the router's memory; connections are kept and reused only
// when both messages on them are complete.
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { RawClient, exchange, get, post, rawRequest } from "../helpers/http-client.ts";
import {
  chunk,
  done,
  event,
  jsonAnswer,
  lastChunk,
  startRawEngine,
  streamHead,
  wholeStream,
} from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const body = '{"model":"test-model","messages":[]}';
const mebi = 1024 * 1024;

/** Writes `total` bytes as fast as the socket takes them, the same block again and again. */
function pour(socket: net.Socket, block: Buffer, total: number, onTaken: (bytes: number) => void): void {
  let sent = 0;
  const more = (): void => {
    while (sent < total) {
      sent += block.length;
      const went = socket.write(block, () => onTaken(block.length));
      if (!went) {
        socket.once("drain", more);
        return;
      }
    }
  };
  more();
}

function countByte(bytes: Buffer, wanted: number): number {
  let count = 0;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === wanted) count++;
  return count;
}

for (const kind of ["stream", "audio"] as const) {
  test(`A9: a client that does not read holds the engine back (${kind}, 200 MB), then gets it whole`, async (t) => {
    const total = 200 * mebi;
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const frame = Buffer.from(event("x".repeat(16 * 1024)));
    const block = kind === "stream" ? chunk(frame) : Buffer.alloc(64 * 1024, 0x61);
    const blocks = Math.ceil(total / block.length);
    let taken = 0;
    engine.script((request) => {
      const { socket } = request.connection;
      socket.write(
        kind === "stream"
          ? streamHead()
          : `HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: ${blocks * block.length}\r\n\r\n`,
      );
      pour(socket, block, blocks * block.length, (bytes) => {
        taken += bytes;
        if (taken === blocks * block.length && kind === "stream")
          socket.write(Buffer.concat([chunk(done), Buffer.from(lastChunk)]));
      });
    });
    const socket = net.connect(router.port, "127.0.0.1");
    t.after(() => socket.destroy());
    socket.pause();
    socket.write(rawRequest("POST", kind === "stream" ? "/v1/chat/completions" : "/v1/audio/speech", body));
    // held back: nothing moves over many turns of the loop any more
    let before = -1;
    await until(() => taken > 0, "the engine has begun");
    while (before !== taken) {
      before = taken;
      for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => setTimeout(resolve, 2));
    }
    // kernel buffers of four socket ends, and what the router queues
    assert.ok(taken < 40 * mebi, `the engine got rid of ${Math.round(taken / mebi)} MiB`);
    const queued = [...router.context.active][0]?.exchange.queuedBytes ?? 0;
    assert.ok(queued < 2 * mebi, `the router holds ${queued} bytes`);
    // chunks may have been joined on the way, so the payload is weighed by its letters
    const letter = kind === "stream" ? 0x78 : 0x61;
    const expected = blocks * countByte(block, letter);
    let received = 0;
    let tail = Buffer.alloc(0);
    socket.on("data", (data) => {
      received += countByte(tail.length === 0 ? data.subarray(data.indexOf("\r\n\r\n")) : data, letter);
      tail = Buffer.concat([tail, data]).subarray(-64);
    });
    socket.resume();
    if (kind === "stream")
      await until(() => tail.toString().endsWith(`${done}\r\n${lastChunk}`), "the end has come", 60_000);
    await until(() => received >= expected, "all bytes have come", 60_000);
    await router.idle();
    assert.equal(received, expected);
    assert.equal(
      router.metric(
        'lmstack_requests_total{model="test-model",api="' + (kind === "stream" ? "chat" : "audio") + '",outcome="ok"}',
      ),
      1,
    );
  });
}

test("A9: a client that takes nothing for clientStallTimeout is cut, and the engine let go", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--client-stall-timeout-seconds", "0.3"]);
  const block = chunk(event("x".repeat(60_000)));
  engine.script((request) => {
    request.connection.write(streamHead());
    pour(request.connection.socket, block, 200 * mebi, () => undefined);
  });
  const socket = net.connect(router.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.pause();
  socket.on("error", () => undefined);
  socket.write(rawRequest("POST", "/v1/chat/completions", body));
  await until(() => engine.connections[0]?.gone === true, "the engine's connection is closed", 8000);
  await router.idle();
  assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="client_gone"}'), 1);
});

test("A10: a connection to an engine is used again after a whole answer, of any kind", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  engine.script(
    (request) => request.connection.write(wholeStream("one")),
    (request) => request.connection.write(jsonAnswer({ ok: true })),
    (request) => request.connection.write("HTTP/1.1 204 No Content\r\n\r\n"),
    (request) => request.connection.write(jsonAnswer({ error: { message: "no" } }, 400)),
    (request) => request.connection.write(jsonAnswer({ last: true })),
  );
  const statuses: number[] = [];
  for (let i = 0; i < 5; i++) statuses.push((await post(router.port, "/v1/chat/completions", body)).status);
  assert.deepEqual(statuses, [200, 200, 204, 400, 200]);
  assert.equal(engine.connections.length, 1);
  assert.equal(engine.connections[0]?.requests, 5);
});

const unfit: readonly [string, (write: (bytes: string | Buffer) => void, end: () => void) => void, number][] = [
  ["`connection: close`", (write) => write(jsonAnswer({}, 200, ["connection: close"])), 200],
  ["HTTP/1.0 without keep-alive", (write) => write(jsonAnswer({}).replace("HTTP/1.1", "HTTP/1.0")), 200],
  [
    "a body to the end of the connection",
    (write, end) => {
      write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}");
      end();
    },
    200,
  ],
  ["bytes behind its end", (write) => write(`${jsonAnswer({})}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale`), 200],
];
for (const [what, answer, status] of unfit) {
  test(`A10: a connection is not used again after an answer with ${what}`, async (t) => {
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    engine.script((request) =>
      answer(
        (bytes) => request.connection.write(bytes),
        () => request.connection.end(),
      ),
    );
    assert.equal((await post(router.port, "/v1/chat/completions", body)).status, status);
    const second = await post(router.port, "/v1/chat/completions", body);
    assert.deepEqual(second.json(), { object: "test" });
    assert.equal(engine.connections.length, 2);
  });
}

test("A10: bytes that an engine sends unasked are never taken for the next answer", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  await post(router.port, "/v1/chat/completions", body);
  await engine.connections[0]?.flushed(jsonAnswer({ forged: true }));
  await turns(3);
  const response = await post(router.port, "/v1/chat/completions", body);
  assert.deepEqual(response.json(), { object: "test" });
  assert.equal(engine.connections.length, 2);
});

test("A10: an answer that comes before the whole request was sent ends the engine's connection", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  // an engine that reads the head only: its answer overtakes the body
  const server = net.createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (data) => {
      const text = data.toString("latin1");
      if (text.startsWith("GET /health")) socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
      else if (text.startsWith("GET ")) socket.end(jsonAnswer({ data: [{ id: "early" }] }));
      else {
        socket.pause();
        socket.write(jsonAnswer({ error: { message: "too long" } }, 413));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  router.running.apply(
    {
      ...router.context.config.dynamic,
      endpoints: [{ url: `http://127.0.0.1:${port}`, models: ["early"], label: null, modelType: null }],
    },
    "test",
  );
  await until(() => router.context.registry.list()[0]?.known === true, "the engine is known");
  const endpoint = router.context.registry.list()[0];
  const big = JSON.stringify({ model: "early", prompt: "x".repeat(20 * mebi) });
  const response = await post(router.port, "/v1/completions", big);
  assert.equal(response.status, 413);
  assert.equal(endpoint?.pool.size, 0);
});

test("A10: requests that come pipelined are answered in order, one at a time", async (t) => {
  const engine = await startRawEngine(t, {
    handler: (request) => request.connection.write(jsonAnswer({ echo: request.body.toString() })),
  });
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const client = await RawClient.connect(router.port);
  const bodies = Array.from({ length: 20 }, (_, i) => `{"model":"test-model","n":${i}}`);
  client.write(Buffer.concat(bodies.map((text) => rawRequest("POST", "/v1/completions", text))));
  for (const text of bodies) assert.deepEqual((await client.response()).json(), { echo: text });
  assert.equal(client.end, "open");
  client.close();
});

test("A10: `Connection: close` and HTTP/1.0 end the connection after the answer, keep-alive keeps it", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const closing = await RawClient.connect(router.port);
  closing.write(rawRequest("POST", "/v1/completions", body, ["connection: close"]));
  assert.equal((await closing.response()).header("connection"), "close");
  assert.equal(await closing.ended(), "closed");
  const old = await RawClient.connect(router.port);
  old.write(rawRequest("POST", "/v1/completions", body).toString().replace("HTTP/1.1", "HTTP/1.0"));
  assert.equal((await old.response()).header("connection"), "close");
  assert.equal(await old.ended(), "closed");
  const kept = await RawClient.connect(router.port);
  for (let i = 0; i < 3; i++) {
    kept.write(
      rawRequest("POST", "/v1/completions", body, ["connection: keep-alive"])
        .toString()
        .replace("HTTP/1.1", "HTTP/1.0"),
    );
    assert.equal((await kept.response()).header("connection"), "keep-alive");
  }
  kept.close();
});

test("A10: an upgrade is ignored, and the request answered as any other", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const response = await get(router.port, "/health", [
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-key: x",
  ]);
  assert.equal(response.status, 200);
  const connect = await exchange(router.port, "CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n");
  assert.equal(connect.status, 400);
});

test("A10: idle connections to an engine are closed before the engine would", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--engine-keep-alive-seconds", "0.05"]);
  await post(router.port, "/v1/completions", body);
  await until(() => engine.connections[0]?.gone === true, "the idle connection is closed");
  assert.equal(router.context.registry.list()[0]?.pool.size, 0);
});
