// What is kept of a stream: all of its text, within the bounds, and nothing that is not given back.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MigrationBudget } from "../../../src/proxy/migration/budget.ts";
import { KeptStream } from "../../../src/proxy/migration/kept-stream.ts";

const frame = (content: string): Buffer =>
  Buffer.from(
    `data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":${JSON.stringify(content)}},"logprobs":null,"finish_reason":null}]}\n\n`,
  );
const chunk = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);

function keep(stream: KeptStream, text: string): void {
  const bytes = frame(text);
  stream.keepEvent(bytes, 0, bytes.length, 6);
}

test("the text of any events is kept, whichever way they come", () => {
  const texts = fc.array(
    fc.string({ unit: "grapheme" }).filter((text) => text.isWellFormed()),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(
    fc.property(texts, fc.nat(3), (pieces, way) => {
      const budget = new MigrationBudget(1 << 20);
      const stream = new KeptStream(budget, 1 << 16);
      for (const [i, piece] of pieces.entries()) {
        const bytes = chunk(frame(piece));
        if (way === 0 || !stream.keepChunks(bytes, bytes.length)) keep(stream, piece);
        if (way === 2 && i % 3 === 0) stream.addText("");
      }
      assert.equal(stream.text, pieces.join(""));
      assert.equal(stream.problem, null);
      stream.release();
      assert.equal(budget.usedBytes, 0);
    }),
  );
});

test("of several chunks all are kept, or none where one is not plain", () => {
  const stream = new KeptStream(new MigrationBudget(1 << 20), 1 << 16);
  keep(stream, "one");
  const plain = Buffer.concat([chunk(frame(" two")), chunk(frame(" three"))]);
  assert.ok(stream.keepChunks(plain, plain.length));
  assert.equal(stream.text, "one two three");
  const mixed = Buffer.concat([chunk(frame(" four")), chunk(Buffer.from('data: {"choices":[]}\n\n'))]);
  assert.ok(!stream.keepChunks(mixed, mixed.length));
  assert.equal(stream.text, "one two three");
});

test("a stream that is longer than its bound is let go of, and so is one that finds no room", () => {
  const budget = new MigrationBudget(4096);
  const long = new KeptStream(budget, 1024);
  for (let i = 0; i < 300; i++) keep(long, "word ");
  assert.equal(long.problem, "too_large");
  assert.equal(budget.usedBytes, 0);
  const crowd = Array.from({ length: 10 }, () => new KeptStream(budget, 1024));
  for (const stream of crowd) for (let i = 0; i < 150; i++) keep(stream, "word ");
  assert.ok(crowd.some((stream) => stream.problem === "no_budget"));
  assert.ok(crowd.some((stream) => stream.problem === null && stream.text.length === 750));
  assert.ok(budget.usedBytes <= 4096);
  for (const stream of crowd) stream.release();
  assert.equal(budget.usedBytes, 0);
});

test("a stream that says more than text is one that can't be gone on with", () => {
  const odd = [
    '{"choices":[{"index":0,"delta":{"tool_calls":[]}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}',
    '{"choices":[{"index":1,"delta":{"content":"x"}}]}',
    '{"choices":[{"index":0,"text":"x","logprobs":{}}]}',
    '{"choices":[{"index":0,"text":"x"},{"index":1,"text":"y"}]}',
    '{"unknown":1}',
    "7",
    "{",
  ];
  for (const payload of odd) {
    const budget = new MigrationBudget(4096);
    const stream = new KeptStream(budget, 1024);
    keep(stream, "some");
    const bytes = Buffer.from(`data: ${payload}\n\n`);
    stream.keepEvent(bytes, 0, bytes.length, 6);
    assert.equal(stream.problem, "stream", payload);
    assert.equal(budget.usedBytes, 0);
  }
});
