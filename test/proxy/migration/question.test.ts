// Which requests can be gone on with, and what the next engine is asked. Pure.
import assert from "node:assert/strict";
import { test } from "node:test";
import { continuationBody, readQuestion, tokenizeBody, type Question } from "../../../src/proxy/migration/question.ts";

const chat = { model: "m", messages: [{ role: "user", content: "hi" }], stream: true };
const completion = { model: "m", prompt: "hi", stream: true };

function read(api: Question["api"], body: object | string): Question | null {
  return readQuestion(api, typeof body === "string" ? body : JSON.stringify(body), "session");
}

function question(api: Question["api"], body: object | string): Question {
  const found = read(api, body);
  assert.ok(found, JSON.stringify(body));
  return found;
}

const parsed = (text: string): unknown => JSON.parse(text) as unknown;

test("a limit is what the request says, in each API's own default", () => {
  assert.equal(question("completions", completion).maxTokens, 16);
  assert.equal(question("completions", { ...completion, max_tokens: null }).maxTokens, null);
  assert.equal(question("chat", chat).maxTokens, null);
  assert.equal(question("chat", { ...chat, max_tokens: 5, max_completion_tokens: 7 }).maxTokens, 7);
  assert.equal(read("chat", { ...chat, max_tokens: "5" }), null);
});

test("a field that says nothing is no obstacle, one that is unknown or looks back is", () => {
  const fine = { n: 1, logprobs: false, echo: false, tools: [], presence_penalty: 0, unknown: null, session: "me" };
  assert.ok(read("chat", { ...chat, ...fine }));
  const obstacles = [
    { n: 2 },
    { logprobs: true },
    { logprobs: 0 },
    { top_logprobs: 2 },
    { echo: true },
    { best_of: 2 },
    { use_beam_search: true },
    { presence_penalty: 0.1 },
    { frequency_penalty: -1 },
    { repetition_penalty: 1.1 },
    { min_tokens: 1 },
    { bad_words: ["x"] },
    { suffix: "x" },
    { tools: [{}] },
    { tool_choice: "required" },
    { response_format: { type: "json_schema" } },
    { guided_regex: "x" },
    { structured_outputs: { regex: "x" } },
    { truncate_prompt_tokens: 5 },
    { kv_transfer_params: {} },
    { vllm_xargs: { x: 1 } },
    { reasoning_effort: "high" },
    { prompt_embeds: "x" },
    { whatever: 1 },
  ];
  for (const obstacle of obstacles) {
    assert.equal(read("chat", { ...chat, ...obstacle }), null, JSON.stringify(obstacle));
    assert.equal(read("completions", { ...completion, ...obstacle }), null, JSON.stringify(obstacle));
  }
});

test("prompts and conversations that have no one end are none", () => {
  for (const prompt of [[], ["a", "b"], [[1], [2]], {}, 7, undefined]) {
    assert.equal(read("completions", { ...completion, prompt }), null, JSON.stringify(prompt));
  }
  const odd: object[] = [
    { messages: [] },
    { messages: "hi" },
    { add_generation_prompt: false },
    { continue_final_message: true },
    { continue_final_message: true, messages: [{ role: "assistant", content: [{ type: "text", text: "x" }] }] },
  ];
  for (const change of odd) assert.equal(read("chat", { ...chat, ...change }), null, JSON.stringify(change));
  for (const text of ["", "[]", "null", "{", '{"model":']) assert.equal(read("chat", text), null);
});

test("a completion goes on behind its prompt, a chat in the assistant's message", () => {
  const asked = question("completions", { ...completion, max_tokens: 9 });
  assert.deepEqual(parsed(continuationBody(asked, " there", 7)), { ...completion, prompt: "hi there", max_tokens: 7 });
  assert.deepEqual(parsed(continuationBody(asked, { promptIds: [1], ids: [2, 3] }, 7)), {
    ...completion,
    prompt: [1, 2, 3],
    max_tokens: 7,
  });
  const talk = question("chat", { ...chat, max_completion_tokens: 9 });
  const begun = {
    messages: [...chat.messages, { role: "assistant", content: " there" }],
    continue_final_message: true,
    add_generation_prompt: false,
  };
  assert.deepEqual(parsed(continuationBody(talk, " there", 7)), { ...chat, ...begun, max_completion_tokens: 7 });
  assert.deepEqual(parsed(tokenizeBody(talk, " there")), { model: "m", ...begun });
  assert.deepEqual(parsed(tokenizeBody(talk, "")), {
    model: "m",
    messages: chat.messages,
    continue_final_message: false,
    add_generation_prompt: true,
  });
});

test("a message that the client has begun is gone on with", () => {
  const messages = [...chat.messages, { role: "assistant", content: "Well,", name: "me" }];
  const talk = question("chat", { ...chat, messages, continue_final_message: true, add_generation_prompt: false });
  const { messages: sent } = parsed(continuationBody(talk, " yes", null)) as { messages: unknown[] };
  assert.deepEqual(sent, [...chat.messages, { role: "assistant", content: "Well, yes", name: "me" }]);
});

test("numbers that JavaScript can't hold go on as they were written", () => {
  // a seed of 64 bits was rounded on its way through JSON
  const text = '{"model":"m","prompt":"hi","stream":true,"seed":9223372036854775807,"temperature":1.0,"top_p":1e-1}';
  const body = continuationBody(question("completions", text), "!", 3);
  assert.match(body, /"seed":9223372036854775807,"temperature":1\.0,"top_p":1e-1/);
});
