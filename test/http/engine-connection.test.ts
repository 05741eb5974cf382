// Connections to an engine and their pool, against engines made of bytes: when a connection is used again, what counts
// as an answer, what is reported of those that fail, and that no byte is lost or changed under back-pressure.
import assert from "node:assert/strict";
import net from "node:net";
import { test, type TestContext } from "node:test";
import tls from "node:tls";
import { ManualClock } from "../../src/clock.ts";
import { departures } from "../../src/http/departures.ts";
import type {
  EngineAddress,
  EngineConnection,
  EngineFailure,
  EngineReceiver,
} from "../../src/http/engine-connection.ts";
import { EnginePool } from "../../src/http/engine-pool.ts";
import type { ResponseHead } from "../../src/http/response-parser.ts";
import { Sweeper } from "../../src/http/sweeper.ts";
import { turns, until } from "../helpers/until.ts";
import { Random } from "./fuzz/random.ts";
import { selfSigned } from "./self-signed.ts";

/** The pool's sweeper in the router. */
const sweepMs = 500;
const idleMs = 4_000;

type Script = (socket: net.Socket, request: string, index: number) => void;

interface Engine {
  readonly address: EngineAddress;
  readonly sockets: net.Socket[];
  /** Requests that came, in order. */
  readonly requests: string[];
  /** Connections that the other side has left. */
  gone: number;
}

/** An engine that calls `script` for each read, which holds one request in these tests. */
async function engineOf(t: TestContext, script: Script): Promise<Engine> {
  const sockets: net.Socket[] = [];
  const requests: string[] = [];
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const index = sockets.push(socket) - 1;
    socket.on("data", (bytes) => {
      requests.push(bytes.toString("latin1"));
      script(socket, bytes.toString("latin1"), index);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => engine.gone++);
    socket.on("end", () => socket.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const engine: Engine = {
    address: { host: "127.0.0.1", port: portOf(server), tls: null },
    sockets,
    requests,
    gone: 0,
  };
  return engine;
}

function portOf(server: net.Server): number {
  return (server.address() as net.AddressInfo).port;
}

function poolOf(address: EngineAddress): { pool: EnginePool; clock: ManualClock } {
  const clock = new ManualClock();
  return { pool: new EnginePool(address, clock, new Sweeper(clock, sweepMs), idleMs), clock };
}

/** Keeps what it is told. */
class Receiver implements EngineReceiver {
  head: ResponseHead | null = null;
  readonly heads: number[] = [];
  readonly pieces: Buffer[] = [];
  ended = 0;
  readonly failures: EngineFailure[] = [];
  connected = 0;
  /** Called behind the end or a failure. */
  onOver: (() => void) | null = null;

  onConnected(): void {
    this.connected++;
  }

  onHead(head: ResponseHead): void {
    this.head = head;
    this.heads.push(head.status);
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    this.pieces.push(Buffer.from(buf.subarray(start, end)));
  }

  onRead(): void {}

  onMessageEnd(): void {
    this.ended++;
    this.onOver?.();
  }

  onFailure(failure: EngineFailure): void {
    this.failures.push(failure);
    this.onOver?.();
  }

  get text(): string {
    return Buffer.concat(this.pieces).toString("latin1");
  }

  get over(): boolean {
    return this.ended + this.failures.length > 0;
  }
}

const head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n";
const body = [Buffer.from("x")];
const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/** Sends a request and waits until it is over, in whichever way. */
async function ask(
  pool: EnginePool,
  { fresh = false, headRequest = false } = {},
): Promise<{ receiver: Receiver; connection: EngineConnection }> {
  const receiver = new Receiver();
  const connection = pool.acquire(fresh);
  connection.send(head, body, headRequest, receiver);
  await until(() => receiver.over, "the request is over");
  await turns(3);
  assert.equal(receiver.ended + receiver.failures.length, 1, "over once");
  return { receiver, connection };
}

function only(receiver: Receiver): EngineFailure {
  const [failure, more] = receiver.failures;
  assert.ok(failure !== undefined && more === undefined, "one failure");
  assert.equal(receiver.ended, 0);
  return failure;
}

// --- reuse

test("a connection is used again after whole answers of each kind, and the newest first", async (t) => {
  const answers = [
    ok,
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 429 Busy\r\ncontent-length: 2\r\n\r\nok",
    ok,
  ];
  let next = 0;
  const engine = await engineOf(t, (socket) => socket.write(answers[next++] ?? ok));
  const { pool } = poolOf(engine.address);
  for (const [i] of answers.entries()) {
    const { receiver, connection } = await ask(pool);
    assert.deepEqual(receiver.failures, []);
    assert.deepEqual([connection.closed, connection.reused], [false, true]);
    assert.deepEqual([engine.sockets.length, pool.opened, pool.reused, pool.size], [1, 1, i, 1]);
  }
  const { connection } = await ask(pool, { fresh: true });
  assert.deepEqual([engine.sockets.length, pool.size], [2, 2], "a fresh one was asked for");
  assert.equal(pool.acquire(false), connection, "the newest");
});

test("a connection is not used again after an answer that ends it or leaves its end open", async (t) => {
  let answer = "";
  const engine = await engineOf(t, (socket) => socket.end(answer));
  const { pool } = poolOf(engine.address);
  for (answer of [
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nok",
  ]) {
    const { receiver, connection } = await ask(pool);
    assert.deepEqual([receiver.ended, receiver.text], [1, "ok"], answer);
    assert.deepEqual([connection.closed, pool.size], [true, 0], answer);
  }
  assert.equal(pool.reused, 0);
});

test("an answer to HEAD has no body, and the connection is used again", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"));
  const { pool } = poolOf(engine.address);
  const { receiver, connection } = await ask(pool, { headRequest: true });
  assert.deepEqual([receiver.ended, receiver.text, connection.closed], [1, "", false]);
});

test("a connection that was idle for 4 s is closed by us, one that was used meanwhile is not", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write(ok));
  const { pool, clock } = poolOf(engine.address);
  const first = await ask(pool, { fresh: true });
  const second = await ask(pool, { fresh: true });
  clock.advance(idleMs - sweepMs);
  assert.equal((await ask(pool)).connection, second.connection);
  clock.advance(2 * sweepMs);
  assert.deepEqual([first.connection.closed, second.connection.closed, pool.size], [true, false, 1]);
  await until(() => engine.gone === 1, "the engine sees it");
  clock.advance(idleMs + sweepMs);
  assert.equal(pool.size, 0);
  clock.advance(2_000);
  assert.equal(clock.pending, 0, "no timer for nothing");
});

test("a connection that is too old is not handed out, though no sweep has come yet", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write(ok));
  const clock = new ManualClock();
  const pool = new EnginePool(engine.address, clock, new Sweeper(clock, 60_000), idleMs);
  const { connection } = await ask(pool);
  clock.advance(idleMs);
  assert.notEqual(pool.acquire(false), connection);
  assert.equal(connection.closed, true);
});

test("an idle connection that the engine ends, or on which it speaks unasked, is not used again", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write(ok));
  const { pool } = poolOf(engine.address);
  for (const [i, spoil] of (
    [(socket) => socket.end(), (socket) => socket.resetAndDestroy(), (socket) => socket.write(ok)] as ((
      s: net.Socket,
    ) => void)[]
  ).entries()) {
    const { connection } = await ask(pool);
    assert.equal(connection.closed, false);
    const socket = engine.sockets[i];
    assert.ok(socket !== undefined);
    spoil(socket);
    await until(() => connection.closed, "the connection is given up");
    assert.equal(pool.size, 0);
  }
});

test("bytes behind an answer end the connection, and the answer stands", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write(`${ok}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`));
  const { pool } = poolOf(engine.address);
  const { receiver, connection } = await ask(pool);
  assert.deepEqual([receiver.ended, receiver.text, connection.closed, pool.size], [1, "ok", true, 0]);
});

test("a request sent in the turn in which bytes followed the last answer fails, and is not given them", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write(`${ok}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`));
  const { pool } = poolOf(engine.address);
  const first = new Receiver();
  const second = new Receiver();
  first.onOver = () => pool.acquire(false).send(head, body, false, second);
  pool.acquire(false).send(head, body, false, first);
  await until(() => second.over, "the second request is over");
  const failure = only(second);
  assert.deepEqual([failure.reused, failure.answered, second.text], [true, false, ""]);
});

// A request waits for the end of the turn where many come; what is read until then was taken for its answer.
test("a request that has not left yet fails when the engine speaks unasked, and is not sent", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write(ok));
  const { pool } = poolOf(engine.address);
  await ask(pool);
  // until the next message waits
  while (!departures.gathers());
  const receiver = new Receiver();
  // from a timer on the next thing is reading, and then the end of the turn
  setTimeout(() => {
    engine.sockets[0]?.write(ok);
    pool.acquire(false).send(head, "x", false, receiver);
  });
  await until(() => receiver.over, "the request is over");
  await until(() => engine.gone === 1, "the connection is closed");
  const failure = only(receiver);
  assert.deepEqual([failure.kind, failure.reused, failure.answered], ["closed", true, false]);
  assert.equal(engine.requests.length, 1);
});

test("an answer that came before the request was taken ends the connection", async (t) => {
  const server = net.createServer((socket) => {
    socket.pause();
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
    t.after(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { pool } = poolOf({ host: "127.0.0.1", port: portOf(server), tls: null });
  const receiver = new Receiver();
  const connection = pool.acquire(false);
  const large = Buffer.alloc(64 * 1024 * 1024);
  connection.send(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${large.length}\r\n\r\n`, [large], false, receiver);
  await until(() => receiver.over, "the answer is here");
  assert.deepEqual([receiver.ended, receiver.text, connection.closed], [1, "no", true]);
});

// --- answers

test("interim answers are skipped", async (t) => {
  const engine = await engineOf(t, (socket) =>
    socket.write(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n${ok}`),
  );
  const { receiver, connection } = await ask(poolOf(engine.address).pool);
  assert.deepEqual([receiver.heads, receiver.text, connection.closed], [[200], "ok", false]);
});

test("the end of the connection ends an answer without a length, and a reset does not", async (t) => {
  let reset = false;
  const engine = await engineOf(t, (socket) => {
    socket.write("HTTP/1.1 200 OK\r\n\r\nok", () => {
      if (reset) setImmediate(() => socket.resetAndDestroy());
      else socket.end();
    });
  });
  const { pool } = poolOf(engine.address);
  const whole = await ask(pool);
  assert.deepEqual([whole.receiver.ended, whole.receiver.text], [1, "ok"]);
  reset = true;
  const broken = await ask(pool);
  const failure = only(broken.receiver);
  assert.deepEqual([failure.kind, failure.answered], ["reset", true]);
});

test("an answer that is cut short is a failure, wherever it is cut", async (t) => {
  const chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
  const cuts = [
    ok.slice(0, -1),
    ok.slice(0, 20),
    "H",
    ...Array.from({ length: 14 }, (_, i) => chunked.slice(0, chunked.length - 1 - i)),
  ];
  let answer = "";
  const engine = await engineOf(t, (socket) => socket.end(answer));
  const { pool } = poolOf(engine.address);
  for (answer of cuts) {
    const failure = only((await ask(pool)).receiver);
    assert.deepEqual([failure.kind, failure.answered, failure.reused], ["closed", true, false], JSON.stringify(answer));
  }
  assert.equal(pool.size, 0);
});

test("what is no HTTP is a bad response, and so are ambiguous answers", async (t) => {
  let answer = "";
  const engine = await engineOf(t, (socket) => socket.write(answer));
  const { pool } = poolOf(engine.address);
  for (answer of [
    "SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    "HTTP/1.1 200 OK\ncontent-length: 2\n\nok\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    `HTTP/1.1 200 OK\r\nx: ${"x".repeat(70_000)}\r\n\r\n`,
  ]) {
    const { receiver, connection } = await ask(pool);
    const failure = only(receiver);
    assert.deepEqual(
      [failure.kind, failure.answered, connection.closed],
      ["bad_response", true, true],
      JSON.stringify(answer.slice(0, 60)),
    );
    assert.notEqual(failure.detail, "");
  }
});

// --- failures before an answer

test("an engine that ends or resets a connection before an answer is told by whether it was used before", async (t) => {
  let way: "answer" | "end" | "reset" = "answer";
  const engine = await engineOf(t, (socket) => {
    if (way === "answer") socket.write(ok);
    else if (way === "end") socket.end();
    else socket.resetAndDestroy();
  });
  const { pool } = poolOf(engine.address);
  for (const how of ["end", "reset"] as const) {
    for (const used of [false, true]) {
      way = "answer";
      if (used) await ask(pool, { fresh: true });
      way = how;
      const failure = only((await ask(pool, { fresh: !used })).receiver);
      assert.deepEqual([failure.answered, failure.reused], [false, used], `${how}, used ${used}`);
      assert.ok(failure.kind === (how === "end" ? "closed" : "reset"), failure.kind);
    }
  }
});

test("a refused connection, a name that does not exist and a time limit are told apart", async () => {
  const closed = net.createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const port = portOf(closed);
  await new Promise((resolve) => closed.close(resolve));
  const refused = only((await ask(poolOf({ host: "127.0.0.1", port, tls: null }).pool)).receiver);
  assert.deepEqual([refused.kind, refused.answered, refused.reused], ["refused", false, false]);
  assert.match(refused.detail, /ECONNREFUSED/);
  const unknown = only((await ask(poolOf({ host: "engine.invalid", port: 80, tls: null }).pool)).receiver);
  assert.equal(unknown.kind, "dns");
  const { pool } = poolOf({ host: "127.0.0.1", port, tls: null });
  const receiver = new Receiver();
  const connection = pool.acquire(false);
  connection.send(head, body, false, receiver);
  connection.failConnect("no connection within 2 s");
  assert.deepEqual([only(receiver).kind, connection.closed, pool.size], ["connect_timeout", true, 0]);
});

test("a connection that we end is seen by the engine, and nothing more is reported", async (t) => {
  const engine = await engineOf(t, (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab"));
  const { pool } = poolOf(engine.address);
  const receiver = new Receiver();
  const connection = pool.acquire(false);
  connection.send(head, body, false, receiver);
  await until(() => receiver.text === "ab", "the answer has begun");
  connection.destroy();
  assert.deepEqual([connection.closed, pool.size], [true, 0]);
  await until(() => engine.gone === 1, "the engine sees it");
  assert.equal(receiver.over, false);
});

// --- requests

test("a request arrives as it was given, whatever the size and number of its pieces", async (t) => {
  const random = new Random(7);
  const received: Buffer[] = [];
  let expected = 0;
  let bytes = 0;
  const server = net.createServer((socket) => {
    socket.on("data", (piece) => {
      received.push(piece);
      bytes += piece.length;
      if (bytes === expected) socket.write(ok);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { pool } = poolOf({ host: "127.0.0.1", port: portOf(server), tls: null });
  t.after(() => pool.closeIdle());
  for (const sizes of [
    [],
    [1],
    [5000],
    [8 * 1024],
    [8 * 1024 + 1],
    [16 * 1024],
    [16 * 1024 + 1],
    [1, 1, 1],
    [70_000, 3, 0, 5_000_000, 1],
  ]) {
    const pieces = sizes.map((size) => noise(size, random));
    const payload = Buffer.concat(pieces);
    const text = `POST /\xe9 HTTP/1.1\r\nhost: a\r\ncontent-length: ${payload.length}\r\n\r\n`;
    received.length = 0;
    bytes = 0;
    expected = text.length + payload.length;
    const receiver = new Receiver();
    pool.acquire(false).send(text, pieces, false, receiver);
    await until(() => receiver.over, "the answer is here");
    assert.equal(receiver.ended, 1);
    assert.ok(
      Buffer.concat(received).equals(Buffer.concat([Buffer.from(text, "latin1"), payload])),
      `pieces of ${String(sizes)}`,
    );
  }
  assert.equal(pool.opened, 1);
});

// --- back-pressure

/** Bytes that compress to nothing and repeat nowhere near. */
function noise(size: number, random: Random): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size; at++)
    bytes[at] = at % 4 === 0 ? random.next() & 0xff : ((bytes[at - 1] ?? 0) * 31 + at) & 0xff;
  return bytes;
}

const relayedBytes = 50 * 1024 * 1024;

/** Hands the payload of reads on to another socket, as the relay does: in place, and held back while that one is slow. */
class Relaying extends Receiver {
  readonly #to: net.Socket;
  connection: EngineConnection | null = null;
  pauses = 0;

  constructor(to: net.Socket) {
    super();
    this.#to = to;
    to.on("drain", () => this.connection?.resume());
  }

  override onChunkData(buf: Buffer, start: number, end: number): void {
    this.#to.write(buf.subarray(start, end));
    if (this.#to.writableLength === 0) return;
    this.connection?.keepBuffer();
    if (!this.#to.writableNeedDrain || this.connection?.paused === true) return;
    this.pauses++;
    this.connection?.pause();
  }
}

for (const encrypted of [false, true]) {
  test(`${encrypted ? "over TLS, " : ""}50 MiB reach a slow receiver as they were, and reading stops while it is slow`, async (t) => {
    const random = new Random(encrypted ? 3 : 5);
    const sent = noise(relayedBytes, random);
    const certificate = encrypted ? selfSigned() : null;
    const speak = (socket: net.Socket): void => {
      socket.on("error", () => undefined);
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${sent.length}\r\n\r\n`);
        let at = 0;
        const more = (): void => {
          while (at < sent.length) {
            const size = 1 + random.below(random.pick([7, 1500, 65_536, 200_000]));
            const piece = sent.subarray(at, (at += size));
            if (!socket.write(piece)) {
              socket.once("drain", more);
              return;
            }
          }
        };
        more();
      });
    };
    const engine = certificate === null ? net.createServer(speak) : tls.createServer(certificate, speak);
    await new Promise<void>((resolve) => engine.listen(0, "127.0.0.1", resolve));
    t.after(() => engine.close());

    // two sockets of this process: what is written into `near` comes out of `far`, which reads with pauses
    let far: net.Socket | null = null;
    const middle = net.createServer((socket) => (far = socket));
    await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve));
    const near = net.connect(portOf(middle), "127.0.0.1");
    t.after(() => {
      near.destroy();
      far?.destroy();
      middle.close();
    });
    await until(() => far !== null, "the receiver is connected");
    let received = 0;
    let equal = true;
    const read = (piece: Buffer): void => {
      equal &&= sent.subarray(received, received + piece.length).equals(piece);
      received += piece.length;
      if (random.below(4) !== 0) return;
      far?.pause();
      setImmediate(() => setImmediate(() => far?.resume()));
    };
    (far as unknown as net.Socket).on("data", read);

    const address = {
      host: "127.0.0.1",
      port: portOf(engine),
      tls: certificate === null ? null : { ca: certificate.cert, rejectUnauthorized: true },
    };
    const { pool } = poolOf(address);
    t.after(() => pool.closeIdle());
    const relaying = new Relaying(near);
    const connection = pool.acquire(false);
    relaying.connection = connection;
    connection.send(head, body, false, relaying);
    await until(() => relaying.over && received === sent.length, "all bytes are there", 30_000);
    assert.deepEqual(relaying.failures, []);
    assert.equal(relaying.connected, 1);
    assert.ok(equal, "the bytes are the same");
    assert.ok(relaying.pauses > 0, "the receiver was slow at all");
    assert.deepEqual([connection.paused, connection.closed], [false, false], "fit for the next request");
  });
}

test("an engine whose certificate nobody vouches for is told as a failure of TLS", async (t) => {
  const server = tls.createServer(selfSigned(), (socket) => socket.on("error", () => undefined));
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { pool } = poolOf({ host: "127.0.0.1", port: portOf(server), tls: { ca: null, rejectUnauthorized: true } });
  const failure = only((await ask(pool)).receiver);
  assert.deepEqual([failure.kind, failure.answered], ["tls", false]);
});
