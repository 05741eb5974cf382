import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ChunkedDecoder } from "../../src/http/chunked-decoder.ts";
import { areEventChunks } from "../../src/http/event-chunk.ts";
import { SseScanner, type FrameKind } from "../../src/http/sse-scanner.ts";

const chunk = (payload: string): string => `${Buffer.byteLength(payload).toString(16)}\r\n${payload}\r\n`;
const event = (text: string): string => chunk(`data: {"id":"x","choices":[{"text":${JSON.stringify(text)}}]}\n\n`);

function recognised(text: string): boolean {
  const buf = Buffer.from(text);
  return areEventChunks(buf, buf.length);
}

/** What the parsers say of the same bytes; null = they refuse them. */
function parsed(buf: Buffer): { whole: boolean; kinds: FrameKind[]; held: number } | null {
  const kinds: FrameKind[] = [];
  const scanner = new SseScanner({ onFrame: (kind) => kinds.push(kind) });
  const decoder = new ChunkedDecoder(1024);
  try {
    const sink = { onChunkData: (b: Buffer, start: number, end: number) => void scanner.feed(b, start, end) };
    const used = decoder.feed(buf, 0, buf.length, sink);
    const whole = used === buf.length && decoder.atBoundary && !decoder.finished && !decoder.sawTrailers;
    return { whole, kinds, held: scanner.heldBytes };
  } catch {
    return null;
  }
}

test("events of one line in chunks of their own are recognised, one or several", () => {
  assert.equal(recognised(event("a")), true);
  assert.equal(recognised(event("a") + event("ü\n\n") + event("")), true);
  assert.equal(recognised(event("a").replace(/^[0-9a-f]+/, (digits) => digits.toUpperCase())), true);
});

test("what means something to a router, or is not whole, is left to the parsers", () => {
  const cases: Record<string, string> = {
    nothing: "",
    "the end marker": chunk("data: [DONE]\n\n"),
    "an error": chunk('data: {"error":{"message":"x"}}\n\n'),
    "a named event": chunk('event: error\ndata: {"a":1}\n\n'),
    "a comment": chunk(": hello hello\n\n"),
    "no empty line": chunk('data: {"a":1}\n'),
    "two events in one chunk": chunk('data: {"a":1}\n\ndata: {"error":1}\n\n'),
    "a second line": chunk('data: {"a":1}\ndata: {"error":1}\n\n'),
    "an event over two chunks": chunk('data: {"a"') + chunk(":1}\n\n"),
    "the last chunk behind it": `${event("a")}0\r\n\r\n`,
    "half a chunk behind it": event("a") + event("b").slice(0, -1),
    "a chunk extension": event("a").replace("\r\n", ";x=y\r\n"),
    "a size that is too small": chunk('data: {"a":1}\n\n').replace("f", "e"),
    "a size that is too large": chunk('data: {"a":1}\n\n').replace("f", "10"),
    "line ends of CRLF": chunk('data: {"a":1}\r\n\r\n'),
  };
  for (const [name, text] of Object.entries(cases)) assert.equal(recognised(text), false, name);
});

test("what lies in the buffer behind the bytes that were read is never looked at as if it belonged to them", () => {
  const buf = Buffer.from(event("a") + event("b"));
  for (let length = 0; length < buf.length; length++) {
    assert.equal(areEventChunks(buf, length), length === buf.length / 2, `${length} bytes`);
  }
});

test("whatever is recognised is, for the parsers, whole chunks of whole events without any meaning of their own", () => {
  const piece = fc.oneof(
    { weight: 6, arbitrary: fc.string().map(event) },
    fc.constantFrom("0\r\n\r\n", "\n\n", "\r\n", 'data: {"error":1}\n\n', "data: [DONE]\n\n", "a\r\n"),
    fc.constantFrom(chunk("data: [DONE]\n\n"), chunk('data: {"error":1}\n\n'), chunk(": ping\n\n")),
  );
  const edit = fc.option(
    fc.record({ at: fc.nat(400), cut: fc.nat(3), put: fc.constantFrom("", "\n", "\r", "0", "e", "{") }),
  );
  let seen = 0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 4 }), edit, (pieces, change) => {
      let text = pieces.join("");
      if (change !== null) text = text.slice(0, change.at) + change.put + text.slice(change.at + change.cut);
      const buf = Buffer.from(text);
      if (!areEventChunks(buf, buf.length)) return;
      seen++;
      const truth = parsed(buf);
      assert.equal(truth?.whole, true);
      assert.equal(truth?.held, 0);
      assert.ok(truth !== null && truth.kinds.length > 0 && truth.kinds.every((kind) => kind === "data"));
    }),
    { numRuns: 3000 },
  );
  assert.ok(seen > 300, `only ${seen} of them were recognised`);
});
