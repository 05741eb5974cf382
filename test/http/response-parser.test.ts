// The response parser: the same answer however the bytes are cut, and what it says about whole chunks is true.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HeadTemplates } from "../../src/http/head-template.ts";
import { ResponseParser } from "../../src/http/response-parser.ts";
import { mutate } from "./fuzz/mutate.ts";
import { Random } from "./fuzz/random.ts";
import { responseRegressions } from "./fuzz/regressions.ts";
import { responseSeeds } from "./fuzz/seeds.ts";
import { bytesOf, everySplit, offsets } from "./splits.ts";
import { crumbs, cut, traceChunks, traceResponse, type ResponseTrace } from "./traces.ts";

/** What must not depend on how the bytes were cut. A read that breaks is not reported, so the wire counts without errors. */
function essence({ reads, ...rest }: ResponseTrace): unknown {
  return { ...rest, wire: rest.error === null ? Buffer.concat(reads.map(({ wire }) => wire)) : null };
}

const malformed = [
  "HTTP/1.1 200 OK\nfoo: bar\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\n\r\n",
  "HTTP/2 200\r\n\r\n",
  "ICY 200 OK\r\n\r\n",
  "HTTP/1.1 099 X\r\n\r\n",
  "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n",
];

test("every way to cut an answer once, and a byte at a time, gives the same answer and the same complaint", () => {
  for (const text of [...responseSeeds, ...responseRegressions.map(({ bytes }) => bytes), ...malformed]) {
    const bytes = bytesOf(text);
    for (const options of [{ closed: true }, { closed: false }, { headRequest: true }]) {
      const whole = essence(traceResponse([bytes], options));
      for (const pieces of everySplit(bytes))
        assert.deepEqual(essence(traceResponse(pieces, options)), whole, JSON.stringify(text));
    }
  }
});

test("any split of a mutated answer parses alike", () => {
  const message = fc.integer().map((seed) => {
    const random = new Random(seed);
    return mutate(random.pick(responseSeeds), responseSeeds, random);
  });
  fc.assert(
    fc.property(message, offsets, fc.boolean(), (text, at, closed) => {
      const bytes = bytesOf(text);
      const whole = essence(traceResponse([bytes], { closed }));
      assert.deepEqual(essence(traceResponse(cut(bytes, at), { closed })), whole);
      assert.deepEqual(essence(traceResponse(crumbs(bytes), { closed })), whole);
    }),
    { numRuns: 3000 },
  );
});

test("an answer behind two that are nearly the same is read like one on a new connection", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Random(seed);
      const base = random.pick(responseSeeds);
      if (traceResponse([bytesOf(base)]).end !== base.length) return;
      const bytes = bytesOf(mutate(base, responseSeeds, random));
      assert.deepEqual(traceResponse([bytes], { before: bytesOf(base) }), traceResponse([bytes]));
    }),
    { numRuns: 3000 },
  );
});

const payloads = fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 8 });
const extensions = fc.constantFrom("", ";a", ";a=b;c");
const trailers = fc.constantFrom("", "X-T: 1\r\n");

test("what is said to be whole chunks is whole chunks: passed on alone, it decodes to the same payload", () => {
  fc.assert(
    fc.property(payloads, extensions, trailers, offsets, (chunks, extension, trailer, at) => {
      const parts: Buffer[] = [bytesOf("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")];
      for (const chunk of chunks)
        parts.push(bytesOf(`${chunk.length.toString(16)}${extension}\r\n`), Buffer.from(chunk), bytesOf("\r\n"));
      parts.push(bytesOf(`0\r\n${trailer}\r\n`));
      const bytes = Buffer.concat(parts);
      const { body, whole, reads } = traceResponse(cut(bytes, at));
      assert.ok(whole);
      assert.deepEqual(body, Buffer.concat(chunks));
      for (const [i, read] of reads.entries()) {
        assert.equal(read.last, i === reads.length - 1, "only the last read ends the answer");
        const { finished, sawTrailers, error } = traceChunks([read.wire]);
        if (!read.whole) continue;
        assert.equal(error, null);
        assert.equal(finished, read.last);
        assert.equal(sawTrailers, false, "trailers are nothing that goes on");
        // whole chunks may be followed by the end: nothing is left open
        if (!finished) assert.ok(traceChunks([Buffer.concat([read.wire, bytesOf("0\r\n\r\n")])]).finished);
      }
    }),
    { numRuns: 2000 },
  );
});

test("an answer as vLLM sends it, a chunk a read, is whole in every read", () => {
  const head = bytesOf("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  const { reads } = traceResponse([
    head,
    bytesOf("9\r\ndata: a\n\n\r\n"),
    bytesOf("9\r\ndata: b\n\n\r\n9\r\ndata: c\n\n\r\n"),
    bytesOf("0\r\n\r\n"),
  ]);
  assert.deepEqual(
    reads.map(({ whole, last }) => [whole, last]),
    [
      [true, false],
      [true, false],
      [true, true],
    ],
  );
});

test("an answer that ends with its connection is whole only when that ends, one with a length only when that has come", () => {
  const untilClose = bytesOf("HTTP/1.1 200 OK\r\n\r\nabc");
  assert.equal(traceResponse([untilClose]).whole, false);
  assert.equal(traceResponse([untilClose], { closed: true }).whole, true);
  for (const text of [
    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    "HTTP/1.1 200 OK\r\n",
    "",
  ]) {
    assert.equal(traceResponse([bytesOf(text)], { closed: true }).whole, false, JSON.stringify(text));
  }
});

test("interim answers are skipped, and one that switches protocols is refused", () => {
  const { head, body } = traceResponse([
    bytesOf(
      "HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
    ),
  ]);
  assert.equal(head?.status, 200);
  assert.equal(body.toString(), "x");
  assert.match(
    traceResponse([bytesOf("HTTP/1.1 101 Switching Protocols\r\n\r\n")]).error?.message ?? "",
    /switched protocols/,
  );
});

test("answers without a body end with their head, whatever length they name", () => {
  for (const [text, headRequest] of [
    ["HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", false],
    ["HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", false],
    ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true],
  ] as const) {
    const bytes = bytesOf(text);
    const { whole, end, body } = traceResponse([Buffer.concat([bytes, bytesOf("extra")])], { headRequest });
    assert.deepEqual([whole, end, body.length], [true, bytes.length, 0]);
  }
});

test("the media type is read without parameters and in lower case", () => {
  for (const [value, type] of [
    ["text/event-stream; charset=utf-8", "text/event-stream"],
    ["Application/JSON ;x", "application/json"],
    ["", ""],
  ] as const) {
    assert.equal(traceResponse([bytesOf(`HTTP/1.1 200 OK\r\ncontent-type: ${value}\r\n\r\n`)]).head?.mediaType, type);
  }
});

// RFC 9112 section 6.1: such an answer came through somebody who does not know chunks, and ends its connection.
test("an HTTP/1.0 answer in chunks does not leave its connection open", () => {
  const { head } = traceResponse([
    bytesOf("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n"),
  ]);
  assert.equal(head?.keepAlive, false);
});

test("bytes behind an answer without a body do not answer the request that is sent as it ends", () => {
  // A pipelined request is sent from within the end of the answer before it: the parser was ready for its answer then, and
  // took bytes that had come before the request for it.
  for (const head of ["HTTP/1.1 200 OK\r\ncontent-length: 0", "HTTP/1.1 204 No Content"]) {
    const bytes = Buffer.from(`${head}\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`);
    let answers = 0;
    const sink = {
      onHead: () => answers++,
      onChunkData: () => undefined,
      onRead: () => undefined,
      onMessageEnd: () => parser.reset(false),
    };
    const parser: ResponseParser = new ResponseParser(1024, sink, new HeadTemplates());
    assert.equal(parser.feed(bytes, 0, bytes.length), head.length + 4);
    assert.equal(answers, 1);
  }
});
