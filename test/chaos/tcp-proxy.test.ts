// The proxy of the chaos runs does what it is told, and nothing else.
import assert from "node:assert/strict";
import net from "node:net";
import { test, type TestContext } from "node:test";
import { RawClient } from "../helpers/http-client.ts";
import { ChaosProxy, type Mischief } from "./tcp-proxy.ts";

const text = "0123456789".repeat(20);

/** A client's connection through a proxy to a server that says the same to everybody and ends. */
async function through(
  t: TestContext,
  mischief: Mischief,
  sent = "hello",
): Promise<{ client: RawClient; got: () => string; proxy: ChaosProxy }> {
  let got = "";
  const server = net.createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => (got += data.toString("latin1")));
    socket.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const proxy = new ChaosProxy(typeof address === "object" && address !== null ? address.port : 0, () => mischief);
  await proxy.listen();
  t.after(() => {
    proxy.close();
    server.close();
  });
  const client = await RawClient.connect(proxy.port);
  t.after(() => client.close());
  client.write(sent);
  return { client, got: () => got, proxy };
}

for (const mischief of [
  { kind: "pass" },
  { kind: "delay", direction: "down", delayMs: 5 },
  { kind: "trickle", direction: "down", pieceBytes: 3 },
] as const) {
  test(`a connection that is to ${mischief.kind} loses nothing`, async (t) => {
    const { client } = await through(t, mischief);
    assert.equal(await client.ended(), "closed");
    assert.equal(client.received.toString(), text);
  });
}

for (const ending of ["reset", "end"] as const) {
  test(`a cut by ${ending} lets so many bytes pass`, async (t) => {
    const { client } = await through(t, { kind: "cut", direction: "down", afterBytes: 33, ending });
    assert.equal(await client.ended(), ending === "reset" ? "reset" : "closed");
    // a reset may overtake what came before it
    assert.ok(text.slice(0, 33).startsWith(client.received.toString()), client.received.toString());
    if (ending === "end") assert.equal(client.received.length, 33);
  });
}

test("a drop ends the bytes and not the connection", async (t) => {
  const { client } = await through(t, { kind: "drop", direction: "down", afterBytes: 7 });
  await client.sees(text.slice(0, 7));
  assert.equal(client.end, "open");
  assert.equal(client.received.length, 7);
});

test("a corrupted byte is one byte, and the ids of its connection are noted", async (t) => {
  const mischief = { kind: "corrupt", direction: "down", afterBytes: 5, mask: 1 } as const;
  const { client, proxy } = await through(t, mischief, "GET / HTTP/1.1\r\nx-request-id: chaos-1-2\r\n\r\n");
  await client.ended();
  assert.equal(client.received.toString(), `${text.slice(0, 5)}4${text.slice(6)}`);
  assert.deepEqual([...proxy.corrupted], ["chaos-1-2"]);
});
