// The request parser: what it makes of a request, and that it makes the same of it however the bytes are cut.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Random } from "./fuzz/random.ts";
import { mutate } from "./fuzz/mutate.ts";
import { requestRegressions } from "./fuzz/regressions.ts";
import { requestSeeds } from "./fuzz/seeds.ts";
import { bytesOf, everySplit, offsets } from "./splits.ts";
import { crumbs, cut, traceRequests } from "./traces.ts";

function get(fields: string): string {
  return `GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
}

function headOf(text: string): NonNullable<ReturnType<typeof traceRequests>["requests"][0]>["head"] {
  const { requests, error } = traceRequests([bytesOf(text)]);
  assert.equal(error, null);
  const [first] = requests;
  assert.ok(first !== undefined);
  return first.head;
}

function refusal(text: string): string {
  const { requests, error } = traceRequests([bytesOf(text)]);
  assert.equal(requests.length, 0, JSON.stringify(text));
  assert.ok(error !== null, JSON.stringify(text));
  return error.message;
}

const malformed = [
  "GET / HTTP/1.1\nHost: a\n\n",
  "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
  "GET / HTTP/9.9\r\nfoo\nbar\r\n\r\n",
  "\n\nGET / HTTP/1.1\r\n\r\n",
  "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
  "\r\r\n\r\n",
  "\rGET / HTTP/1.1\r\n\r\n",
  "GET /\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;"\r\n',
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
];

test("every way to cut a request once, and a byte at a time, gives the same requests and the same complaint", () => {
  for (const text of [...requestSeeds, ...requestRegressions.map(({ bytes }) => bytes), ...malformed]) {
    const bytes = bytesOf(text);
    const whole = traceRequests([bytes]);
    for (const pieces of everySplit(bytes)) assert.deepEqual(traceRequests(pieces), whole, JSON.stringify(text));
  }
});

test("any split of mutated and pipelined requests parses alike", () => {
  const message = fc.integer().map((seed) => {
    const random = new Random(seed);
    const first = random.pick(requestSeeds);
    return mutate(random.below(2) === 0 ? first : first + random.pick(requestSeeds), requestSeeds, random);
  });
  fc.assert(
    fc.property(message, offsets, (text, at) => {
      const bytes = bytesOf(text);
      const whole = traceRequests([bytes]);
      assert.deepEqual(traceRequests(cut(bytes, at)), whole);
      assert.deepEqual(traceRequests(crumbs(bytes)), whole);
    }),
    { numRuns: 4000 },
  );
});

test("a request behind two that are nearly the same is read like one on a new connection", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Random(seed);
      const base = requestSeeds[random.below(requestSeeds.length)] ?? "";
      const { requests, error } = traceRequests([bytesOf(base + base)]);
      const mutated = bytesOf(mutate(base, requestSeeds, random));
      if (error !== null || requests.some(({ end }) => end < 0)) return;
      const alone = traceRequests([mutated]);
      const behind = traceRequests([bytesOf(base + base), mutated]);
      const at = 2 * base.length;
      assert.deepEqual(behind.error, alone.error);
      assert.deepEqual(
        behind.requests.slice(requests.length),
        alone.requests.map((request) => ({ ...request, end: request.end < 0 ? -1 : request.end + at })),
      );
    }),
    { numRuns: 3000 },
  );
});

test("a head at its limit is accepted and one byte more is 431, however it is cut", () => {
  const limit = 200;
  const head = (length: number): string => `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(length - 28)}\r\n\r\n`;
  for (const [extra, code] of [
    [0, null],
    [1, "head_too_large"],
    [500, "head_too_large"],
  ] as const) {
    const bytes = bytesOf(head(limit + extra));
    assert.equal(bytes.length, limit + extra + 4, "the limit does not count the empty line");
    for (const pieces of [[bytes], ...everySplit(bytes)]) {
      const { requests, error } = traceRequests(pieces, limit);
      assert.equal(error?.code ?? null, code);
      assert.equal(requests.length, code === null ? 1 : 0);
    }
  }
});

// A head that was recognised by the one before it was not measured: it could pass the limit by what its request id was
// longer.
test("the limit holds for a head like the ones before it, too", () => {
  const head = (id: number): string => `GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: ${"x".repeat(id)}\r\n\r\n`;
  const before = head(1) + head(2);
  for (const [id, code] of [
    [139, null],
    [140, "head_too_large"],
  ] as const) {
    const last = bytesOf(head(id));
    assert.equal(last.length - 4, code === null ? 178 : 179);
    for (const pieces of [[last], ...everySplit(last)]) {
      assert.equal(traceRequests([bytesOf(before), ...pieces], 178).error?.code ?? null, code);
    }
  }
});

test("a head without an end is refused at the limit, not kept", () => {
  const endless = bytesOf(`GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(1000)}`);
  for (const pieces of [[endless], crumbs(endless)])
    assert.equal(traceRequests(pieces, 200).error?.code, "head_too_large");
});

// A head that came byte by byte was searched for bare LFs from its start at each byte: 64 KiB of short lines cost
// minutes.
test("a head that comes in crumbs is searched once", () => {
  const lines = "a:\r\n".repeat(16_000);
  const pieces = crumbs(bytesOf(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`));
  assert.equal(traceRequests(pieces).requests[0]?.head.headers.length, 32_002);
});

test("empty lines before a request are skipped, wherever they are cut", () => {
  const bytes = bytesOf("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  for (const pieces of [[bytes], ...everySplit(bytes)]) {
    assert.deepEqual(
      traceRequests(pieces).requests.map(({ head }) => head.target),
      ["/", "/2"],
    );
  }
});

test("an absolute form is brought to origin form and its authority wins over Host", () => {
  for (const [target, path, host] of [
    ["http://h/p?q", "/p?q", "h"],
    ["http://h", "/", "h"],
    ["HTTPS://h:8?q=http://x/", "/?q=http://x/", "h:8"],
    ["http://[::1]:80/", "/", "[::1]:80"],
  ] as const) {
    const head = headOf(`GET ${target} HTTP/1.1\r\nHost: other\r\n\r\n`);
    assert.deepEqual([head.target, head.host], [path, host]);
  }
});

test("a target or a host that readers could take differently is refused", () => {
  for (const target of [
    "",
    "x",
    "h/p",
    "*",
    "ftp://h/",
    "http:///p",
    "http://u@h/",
    "http://a,b/",
    "http://r{uter",
    "/a#b",
    "/\xe9",
    "/\x7f",
    "/\0",
    "/a b",
  ]) {
    refusal(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
  }
  for (const host of ["u@a", "a/b", "a b", "a,b", "a?b", "a#b", "\xe9", "{", '"a"', "a\\b"])
    refusal(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
});

// Found by the differential fuzz: `String.trim` takes a no-break space away, which is a byte of the value here.
test("close is an option of Connection only where it stands between commas, blanks aside, and wins over keep-alive", () => {
  for (const value of [
    "close",
    "CLOSE",
    "x, close",
    ",close",
    "close\t, x",
    "keep-alive, close",
    "close\r\nConnection: keep-alive",
  ]) {
    assert.equal(headOf(get(`Connection: ${value}\r\n`)).keepAlive, false, value);
    assert.equal(headOf(`GET / HTTP/1.0\r\nConnection: ${value}\r\n\r\n`).keepAlive, false, value);
  }
  for (const value of ["", "xclose", "close x", "\xa0close", "close\xa0", "keep-alive"]) {
    assert.equal(headOf(get(`Connection: ${value}\r\n`)).keepAlive, true, value);
  }
  assert.equal(headOf("GET / HTTP/1.0\r\n\r\n").keepAlive, false);
  assert.equal(headOf("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keepAlive, true);
});

test("a malformed request says which rule it broke", () => {
  assert.match(
    refusal(get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
    /both Content-Length and Transfer-Encoding/,
  );
  assert.match(refusal(get("Content-Length: +5\r\n")), /Content-Length "\+5" is not a run of digits/);
  assert.match(refusal(get("X : y\r\n")), /white space before the colon/);
  assert.match(refusal(get(" X: y\r\n")), /folded/);
  assert.match(refusal("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"), /bare LF/);
  assert.match(refusal("GET / HTTP/1.1\r\n\r\n"), /needs a Host/);
  assert.match(refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), /method "PRI"/);
});
