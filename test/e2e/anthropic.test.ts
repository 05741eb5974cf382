// The official `@anthropic-ai/sdk` through a router: messages, streams by its helper, token counts, and errors in the shape
// that it knows.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { until } from "../helpers/until.ts";
import { model, startFleet } from "../sdk/fleet.ts";

const messages = [{ role: "user" as const, content: "Say hello please" }];
const request = { model, max_tokens: 9, messages };

async function errorOf(call: Promise<unknown>): Promise<InstanceType<typeof Anthropic.APIError>> {
  const error = await call.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Anthropic.APIError, String(error));
  return error;
}

/** The body of an error as it stood on the wire. */
function shapeOf(error: InstanceType<typeof Anthropic.APIError>): {
  type: string;
  error: { type: string; message: string };
} {
  return error.error as { type: string; error: { type: string; message: string } };
}

test("the anthropic package, through the router,", async (t) => {
  const fleet = await startFleet(t, { argv: ["--max-body-bytes", "100000"] });
  const client = new Anthropic({ baseURL: fleet.router.url, apiKey: "none", maxRetries: 0 });
  let text = "";

  await t.test("creates a message", async () => {
    const message = await client.messages.create(request);
    assert.equal(message.role, "assistant");
    assert.equal(message.stop_reason, "max_tokens");
    assert.equal(message.usage.output_tokens, 9);
    const [block] = message.content;
    assert.ok(block?.type === "text");
    ({ text } = block);
  });

  await t.test("streams the same message by its helper", async () => {
    const pieces: string[] = [];
    const stream = client.messages.stream(request).on("text", (piece) => pieces.push(piece));
    const message = await stream.finalMessage();
    assert.ok(pieces.length > 1);
    assert.equal(pieces.join(""), text);
    assert.equal(message.stop_reason, "max_tokens");
    assert.equal(message.usage.output_tokens, 9);
    assert.ok(message.usage.input_tokens > 0);
  });

  await t.test("streams events from the start to the stop", async () => {
    const kinds: string[] = [];
    for await (const event of await client.messages.create({ ...request, stream: true })) kinds.push(event.type);
    assert.equal(kinds[0], "message_start");
    assert.equal(kinds.at(-1), "message_stop");
  });

  await t.test("counts tokens as a message does", async () => {
    const { input_tokens: counted } = await client.messages.countTokens({ model, messages });
    const { usage } = await client.messages.create(request);
    assert.equal(counted, usage.input_tokens);
  });

  await t.test("raises NotFoundError for an unknown model, in Anthropic's shape", async () => {
    for (const stream of [false, true]) {
      const error = await errorOf(client.messages.create({ ...request, model: "nope", stream }));
      assert.ok(error instanceof Anthropic.NotFoundError);
      assert.equal(shapeOf(error).type, "error");
      assert.equal(shapeOf(error).error.type, "not_found_error");
      assert.ok(shapeOf(error).error.message.includes(model));
      assert.match((error.error as { request_id: string }).request_id, /./);
    }
  });

  await t.test("raises BadRequestError for a missing model, in Anthropic's shape", async () => {
    const error = await errorOf(client.messages.create({ ...request, model: undefined as unknown as string }));
    assert.ok(error instanceof Anthropic.BadRequestError);
    assert.equal(shapeOf(error).error.type, "invalid_request_error");
  });

  await t.test("raises an error with status 413 for too large a body, in Anthropic's shape", async () => {
    const error = await errorOf(
      client.messages.create({ ...request, messages: [{ role: "user", content: "x".repeat(200_000) }] }),
    );
    assert.equal(error.status, 413);
    assert.equal(shapeOf(error).error.type, "request_too_large");
  });

  await t.test("raises RateLimitError where all engines are busy", async (st) => {
    fleet.fault(st, { fault: "error_status", status: 429 });
    assert.ok((await errorOf(client.messages.create(request))) instanceof Anthropic.RateLimitError);
  });

  await t.test("throws on a stream that the engine cuts", async (st) => {
    fleet.fault(st, { fault: "cut_mid_stream", after: 4 });
    const error = await errorOf(client.messages.stream(request).finalMessage());
    assert.equal(shapeOf(error).type, "error");
    assert.equal(shapeOf(error).error.type, "api_error");
  });

  await t.test("leaves nothing behind", () => fleet.router.idle());
});

test("an anthropic stream that is aborted frees the engine", async (t) => {
  const fleet = await startFleet(t, { engine: { preset: "llama-3.1-8b-1xh100" } });
  const client = new Anthropic({ baseURL: fleet.router.url, apiKey: "none", maxRetries: 0 });
  const stream = client.messages.stream({ ...request, max_tokens: 20_000 });
  stream.once("text", () => stream.abort());
  await assert.rejects(stream.done(), Anthropic.APIUserAbortError);
  await until(() => fleet.sum("aborted") === 1 && fleet.sum("running") === 0, "the engine has dropped it");
  await fleet.router.idle();
});
