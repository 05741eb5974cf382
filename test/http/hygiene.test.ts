// Which fields go on through a proxy.
import assert from "node:assert/strict";
import { test } from "node:test";
import { endToEnd } from "../../src/http/hygiene.ts";

const none: ReadonlySet<string> = new Set();

test("hop-by-hop fields and those that Connection names stay behind, repeated fields survive in order", () => {
  const list = [
    "connection",
    "keep-alive, X-Hop",
    "keep-alive",
    "timeout=5",
    "te",
    "trailers",
    "trailer",
    "x",
    "upgrade",
    "h2c",
    "proxy-connection",
    "close",
    "transfer-encoding",
    "chunked",
    "proxy-authorization",
    "x",
    "proxy-authenticate",
    "x",
    "x-hop",
    "1",
    "set-cookie",
    "a",
    "accept",
    "*/*",
    "set-cookie",
    "b",
  ];
  assert.deepEqual(endToEnd(list, "keep-alive, x-hop", none), ["set-cookie", "a", "accept", "*/*", "set-cookie", "b"]);
  assert.deepEqual(endToEnd(["a", "1", "b", "2"], "", new Set(["a"])), ["b", "2"]);
});

test("an option with a no-break space before it names no field", () => {
  assert.deepEqual(endToEnd(["x", "1"], "\xa0x", none), ["x", "1"]);
  assert.deepEqual(endToEnd(["x", "1"], "a,\t x ", none), []);
});

// The options were split anew for each field: a head of 64 KiB, half options and half fields, held the router for
// seconds.
test("a Connection with thousands of options and thousands of fields is walked once", () => {
  const list = Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? `f${i % 64}` : ""));
  const connection = Array.from({ length: 20_000 }, (_, i) => `o${i}`).join(",");
  assert.equal(endToEnd(list, connection, none).length, list.length);
});
