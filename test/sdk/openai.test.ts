// The official `openai` package through a router: every call that an application makes reads as it does from vLLM itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";
import { until } from "../helpers/until.ts";
import { model, startFleet } from "./fleet.ts";

const messages = [{ role: "user" as const, content: "Say hello please" }];

test("the openai package, through the router,", async (t) => {
  const fleet = await startFleet(t);
  const client = new OpenAI({ baseURL: `${fleet.router.url}/v1`, apiKey: "none", maxRetries: 0 });
  const direct = new OpenAI({ baseURL: `${fleet.engines[0]?.url}/v1`, apiKey: "none", maxRetries: 0 });

  await t.test("completes a prompt with the text that the engine itself gives", async () => {
    const request = { model, prompt: "Once upon a time", max_tokens: 12 };
    const [answer, expected] = [await client.completions.create(request), await direct.completions.create(request)];
    assert.match(answer.id, /^cmpl-/);
    assert.equal(answer.choices[0]?.text, expected.choices[0]?.text);
    assert.equal(answer.choices[0]?.finish_reason, "length");
    assert.equal(answer.usage?.completion_tokens, 12);
  });

  await t.test("streams a completion to the same text", async () => {
    const request = { model, prompt: "Once upon a time", max_tokens: 12 };
    const whole = await client.completions.create(request);
    let text = "";
    let reason: string | null = null;
    for await (const chunk of await client.completions.create({ ...request, stream: true })) {
      text += chunk.choices[0]?.text ?? "";
      reason = chunk.choices[0]?.finish_reason ?? reason;
    }
    assert.equal(text, whole.choices[0]?.text);
    assert.equal(reason, "length");
  });

  await t.test("answers a chat", async () => {
    const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 12 });
    assert.match(answer.id, /^chatcmpl-/);
    assert.equal(answer.model, model);
    assert.equal(answer.choices[0]?.message.role, "assistant");
    assert.ok((answer.choices[0]?.message.content?.length ?? 0) > 20);
    assert.equal(answer.usage?.completion_tokens, 12);
  });

  await t.test("streams a chat, with the usage where it was asked for", async () => {
    const request = { model, messages, max_completion_tokens: 12, stream: true as const };
    const whole = await client.chat.completions.create({ ...request, stream: false });
    for (const withUsage of [true, false]) {
      let text = "";
      const usages: number[] = [];
      const roles: string[] = [];
      const stream = await client.chat.completions.create({
        ...request,
        ...(withUsage ? { stream_options: { include_usage: true } } : {}),
      });
      for await (const chunk of stream) {
        const delta = chunk.choices[0]?.delta;
        text += delta?.content ?? "";
        if (delta?.role !== undefined) roles.push(delta.role);
        if (chunk.usage !== undefined && chunk.usage !== null) usages.push(chunk.usage.completion_tokens);
      }
      assert.equal(text, whole.choices[0]?.message.content);
      assert.deepEqual(roles, ["assistant"]);
      assert.deepEqual(usages, withUsage ? [12] : []);
    }
  });

  await t.test("gathers a stream of several choices by its helper", async () => {
    const stream = client.chat.completions.stream({ model, messages, n: 3, max_completion_tokens: 6 });
    const answer = await stream.finalChatCompletion();
    assert.equal(answer.choices.length, 3);
    for (const choice of answer.choices) assert.equal(choice.finish_reason, "length");
  });

  await t.test("reads embeddings as floats, and from base64, which the package asks for by itself", async () => {
    const floats = await client.embeddings.create({ model, input: ["hello", "world"], encoding_format: "float" });
    const decoded = await client.embeddings.create({ model, input: ["hello", "world"] });
    assert.equal(floats.data.length, 2);
    assert.equal(floats.data[0]?.embedding.length, 384);
    for (const [at, { embedding }] of floats.data.entries()) {
      assert.deepEqual(Float32Array.from(decoded.data[at]?.embedding ?? []), Float32Array.from(embedding));
    }
    assert.ok(floats.usage.prompt_tokens > 0);
  });

  await t.test("lists the models and retrieves one whose id holds a slash", async () => {
    const list = await client.models.list();
    assert.deepEqual(
      list.data.map(({ id }) => id),
      [model],
    );
    const found = await client.models.retrieve(model);
    assert.equal(found.id, model);
    assert.equal(found.object, "model");
    assert.equal(found.owned_by, "vllm");
  });

  await t.test("creates a response, retrieves it from the engine that holds it, and goes on from it", async () => {
    // more of them than engines: each is found again where it was made
    for (let i = 0; i < 6; i++) {
      const response = await client.responses.create({ model, input: `Hi ${i}`, max_output_tokens: 5 });
      assert.ok(response.output_text.length > 0);
      const again = await client.responses.retrieve(response.id);
      assert.equal(again.id, response.id);
      assert.deepEqual(again.output, response.output);
      const next = await client.responses.create({
        model,
        input: "And?",
        max_output_tokens: 5,
        previous_response_id: response.id,
      });
      assert.notEqual(next.id, response.id);
      assert.ok((next.usage?.input_tokens ?? 0) > (response.usage?.input_tokens ?? 0));
    }
  });

  await t.test("streams a response, which can be retrieved afterwards", async () => {
    const kinds: string[] = [];
    let id = "";
    let text = "";
    const stream = await client.responses.create({ model, input: "Hi", max_output_tokens: 5, stream: true });
    for await (const event of stream) {
      kinds.push(event.type);
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.completed") id = event.response.id;
    }
    assert.equal(kinds[0], "response.created");
    assert.equal(kinds.at(-1), "response.completed");
    const stored = await client.responses.retrieve(id);
    assert.equal(stored.output_text, text);
  });

  await t.test("uploads audio for a transcription: the model is found in the form", async () => {
    const audio = Buffer.alloc(200_000, "wave");
    const request = async (): Promise<{ model: string; file: File }> => ({
      model,
      file: await toFile(audio, "speech.wav", { type: "audio/wav" }),
    });
    const answer = await client.audio.transcriptions.create(await request());
    const expected = await direct.audio.transcriptions.create(await request());
    assert.ok(answer.text.length > 0);
    assert.equal(answer.text, expected.text);
    const plain = await client.audio.transcriptions.create({ ...(await request()), response_format: "text" });
    assert.equal(plain, expected.text);
  });

  await t.test("is told which request it was", async () => {
    const { data, request_id } = await client.completions
      .create({ model, prompt: "x", max_tokens: 1 }, { headers: { "x-request-id": "from-the-client" } })
      .withResponse();
    assert.equal(request_id, "from-the-client");
    assert.equal(data.id, "cmpl-from-the-client");
  });

  await t.test("leaves nothing behind", () => fleet.router.idle());
});

test("an openai client that leaves frees the engine", async (t) => {
  // real step times, so that an answer is under way for long
  const fleet = await startFleet(t, { engine: { preset: "llama-3.1-8b-1xh100" } });
  const client = new OpenAI({ baseURL: `${fleet.router.url}/v1`, apiKey: "none", maxRetries: 0 });
  const long = { model, messages, max_completion_tokens: 20_000 };

  await t.test("by abort() in mid-stream", async () => {
    const stream = await client.chat.completions.create({ ...long, stream: true });
    let chunks = 0;
    for await (const chunk of stream) {
      assert.equal(chunk.choices.length, 1);
      if (++chunks === 3) stream.controller.abort();
    }
    // what came in one read with the third is given out all the same
    assert.ok(chunks >= 3 && chunks < 100, `${chunks} chunks`);
    await until(() => fleet.sum("aborted") === 1 && fleet.sum("running") === 0, "the engine has dropped it");
  });

  await t.test("by leaving the loop", async () => {
    for await (const chunk of await client.chat.completions.create({ ...long, stream: true })) {
      assert.equal(chunk.object, "chat.completion.chunk");
      break;
    }
    await until(() => fleet.sum("aborted") === 2 && fleet.sum("running") === 0, "the engine has dropped it");
  });

  await t.test("by an abort while it waits for a whole answer", async () => {
    const controller = new AbortController();
    const answer = client.chat.completions.create(long, { signal: controller.signal });
    const rejected = assert.rejects(answer, OpenAI.APIUserAbortError);
    await until(() => fleet.sum("running") === 1, "the engine runs it");
    controller.abort();
    await rejected;
    await until(() => fleet.sum("aborted") === 3 && fleet.sum("running") === 0, "the engine has dropped it");
  });

  await t.test("by its own time limit", async () => {
    await assert.rejects(client.chat.completions.create(long, { timeout: 100 }), OpenAI.APIConnectionTimeoutError);
    await until(() => fleet.sum("aborted") === 4 && fleet.sum("running") === 0, "the engine has dropped it");
  });

  await t.test("and is counted as gone, not as a failure", async () => {
    await fleet.router.idle();
    for (const endpoint of fleet.router.context.registry.list()) {
      assert.equal(endpoint.state(fleet.router.context.clock.nowMs()), "ready");
    }
  });
});
