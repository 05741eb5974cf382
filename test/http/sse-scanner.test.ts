// The scanner of event streams: the same frames however the bytes are cut, none lost, and the same events as a parser
// that is made for reading them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createParser } from "eventsource-parser";
import fc from "fast-check";
import { SseScanner, maxFrameBytes } from "../../src/http/sse-scanner.ts";
import { bytesOf, everySplit, offsets } from "./splits.ts";
import { crumbs, cut, traceFrames } from "./traces.ts";

const lineEnd = fc.constantFrom("\n", "\r\n");
const json = fc.constantFrom(
  '{"choices":[]}',
  '{"error":{"code":500}}',
  '{"error":null,"a":1}',
  '{ "error" : {}}',
  "[DONE]",
  "[DONE]x",
  "text",
  "é{}",
  "",
);
const line = fc.oneof(
  json.map((value) => `data: ${value}`),
  json.map((value) => `data:${value}`),
  fc.constantFrom(
    ": ping",
    ":",
    "event: error",
    "event:error",
    "event: errors",
    "event: message_stop",
    "id: 1",
    "retry: 5",
    "datax: 1",
    "d",
    "e",
  ),
);
const frame = fc
  .tuple(fc.array(line, { minLength: 1, maxLength: 4 }), lineEnd)
  .map(([lines, end]) => lines.join(end) + end + end);
const stream = fc
  .tuple(fc.array(frame, { maxLength: 6 }), fc.oneof(fc.constant(""), line))
  .map(([frames, rest]) => frames.join("") + rest);

test("any split of a stream gives the same frames and kinds, and holds the same rest", () => {
  fc.assert(
    fc.property(stream, offsets, (text, at) => {
      const bytes = Buffer.from(text);
      const whole = traceFrames([bytes]);
      assert.equal(
        whole.frames.map((found) => found.bytes).join("") + whole.held,
        bytes.toString("latin1"),
        "no byte is lost",
      );
      assert.deepEqual(traceFrames(cut(bytes, at)), whole);
      assert.deepEqual(traceFrames(crumbs(bytes)), whole);
    }),
    { numRuns: 1500 },
  );
});

test("a stray line or cut of any bytes gives the same frames", () => {
  const noise = fc.string({
    unit: fc.constantFrom("\n", "\r", "\r\n", "d", "data:", "event: error", " ", ":", "x"),
    maxLength: 20,
  });
  fc.assert(
    fc.property(noise, (text) => {
      const bytes = bytesOf(text);
      const whole = traceFrames([bytes]);
      for (const pieces of everySplit(bytes)) assert.deepEqual(traceFrames(pieces), whole);
    }),
    { numRuns: 1000 },
  );
});

test("the frames with data are the events that eventsource-parser sees", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 6 }), (frames) => {
      const text = frames.join("");
      const events: { event: string | undefined; data: string }[] = [];
      createParser({ onEvent: ({ event, data }) => events.push({ event, data }) }).feed(text);
      const seen = traceFrames([Buffer.from(text)]).frames.filter(({ payload }) => payload !== null);
      assert.equal(seen.length, events.length);
      for (const [i, { kind, payload }] of seen.entries()) {
        const event = events[i];
        const first = event?.data.split("\n")[0] ?? "";
        assert.equal(
          Buffer.from(payload ?? "", "latin1")
            .toString()
            .split(/\r?\n/)[0],
          first,
        );
        if (kind === "done") assert.equal(first, "[DONE]");
        if (first.startsWith('{"error":{') && event?.event === undefined) assert.equal(kind, "error");
      }
    }),
    { numRuns: 500 },
  );
});

test("each kind of frame is told by its first data line or its event name", () => {
  for (const [text, kind] of [
    ["data: {}\n\n", "data"],
    ["data:{}\r\n\r\n", "data"],
    ["id: 1\ndata: x\n\n", "data"],
    [": ping\n\n", "comment"],
    ["event: x\n\n", "comment"],
    ["data: [DONE]\n\n", "done"],
    ["data:[DONE]\r\n\r\n", "done"],
    ["data: [DONE]x\n\n", "data"],
    ['data: {"error":{"message":"x"}}\n\n', "error"],
    ['data: { "error" : "x"}\n\n', "error"],
    ['data: {"error":null}\n\n', "data"],
    ['data: {"errors":1}\n\n', "data"],
    ['data: {"a":{"error":1}}\n\n', "data"],
    ["event: error\ndata: {}\n\n", "error"],
    ["event:error\r\ndata: {}\r\n\r\n", "error"],
    ["event: errors\ndata: {}\n\n", "data"],
  ] as const) {
    assert.deepEqual(
      traceFrames([bytesOf(text)]).frames.map((found) => found.kind),
      [kind],
      JSON.stringify(text),
    );
  }
});

test("a frame without end is given up at the limit, not kept for ever", () => {
  const scanner = new SseScanner({ onFrame: () => assert.fail("no frame ends here") });
  const piece = Buffer.alloc(1024 * 1024, "x");
  let fed = 0;
  while (scanner.feed(piece, 0, piece.length)) {
    fed += piece.length;
    assert.ok(fed <= maxFrameBytes);
  }
  assert.equal(fed, maxFrameBytes);
});
