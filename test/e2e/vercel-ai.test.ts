// Vercel's `ai` with `@ai-sdk/openai-compatible` through a router.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, generateText, streamText, tool } from "ai";
import { z } from "zod";
import { until } from "../helpers/until.ts";
import { model as name, startFleet } from "../sdk/fleet.ts";

const prompt = "Say hello please";

test("the ai package, through the router,", async (t) => {
  const fleet = await startFleet(t);
  const provider = createOpenAICompatible({ name: "lmstack", baseURL: `${fleet.router.url}/v1`, includeUsage: true });
  const model = provider(name);
  let text = "";

  await t.test("generates text", async () => {
    const answer = await generateText({ model, prompt, maxOutputTokens: 12, maxRetries: 0 });
    ({ text } = answer);
    assert.ok(text.length > 20);
    assert.equal(answer.finishReason, "length");
    assert.equal(answer.usage.outputTokens, 12);
  });

  await t.test("streams the same text, with its usage", async () => {
    const answer = streamText({ model, prompt, maxOutputTokens: 12, maxRetries: 0 });
    const pieces: string[] = [];
    for await (const piece of answer.textStream) pieces.push(piece);
    assert.ok(pieces.length > 1);
    assert.equal(pieces.join(""), text);
    assert.equal(await answer.finishReason, "length");
    assert.equal((await answer.usage).outputTokens, 12);
  });

  await t.test("streams a completion", async () => {
    const answer = streamText({ model: provider.completionModel(name), prompt, maxOutputTokens: 12, maxRetries: 0 });
    assert.ok((await answer.text).length > 20);
  });

  await t.test("calls a tool with arguments that fit its schema", async () => {
    const weather = tool({
      description: "The weather of a city",
      inputSchema: z.object({ city: z.enum(["Paris", "Rome"]) }),
      execute: ({ city }) => `rain in ${city}`,
    });
    const answer = await generateText({ model, prompt, tools: { weather }, toolChoice: "required", maxRetries: 0 });
    assert.equal(answer.toolCalls.length, 1);
    assert.match(JSON.stringify(answer.toolCalls[0]?.input), /Paris|Rome/);
  });

  await t.test("embeds", async () => {
    const { embedding } = await embed({ model: provider.embeddingModel(name), value: prompt, maxRetries: 0 });
    assert.equal(embedding.length, 384);
  });

  await t.test("raises the router's error with its words", async () => {
    const answer = generateText({ model: provider("nope"), prompt, maxRetries: 2 });
    await assert.rejects(answer, (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 404);
      assert.equal(error.isRetryable, false);
      assert.match(error.message, /The model `nope` does not exist; known: facebook\/opt-125m/);
      return true;
    });
  });

  await t.test("reads a whole answer where engines are cut in mid-stream", async (st) => {
    const whole = await streamText({ model, prompt, maxOutputTokens: 12 }).text;
    fleet.fault(st, { fault: "cut_mid_stream", after: 3 });
    assert.equal(await streamText({ model, prompt, maxOutputTokens: 12, maxRetries: 0 }).text, whole);
  });

  await t.test("is told of a stream that the engine cuts and nobody can go on with", async (st) => {
    fleet.router.context.migrationBudget.take(1024 ** 3 / 4);
    st.after(() => fleet.router.context.migrationBudget.give(1024 ** 3 / 4));
    fleet.fault(st, { fault: "cut_mid_stream", after: 3 });
    const errors: unknown[] = [];
    const answer = streamText({
      model,
      prompt,
      maxOutputTokens: 12,
      maxRetries: 0,
      onError: ({ error }) => void errors.push(error),
    });
    const kinds: string[] = [];
    for await (const part of answer.fullStream) kinds.push(part.type);
    assert.ok(kinds.includes("error"));
    assert.match(JSON.stringify(errors), /failed in mid-answer/);
  });

  await t.test("leaves nothing behind", () => fleet.router.idle());
});

test("a streamText that is aborted frees the engine", async (t) => {
  const fleet = await startFleet(t, { engine: { preset: "llama-3.1-8b-1xh100" } });
  const provider = createOpenAICompatible({ name: "lmstack", baseURL: `${fleet.router.url}/v1` });
  const controller = new AbortController();
  const { textStream } = streamText({
    model: provider(name),
    prompt,
    maxOutputTokens: 20_000,
    abortSignal: controller.signal,
  });
  for await (const piece of textStream) if (piece !== "") controller.abort();
  await until(() => fleet.sum("aborted") === 1 && fleet.sum("running") === 0, "the engine has dropped it");
  await fleet.router.idle();
});
