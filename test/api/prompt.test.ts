// The canonical form of prompts: equal for what a model reads alike, different for what it does not, prefix for prefix.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FieldNames, JsonFieldScanner } from "../../src/api/json-fields.ts";
import { findPrompt, writePrompt, type PromptSink } from "../../src/api/prompt.ts";
import type { ApiName } from "../../src/api/table.ts";

class Form implements PromptSink {
  bytes: number[] = [];
  anchor = -1;
  opening = -1;
  continued = false;

  write(buf: Uint8Array, start: number, end: number): void {
    assert.ok(start >= 0 && start <= end && end <= buf.length, `${start}..${end} of ${buf.length}`);
    for (let i = start; i < end; i++) this.bytes.push(buf[i] ?? 0);
  }

  mark(byte: number): void {
    this.bytes.push(byte);
  }

  setOpening(): void {
    if (this.anchor < 0) this.opening = this.bytes.length;
  }

  setAnchor(): void {
    if (this.anchor < 0) this.anchor = this.bytes.length;
  }

  setContinued(): void {
    this.continued = true;
  }

  get text(): string {
    return Buffer.from(this.bytes).toString("utf8");
  }
}

interface Written extends Form {
  tokenIds: Uint32Array | null;
  otherBytes: number;
}

function formOf(api: ApiName, body: unknown): Written {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const parts = findPrompt(api, bytes);
  const form = new Form();
  const written = parts === null ? { tokenIds: null, otherBytes: 0 } : writePrompt(parts, form);
  return Object.assign(form, written);
}

const chat = (...messages: unknown[]): Written => formOf("chat", { model: "m", messages });
const user = (content: unknown): unknown => ({ role: "user", content });

test("what many conversations share ends where the first question begins", () => {
  const system = { role: "system", content: "be kind" };
  const lead = chat(system, user(""));
  const form = chat(system, user("hello"), { role: "assistant", content: "hi" }, user("more"));
  assert.equal(form.opening, chat(system).bytes.length);
  assert.ok(form.opening < form.anchor && lead.text.startsWith(form.text.slice(0, form.opening)));
  assert.equal(formOf("completions", { prompt: "no messages" }).opening, -1);
});

test("a chat's next turn begins with the whole of the turn before", () => {
  const first = chat({ role: "system", content: "be kind" }, user("hello"));
  const second = chat(
    { role: "system", content: "be kind" },
    user("hello"),
    { role: "assistant", content: "hi" },
    user("more"),
  );
  assert.ok(second.text.startsWith(first.text));
  assert.equal(first.anchor, second.anchor);
  assert.ok(!first.continued);
  assert.ok(second.continued);
});

test("space, order of keys, escapes and a list of one text make no difference", () => {
  const form = chat(user('grüße\n"zwei" 🦉')).text;
  const spellings = [
    '{"messages":[{"role":"user","content":"grüße\\n\\"zwei\\" 🦉"}]}',
    '{ "messages" : [ { "content" : "gr\\u00fc\\u00dfe\\n\\"zwei\\" \\ud83e\\udd89" , "role" : "user" } ] , "stream":true }',
    '{"messages":[{"role":"user","content":[{"type":"text","text":"grüße\\n\\"zwei\\" 🦉"}]}]}',
    '{"messages":[{"role":"user","name":null,"tool_calls":[],"content":[{"type":"text","cache_control":{"type":"ephemeral"},"text":"grüße\\n\\"zwei\\" 🦉"}]}]}',
  ];
  for (const spelling of spellings) assert.equal(formOf("chat", spelling).text, form);
});

test("an escaped backslash before a u is no escape of a character", () => {
  assert.notEqual(chat(user("\\u0041")).text, chat(user("A")).text);
  assert.equal(formOf("chat", '{"messages":[{"role":"user","content":"\\\\u0041"}]}').text, chat(user("\\u0041")).text);
});

test("what a model reads differently differs", () => {
  const forms = [
    chat(user("ab")),
    chat(user("a"), user("b")),
    chat({ role: "system", content: "ab" }),
    chat(user(["a", "b"].map((text) => ({ type: "text", text })))),
    chat({ role: "user", content: "ab", name: "eve" }),
    chat({ role: "assistant", content: "ab", tool_calls: [{ id: "1", function: { name: "f", arguments: "{}" } }] }),
    formOf("chat", { messages: [user("ab")], tools: [{ type: "function", function: { name: "f" } }] }),
    formOf("responses", { input: "ab" }),
    formOf("responses", { input: "ab", instructions: "be kind" }),
    formOf("messages", { messages: [user("ab")], system: "be kind" }),
  ].map((form) => form.text);
  assert.equal(new Set(forms).size, forms.length);
});

test("tools come before the messages, wherever they stand in the body", () => {
  const tools = [{ type: "function", function: { name: "look", parameters: { a: [1, 2] } } }];
  const one = formOf("chat", { tools, messages: [user("x")] });
  const two = formOf("chat", { messages: [user("x")], tools });
  assert.equal(one.text, two.text);
  assert.ok(one.text.startsWith('[{"type":"function"'));
});

test("Anthropic's marks of what to cache may move from turn to turn", () => {
  const block = (text: string, marked: boolean): unknown => ({
    type: "tool_result",
    tool_use_id: "t",
    content: text,
    ...(marked ? { cache_control: { type: "ephemeral" } } : {}),
  });
  const first = formOf("messages", { messages: [user([block("one", true)])] });
  const second = formOf("messages", {
    messages: [user([block("one", false)]), { role: "assistant", content: "x" }, user([block("two", true)])],
  });
  assert.ok(second.text.startsWith(first.text.slice(0, -2)), `${second.text} | ${first.text}`);
});

test("an image counts by samples: a megabyte of it costs next to nothing, another one differs", () => {
  const url = (fill: string): string => `data:image/png;base64,${fill.repeat(1024 * 1024)}`;
  const ask = (link: string): Written =>
    chat(
      user([
        { type: "image_url", image_url: { url: link } },
        { type: "text", text: "what is it?" },
      ]),
    );
  const one = ask(url("A"));
  assert.ok(one.bytes.length < 2000, `${one.bytes.length} bytes`);
  assert.equal(one.text, ask(url("A")).text);
  assert.notEqual(one.text, ask(url("B")).text);
  assert.notEqual(one.text, ask(`${url("A")}A`).text);
});

test("a long tool result is text, and all of it counts", () => {
  const words = "forty two words of an answer ".repeat(100);
  const form = chat({ role: "tool", tool_call_id: "1", content: words });
  assert.ok(form.bytes.length > words.length);
});

test("completions: text, ids, and the first of a batch", () => {
  assert.equal(formOf("completions", { prompt: "abc" }).text, "abc");
  const ids = formOf("completions", { prompt: [1, 2, 70_000] });
  assert.deepEqual([...(ids.tokenIds ?? [])], [1, 2, 70_000]);
  assert.equal(ids.bytes.length, 12);
  const texts = formOf("completions", { prompt: ["abc", "defgh"] });
  assert.equal(texts.text, "abc");
  assert.ok(texts.otherBytes >= 5);
  const lists = formOf("completions", { prompt: [[5, 6], [7]] });
  assert.deepEqual([...(lists.tokenIds ?? [])], [5, 6]);
});

for (const [what, body] of [
  ["no tokens", { prompt: [] }],
  ["no text", { prompt: "" }],
  ["no messages", { messages: [] }],
  ["nothing", {}],
  ["null", { prompt: null, messages: null, input: null }],
  ["a number", { prompt: 5, messages: 5, input: 5 }],
  ["ids that are none", { prompt: [-1, 1.5, "x"], messages: [-1, 1.5, "x"], input: [null] }],
] as const) {
  test(`a prompt of ${what} has a form, however short`, () => {
    for (const api of ["completions", "chat", "responses", "messages"] as const) {
      assert.ok(formOf(api, body).bytes.length < 40);
    }
  });
}

test("paths without a prompt have none", () => {
  for (const api of ["embeddings", "audio", "tokenize"] as const) {
    assert.equal(findPrompt(api, Buffer.from('{"prompt":"a","messages":[],"input":"a"}')), null);
  }
});

test("salt, priority and the limit of tokens are found, the last of two counts", () => {
  const find = (body: object) => findPrompt("chat", Buffer.from(JSON.stringify({ messages: [], ...body })));
  assert.equal(find({ cache_salt: "s", priority: -3, max_completion_tokens: 7 })?.cacheSalt, "s");
  assert.equal(find({ priority: -3 })?.priority, -3);
  assert.equal(find({ max_tokens: 7 })?.maxTokens, 7);
  assert.equal(find({ max_tokens: null })?.maxTokens, null);
  assert.equal(find({ max_tokens: "many", priority: {} })?.maxTokens, null);
  assert.equal(formOf("completions", '{"prompt":"a","prompt":"b"}').text, "b");
});

test("whatever JSON it is, the form is the same with and without spaces", () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom("prompt", "messages", "input", "tools", "system"), (json, field) => {
      const value: unknown = JSON.parse(json);
      for (const api of ["completions", "chat", "responses", "messages"] as const) {
        const compact = JSON.stringify({ messages: [user("x")], prompt: "x", input: "x", [field]: value });
        const spaced = JSON.stringify({ messages: [user("x")], prompt: "x", input: "x", [field]: value }, null, 3);
        assert.equal(formOf(api, spaced).text, formOf(api, compact).text);
      }
    }),
  );
});

test("no body that has passed the scanner of top-level fields leads astray, however broken inside", () => {
  const names = new FieldNames(["model"]);
  const pieces = fc.constantFrom(
    '"',
    "\\",
    "\\u",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "role",
    '"role"',
    '"content":',
    '"text"',
    "1",
    "é",
    '"cache_control":',
    '"type":"text"',
  );
  let passed = 0;
  fc.assert(
    fc.property(
      fc.array(pieces, { maxLength: 24 }),
      fc.constantFrom("messages", "prompt", "input", "tools"),
      (inner, field) => {
        for (const text of [
          `{"${field}":[${inner.join("")}]}`,
          `{"messages":[1],"${field}":{${inner.join("")}}}`,
          `{"${field}":[{"role":"user",${inner.join("")}}]}`,
        ]) {
          const body = Buffer.from(text);
          const scanner = new JsonFieldScanner(names);
          try {
            scanner.feed(body);
            scanner.end();
          } catch {
            continue;
          }
          passed++;
          for (const api of ["completions", "chat", "responses", "messages"] as const) {
            assert.ok(formOf(api, text).bytes.length <= 8 * body.length + 64);
          }
        }
      },
    ),
    { numRuns: 2000 },
  );
  assert.ok(passed > 100, `${passed} bodies passed`);
});
