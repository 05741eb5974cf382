// Writes past Node's streams and writes by the socket are the same to everybody but the clock: each test runs on both.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { Departures } from "../../src/http/departures.ts";
import { Outlet } from "../../src/http/outlet.ts";
import { handleOf, streamBinding, type StreamBinding } from "../../src/http/stream-binding.ts";

const ways: readonly (readonly [string, StreamBinding | null])[] = [
  ["past the socket", streamBinding],
  ["by the socket", null],
];

interface Pair {
  /** Writes to `far`. */
  readonly near: net.Socket;
  /** Reads nothing until told to. */
  readonly far: net.Socket;
}

async function pair(t: TestContext): Promise<Pair> {
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const near = net.connect({ host: "127.0.0.1", port: address.port, noDelay: true, allowHalfOpen: true });
  near.on("error", () => undefined);
  const [far] = (await once(server, "connection")) as [net.Socket];
  far.on("error", () => undefined);
  if (near.connecting) await once(near, "connect");
  t.after(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return { near, far };
}

/** All that comes until the end. */
async function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.resume();
  await once(socket, "end");
  return Buffer.concat(chunks);
}

/** Writes until the system takes no more and the outlet has enough. @returns what was written */
function fill(outlet: Outlet): Buffer {
  const pieces: Buffer[] = [];
  for (let i = 0; !outlet.needsDrain && i < 10_000; i++) {
    const piece = Buffer.alloc(16 * 1024, i);
    pieces.push(piece);
    outlet.write(piece);
  }
  assert.ok(outlet.needsDrain);
  return Buffer.concat(pieces);
}

test("the Node that runs this has handles as they are expected", async (t) => {
  const { near } = await pair(t);
  assert.ok(streamBinding !== null);
  assert.ok(handleOf(near) !== null);
});

test("a message that waits is counted until the turn ends, and leaves before what is written behind it", async (t) => {
  const { near, far } = await pair(t);
  const ends: (() => void)[] = [];
  const outlet = new Outlet(near, () => undefined, streamBinding, new Departures((end) => ends.push(end)));
  outlet.writeSoon("one ");
  assert.equal(outlet.queuedBytes, 4);
  ends.shift()?.();
  assert.equal(outlet.queuedBytes, 0);
  outlet.writeSoon("two ");
  outlet.write("three ");
  outlet.writeSoon("four ");
  outlet.writeSoon("five");
  assert.equal(outlet.queuedBytes, 0, "nothing overtakes it");
  const all = readAll(far);
  outlet.end();
  for (const end of ends) end();
  assert.equal((await all).toString(), "one two three four five");
});

test("a message that waits is dropped with its connection", async (t) => {
  const { near } = await pair(t);
  const ends: (() => void)[] = [];
  const outlet = new Outlet(near, () => undefined, streamBinding, new Departures((end) => ends.push(end)));
  near.on("error", () => assert.fail("nothing is written any more"));
  outlet.writeSoon("to nobody");
  near.destroy();
  ends[0]?.();
  assert.equal(outlet.queuedBytes, 0);
  await once(near, "close");
});

for (const [way, binding] of ways) {
  test(`${way}: whatever is written arrives in order, and nothing stays counted`, async (t) => {
    const sizes = fc.oneof(fc.nat(300), fc.integer({ min: 15_000, max: 70_000 }), fc.nat(400_000));
    const piece = fc.record({ kind: fc.constantFrom("text", "bytes", "all", "soon"), size: sizes, parts: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 20 }), fc.boolean(), async (pieces, slow) => {
        const { near, far } = await pair(t);
        const outlet = new Outlet(near, () => undefined, binding, new Departures(setImmediate));
        const expected: Buffer[] = [];
        const all = slow ? null : readAll(far);
        for (const [i, { kind, size, parts }] of pieces.entries()) {
          const bytes = Buffer.alloc(size, i + 160);
          if (kind === "text") outlet.write(bytes.toString("latin1"));
          else if (kind === "bytes") outlet.write(bytes);
          else if (kind === "soon") outlet.writeSoon(bytes.toString("latin1"));
          else outlet.writeAll(`head ${i}\r\n`, Array<Buffer>(parts).fill(bytes));
          if (kind === "all") expected.push(Buffer.from(`head ${i}\r\n`), ...Array<Buffer>(parts).fill(bytes));
          else expected.push(bytes);
        }
        outlet.end();
        assert.ok((await (all ?? readAll(far))).equals(Buffer.concat(expected)));
        assert.equal(outlet.queuedBytes, 0);
        assert.equal(outlet.needsDrain, false);
        near.destroy();
        far.destroy();
      }),
      { numRuns: 40 },
    );
  });

  test(`${way}: what a reader does not take is counted, and its taking it is told once`, async (t) => {
    const { near, far } = await pair(t);
    let drained = 0;
    const told = Promise.withResolvers<void>();
    const outlet = new Outlet(
      near,
      () => {
        drained++;
        told.resolve();
      },
      binding,
    );
    const first = fill(outlet);
    assert.ok(outlet.queuedBytes >= 64 * 1024);
    assert.equal(outlet.write("last"), false);
    let received = 0;
    far.on("data", (chunk: Buffer) => (received += chunk.length));
    far.resume();
    await told.promise;
    assert.equal(outlet.queuedBytes, 0);
    assert.equal(outlet.needsDrain, false);
    assert.equal(outlet.write("more"), true);
    outlet.end();
    await once(far, "end");
    assert.equal(received, first.length + 8);
    assert.equal(drained, 1);
  });

  test(`${way}: a peer that has reset the connection is told as the socket's error, once`, async (t) => {
    const { near, far } = await pair(t);
    const outlet = new Outlet(near, () => assert.fail("nothing was taken"), binding);
    fill(outlet);
    const errors: (string | undefined)[] = [];
    near.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code));
    const closed = Promise.withResolvers<void>();
    near.once("close", () => closed.resolve());
    far.resetAndDestroy();
    await closed.promise;
    outlet.write("into the void");
    assert.equal(errors.length, 1);
    assert.match(errors[0] ?? "", /^(ECONNRESET|EPIPE)$/);
  });

  test(`${way}: what is written before the connection is made comes first`, async (t) => {
    const server = net.createServer({ allowHalfOpen: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    const near = net.connect({ host: "127.0.0.1", port: address.port });
    const outlet = new Outlet(near, () => undefined, binding);
    outlet.writeAll("one ", [Buffer.from("two ")]);
    const [far] = (await once(server, "connection")) as [net.Socket];
    const all = readAll(far);
    if (near.connecting) await once(near, "connect");
    outlet.write("three ");
    outlet.write(Buffer.from("four"));
    outlet.end();
    assert.equal((await all).toString(), "one two three four");
    near.destroy();
    far.destroy();
  });
}
