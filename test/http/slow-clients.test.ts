// Clients that are slow, drip, flood or leave while an answer is on its way: what each of them got wrong once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { turns, until } from "../helpers/until.ts";
import { serve, request, begin, pass } from "./serve.ts";

test("a head that drips is cut when its limit is over since its first byte", async (t) => {
  const { clock, connect } = await serve(t);
  const client = await connect();
  client.write("POST /echo HTTP/1.1\r\nHost: a\r\nX: ");
  await turns(5);
  for (let i = 0; i < 5; i++) {
    await pass(clock, 3_000);
    client.write("x");
    await turns(5);
  }
  assert.match(client.received.toString("latin1"), /^HTTP\/1.1 408 /, "15 s after its first byte");
});
test("a client that has pipelined more than is held and leaves is noticed", async (t) => {
  const { held, gone, connect } = await serve(t);
  const client = await connect();
  client.write(request("/hold"));
  client.write(request("/echo", "x".repeat(90_000)).repeat(20));
  await until(() => held.length === 1, "told");
  await turns(50);
  client.close();
  await until(() => gone.length === 1, "the client is known to have left", 2000);
});
test("Expect that can't be met is answered with its own reason", async (t) => {
  const { connect } = await serve(t);
  const client = await connect();
  client.write("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 1\r\n\r\n");
  const r = await client.response();
  assert.deepEqual([r.status, r.reason], [417, "Expectation Failed"]);
});
test("204 carries no content-length", async (t) => {
  const { held, connect } = await serve(t);
  const client = await connect();
  client.write(request("/hold"));
  await until(() => held.length === 1, "told");
  held[0]?.answer(204, [], "");
  const r = await client.response();
  assert.equal(r.header("content-length"), undefined);
});
test("a client that takes a large finished answer slowly but steadily gets it whole", async (t) => {
  const { clock, connect } = await serve(t);
  const client = await connect();
  client.socket.pause();
  client.write(request("/big"));
  await turns(30);
  for (let i = 0; i < 20; i++) {
    client.socket.resume();
    await turns(1);
    client.socket.pause();
    await turns(3);
    await pass(clock, 2_500);
  }
  client.socket.resume();
  const r = await client.response();
  assert.equal(r.body.length, 64 * 1024 * 1024);
});

test("a client that asked for the end of its connection and takes a large answer slowly gets it whole", async (t) => {
  const { clock, connect } = await serve(t);
  const client = await connect();
  client.socket.pause();
  client.write(request("/big", "", ["Connection: close"]));
  await turns(30);
  for (let i = 0; i < 20; i++) {
    client.socket.resume();
    await turns(1);
    client.socket.pause();
    await turns(3);
    await pass(clock, 1_000);
  }
  client.socket.resume();
  const r = await client.response();
  assert.equal(r.body.length, 64 * 1024 * 1024);
});
test("HTTP/1.0: an answer to the end of the connection is not cut short in silence", async (t) => {
  const { clock, held, connect } = await serve(t);
  const client = await connect();
  client.socket.pause();
  client.write(request("/hold", "", [], "HTTP/1.0"));
  await until(() => held.length === 1, "told");
  const [exchange] = held;
  assert.ok(exchange !== undefined);
  begin(exchange);
  held[0]?.write(Buffer.alloc(64 * 1024 * 1024));
  held[0]?.end();
  await turns(30);
  for (let i = 0; i < 10; i++) {
    client.socket.resume();
    await turns(1);
    client.socket.pause();
    await turns(3);
    await pass(clock, 1_000);
  }
  client.socket.resume();
  const r = await client.response();
  assert.ok(r.end === "reset" || r.body.length === 64 * 1024 * 1024);
});
