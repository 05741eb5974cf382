// Anthropic's official SDK as oracle: what it reads from the simulator is what it would read from vLLM.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { startEngine } from "../../src/engine/serve.ts";
import type { RunningEngine } from "../../src/engine/serve.ts";

let engine: RunningEngine;
let anthropic: Anthropic;

before(async () => {
  engine = await startEngine({ preset: "fast", models: ["tiny"] });
  anthropic = new Anthropic({ baseURL: engine.url, apiKey: "none", maxRetries: 0 });
});

after(() => engine.close());

const hello = [{ role: "user" as const, content: "Say hello please" }];

const weather = {
  name: "get_weather",
  input_schema: { type: "object" as const, properties: { city: { enum: ["Paris"] } }, required: ["city"] },
};

describe("anthropic's tools", () => {
  const asked = { model: "tiny", max_tokens: 60, messages: hello, tools: [weather] };

  it("a forced call comes with arguments that fit the schema", async () => {
    const message = await anthropic.messages.create({ ...asked, tool_choice: { type: "tool", name: "get_weather" } });
    const [block] = message.content;
    assert.ok(block?.type === "tool_use");
    assert.deepEqual([block.name, block.input], ["get_weather", { city: "Paris" }]);
    assert.equal(message.stop_reason, "tool_use");
  });

  it("streams them in pieces", async () => {
    const stream = anthropic.messages.stream({ ...asked, tool_choice: { type: "any" } });
    const message = await stream.finalMessage();
    const [block] = message.content;
    assert.ok(block?.type === "tool_use");
    assert.deepEqual(block.input, { city: "Paris" });
  });

  it("are not called unless somebody says so", async () => {
    const message = await anthropic.messages.create(asked);
    assert.equal(message.content[0]?.type, "text");
  });
});

describe("anthropic", () => {
  it("reads a message stream", async () => {
    const stream = anthropic.messages.stream({ model: "tiny", max_tokens: 9, messages: hello });
    const message = await stream.finalMessage();
    assert.equal(message.stop_reason, "max_tokens");
    assert.equal(message.usage.output_tokens, 9);
  });

  it("reads a message and counts tokens", async () => {
    const message = await anthropic.messages.create({ model: "tiny", max_tokens: 9, messages: hello });
    assert.equal(message.content[0]?.type, "text");
    const { input_tokens } = await anthropic.messages.countTokens({ model: "tiny", messages: hello });
    assert.ok(input_tokens > 5);
  });
});
