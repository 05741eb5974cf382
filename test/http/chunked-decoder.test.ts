// The chunked coding: any split decodes alike, what is encoded is decoded, and tricks with sizes are refused.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytesOf, everySplit, offsets } from "./splits.ts";
import { crumbs, cut, traceChunks } from "./traces.ts";

const chunks = fc.array(
  fc.tuple(
    fc.uint8Array({ minLength: 1, maxLength: 40 }),
    fc.constantFrom("", ";a", ";a=b", ";q;r=s"),
    fc.nat(3),
    fc.boolean(),
  ),
  { maxLength: 6 },
);

function encode(parts: readonly (readonly [Uint8Array, string, number, boolean])[], trailer: string): Buffer {
  const out: Buffer[] = [];
  for (const [payload, extension, zeros, upper] of parts) {
    const size = "0".repeat(zeros) + payload.length.toString(16);
    out.push(bytesOf(`${upper ? size.toUpperCase() : size}${extension}\r\n`), Buffer.from(payload), bytesOf("\r\n"));
  }
  return Buffer.concat([...out, bytesOf(`0\r\n${trailer}\r\n`)]);
}

test("what was encoded is decoded, however it is cut, and the first byte behind it is found", () => {
  fc.assert(
    fc.property(chunks, fc.constantFrom("", "A: b\r\n", "A:\r\nB: \xe9\tc\r\n"), offsets, (parts, trailer, at) => {
      const coded = encode(parts, trailer);
      const whole = traceChunks([Buffer.concat([coded, bytesOf("GET /")])]);
      assert.deepEqual(whole.payload, Buffer.concat(parts.map(([payload]) => payload)));
      assert.deepEqual([whole.end, whole.finished, whole.sawTrailers], [coded.length, true, trailer !== ""]);
      assert.deepEqual(traceChunks(cut(coded, at)), whole);
      assert.deepEqual(traceChunks(crumbs(coded)), whole);
    }),
    { numRuns: 1000 },
  );
});

test("any split of broken chunks gives the same payload and the same complaint", () => {
  const alphabet = fc.constantFrom(...'0123af;=\r\n\r\n x"+-:\0'.split(""));
  const text = fc.oneof(
    fc.string({ unit: alphabet, maxLength: 30 }),
    fc.tuple(chunks, fc.nat(200), alphabet).map(([parts, at, byte]) => {
      const coded = encode(parts, "").toString("latin1");
      const place = at % coded.length;
      return coded.slice(0, place) + byte + coded.slice(place + 1);
    }),
  );
  fc.assert(
    fc.property(text, (broken) => {
      const bytes = bytesOf(broken);
      const whole = traceChunks([bytes]);
      for (const pieces of everySplit(bytes)) assert.deepEqual(traceChunks(pieces), whole);
    }),
    { numRuns: 1000 },
  );
});

test("a size that is not plain hexadecimal, or line ends that are not CRLF, are refused", () => {
  for (const text of [
    "0x5\r\nhello\r\n",
    "+5\r\n",
    "-5\r\n",
    " 5\r\n",
    "5 \r\n",
    "5\t\r\n",
    "\r\n",
    ";a\r\n",
    "g\r\n",
    "5\n",
    "5\rX",
    "5\r\nhelloX",
    "5\r\nhello\n",
    "5\r\nhello\rX",
    "5;\r\n",
    "5;a=\r\n",
    '5;a="b"\r\n',
    "5;a\n",
    "5; a\r\n",
    "5;a b\r\n",
    "5,5\r\n",
    "5_0\r\n",
    "10000000000000\r\n",
    "ffffffffffffffffffff5\r\n",
    "0\r\n A: b\r\n\r\n",
    "0\r\nA : b\r\n\r\n",
    "0\r\nA: b\n\r\n",
    "0\r\n: b\r\n\r\n",
    "0\r\nA\r\n\r\n",
    "0\r\nA: \0\r\n\r\n",
    "0\r\n\rX",
    "0\r\nA: b\r\n c\r\n\r\n",
  ]) {
    const { error, finished } = traceChunks([bytesOf(text)]);
    assert.equal(error?.code, "malformed_http", JSON.stringify(text));
    assert.equal(finished, false);
  }
});

test("the largest size that is read is exact, and no smaller than memory can hold", () => {
  const { error, payload } = traceChunks([bytesOf("fffffffffffff\r\nabc")]);
  assert.equal(error, null);
  assert.equal(payload.toString(), "abc");
});

test("extensions and trailers are bounded, each line anew for chunks and all together for trailers", () => {
  const limit = 100;
  assert.equal(
    traceChunks([bytesOf(`1;${"a".repeat(90)}\r\nx\r\n1;${"a".repeat(90)}\r\nx\r\n0\r\n\r\n`)], limit).finished,
    true,
  );
  assert.equal(traceChunks([bytesOf(`1;${"a".repeat(limit + 1)}\r\n`)], limit).error?.code, "malformed_http");
  assert.equal(traceChunks([bytesOf(`0\r\n${"a: b\r\n".repeat(10)}\r\n`)], limit).finished, true);
  assert.equal(traceChunks([bytesOf(`0\r\n${"a: b\r\n".repeat(60)}\r\n`)], limit).error?.code, "malformed_http");
});
