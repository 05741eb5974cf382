// Events that differ in their text only, recognised without being parsed. What is recognised must be what a parser finds.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TextFrames } from "../../src/api/text-frames.ts";

const chat = (content: string, tail = ""): string =>
  `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":${JSON.stringify(content)}},"logprobs":null,"finish_reason":null,"token_ids":null}]${tail}}\n\n`;
const completion = (text: string): string =>
  `data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":${JSON.stringify(text)},"logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}]}\n\n`;

function learnt(...lessons: string[]): TextFrames {
  const frames = new TextFrames();
  for (const lesson of lessons) {
    const bytes = Buffer.from(lesson);
    frames.learn(bytes, 0, bytes.length);
  }
  return frames;
}

/** The text that is recognised; null = the event is not. */
function textOf(frames: TextFrames, frame: string): string | null {
  const bytes = Buffer.from(`before${frame}behind`);
  if (!frames.match(bytes, 6, bytes.length - 6)) return null;
  return JSON.parse(`"${bytes.toString("utf8", frames.textStart, frames.textEnd)}"`) as string;
}

for (const [name, make] of Object.entries({ chat, completion })) {
  test(`the text of any plain event of a ${name} is found`, () => {
    const frames = learnt(make(" first"));
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary" })), (text) => {
        // a lone surrogate is no text that an engine can send
        fc.pre(text.isWellFormed());
        assert.equal(textOf(frames, make(text)), text);
      }),
    );
  });
}

test("an event that says more than its text is not taken for a plain one", () => {
  const frames = learnt(chat(" first"));
  const others = [
    chat("x", ',"usage":{"completion_tokens":1}'),
    chat("x").replace('"finish_reason":null', '"finish_reason":"stop"'),
    chat("x").replace('"index":0', '"index":1'),
    chat("x").replace('"content":"x"', '"content":"x","reasoning":"y"'),
    chat("x").replace('"delta":{', '"delta":{"role":"assistant",'),
    chat("x").replace('"logprobs":null', '"logprobs":{}'),
    chat("x").replace('"token_ids":null', '"token_ids":[7]'),
    chat("x").replace('"content"', '"refusal"'),
    completion("x"),
    "data: [DONE]\n\n",
    "data: {}\n\n",
  ];
  for (const other of others) assert.equal(textOf(frames, other), null, other);
});

test("nothing is learnt from events that are not plain, and nothing for ever", () => {
  const odd = chat("x").replace('"finish_reason":null', '"finish_reason":"stop"');
  const frames = learnt(odd, chat("x").replace('"logprobs":null', '"logprobs":{}'), "data: [DONE]\n\n", "data: {\n\n");
  assert.equal(textOf(frames, odd), null);
  assert.ok(frames.curious);
  const tired = learnt(...Array.from({ length: 40 }, () => odd), chat("x"));
  assert.ok(!tired.curious);
  assert.equal(textOf(tired, chat("x")), null);
});

test("what an engine puts behind its choices may differ, as long as it is as long", () => {
  const frames = learnt(chat("x", ',"sent":"0001"'));
  assert.equal(textOf(frames, chat("hello", ',"sent":"9999"')), "hello");
  assert.equal(textOf(frames, chat("hello", ',"sent":"99999"')), null);
});
