// The official SDK as oracle: what it reads from the simulator is what it would read from vLLM. Anthropic's stands in
// test/e2e/engine-anthropic.test.ts.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import OpenAI from "openai";
import { startEngine } from "../../src/engine/serve.ts";
import type { RunningEngine } from "../../src/engine/serve.ts";

let engine: RunningEngine;
let openai: OpenAI;

before(async () => {
  engine = await startEngine({ preset: "fast", models: ["tiny"] });
  openai = new OpenAI({ baseURL: `${engine.url}/v1`, apiKey: "none", maxRetries: 0 });
});

after(() => engine.close());

const hello = [{ role: "user" as const, content: "Say hello please" }];

describe("openai", () => {
  it("reads a chat stream to its usage", async () => {
    const stream = await openai.chat.completions.create({
      model: "tiny",
      messages: hello,
      max_completion_tokens: 12,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let tokens = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    assert.ok(text.length > 20);
    assert.equal(tokens, 12);
  });

  it("reads the same text without a stream", async () => {
    const request = { model: "tiny", messages: hello, max_completion_tokens: 12 };
    const [one, two] = [await openai.chat.completions.create(request), await openai.chat.completions.create(request)];
    assert.equal(one.choices[0]?.message.content, two.choices[0]?.message.content);
  });

  it("reads models, embeddings and responses", async () => {
    assert.deepEqual(
      (await openai.models.list()).data.map((model) => model.id),
      ["tiny"],
    );
    const { data } = await openai.embeddings.create({ model: "tiny", input: "hello" });
    assert.equal(data[0]?.embedding.length, 384);
    const response = await openai.responses.create({ model: "tiny", input: "Hi", max_output_tokens: 5 });
    assert.ok(response.output_text.length > 0);
    const kinds: string[] = [];
    const stream = await openai.responses.create({ model: "tiny", input: "Hi", max_output_tokens: 5, stream: true });
    for await (const event of stream) kinds.push(event.type);
    assert.equal(kinds[0], "response.created");
    assert.equal(kinds.at(-1), "response.completed");
  });

  it("reads a forced tool call whose arguments fit the schema", async () => {
    const parameters = {
      type: "object",
      properties: { city: { enum: ["Paris", "Rome"] }, days: { type: "integer", minimum: 1, maximum: 7 } },
      required: ["city", "days"],
    };
    const stream = openai.chat.completions.stream({
      model: "tiny",
      messages: hello,
      tools: [{ type: "function", function: { name: "get_weather", parameters } }],
      tool_choice: "required",
    });
    const { choices } = await stream.finalChatCompletion();
    const call = choices[0]?.message.tool_calls?.[0];
    assert.equal(choices[0]?.finish_reason, "tool_calls");
    assert.ok(call?.type === "function");
    const given = JSON.parse(call.function.arguments) as { city: string; days: number };
    assert.match(given.city, /^(Paris|Rome)$/);
    assert.ok(given.days >= 1 && given.days <= 7);
  });

  it("reads structured output that fits the schema", async () => {
    const schema = { type: "object", properties: { names: { type: "array", items: { type: "string" }, minItems: 2 } } };
    const { choices } = await openai.chat.completions.create({
      model: "tiny",
      messages: hello,
      response_format: { type: "json_schema", json_schema: { name: "list", schema } },
    });
    const { names } = JSON.parse(choices[0]?.message.content ?? "") as { names: string[] };
    assert.equal(names.length, 2);
  });

  it("raises its own error for an unknown model", async () => {
    const request = openai.chat.completions.create({ model: "nope", messages: hello });
    await assert.rejects(request, (error) => error instanceof OpenAI.NotFoundError && error.param === "model");
  });
});
