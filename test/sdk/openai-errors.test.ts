// The router's errors as the official `openai` package shows them: its class, its fields, and whether it tries again.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import OpenAI from "openai";
import { until } from "../helpers/until.ts";
import { chunk as httpChunk, lastChunk, startRawEngine, streamHead } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { countingFetch, model, startFleet } from "./fleet.ts";

const messages = [{ role: "user" as const, content: "Say hello please" }];
const request = { model, messages, max_completion_tokens: 8 };

function clientOf(url: string, options: { maxRetries?: number; apiKey?: string; fetch?: typeof fetch } = {}): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, ...options });
}

/** What a call was rejected with. */
async function errorOf(call: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await call.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof OpenAI.APIError, String(error));
  return error;
}

test("the openai package raises, for an error of the router's,", async (t) => {
  const fleet = await startFleet(t, { argv: ["--max-body-bytes", "100000"], random: () => 0 });
  const { url } = fleet.router;
  const client = clientOf(url);

  await t.test("BadRequestError where a field is missing, naming it", async () => {
    const error = await errorOf(client.chat.completions.create({ ...request, model: undefined as unknown as string }));
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.code, "missing_model");
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.message, /model/);
  });

  await t.test("BadRequestError in the engine's own words where the engine refuses", async () => {
    const error = await errorOf(client.chat.completions.create({ ...request, temperature: -1 }));
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    assert.equal(error.type, "BadRequestError");
  });

  await t.test("NotFoundError for an unknown model, listing the known ones", async () => {
    const error = await errorOf(client.chat.completions.create({ ...request, model: "nope" }));
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    assert.equal(error.param, "model");
    assert.ok(error.message.includes(model));
    assert.ok((error.requestID ?? "").length > 0);
    const retrieval = await errorOf(client.models.retrieve("no/such"));
    assert.ok(retrieval instanceof OpenAI.NotFoundError);
    assert.equal(retrieval.code, "model_not_found");
    const response = await errorOf(client.responses.retrieve("resp_0000"));
    assert.ok(response instanceof OpenAI.NotFoundError);
    assert.equal(response.code, "response_not_found");
  });

  await t.test(
    "a readable error with status 413 where the body is too large, with an upload still under way",
    async () => {
      for (const bytes of [100_001, 3_000_000]) {
        const content = "x".repeat(bytes);
        const error = await errorOf(
          client.chat.completions.create({ ...request, messages: [{ role: "user", content }] }),
        );
        assert.equal(error.status, 413);
        assert.equal(error.code, "body_too_large");
        assert.match(error.message, /100000/);
      }
    },
  );

  await t.test("RateLimitError where all engines are busy, with the delay until the next try", async (st) => {
    fleet.fault(st, { fault: "error_status", status: 429 });
    const error = await errorOf(client.chat.completions.create(request));
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.headers?.get("retry-after"), "1");
    assert.equal(error.headers.get("retry-after-ms"), "1000");
    assert.equal(error.headers.get("x-should-retry"), "true");
  });

  await t.test("nothing where an engine is free again when `retry-after-ms` is over", async (st) => {
    fleet.fault(st, { fault: "error_status", status: 429 });
    const counted = countingFetch();
    const answer = clientOf(url, { maxRetries: 1, fetch: counted.fetch }).chat.completions.create(request);
    await until(() => counted.answers === 1, "the first try is over");
    for (const engine of fleet.engines) engine.clearFaults();
    assert.equal((await answer).choices[0]?.finish_reason, "length");
    assert.equal(counted.calledAtMs.length, 2);
    const [first = 0, second = 0] = counted.calledAtMs;
    // by itself the package would have waited for half a second at most
    assert.ok(second - first >= 990, `tried again after ${second - first} ms`);
  });

  await t.test("InternalServerError where engines fail, and `x-should-retry: false` stops the package", async (st) => {
    fleet.fault(st, { fault: "error_status", status: 502 });
    const counted = countingFetch();
    const error = await errorOf(
      clientOf(url, { maxRetries: 5, fetch: counted.fetch }).chat.completions.create(request),
    );
    assert.ok(error instanceof OpenAI.InternalServerError);
    assert.equal(error.status, 502);
    assert.equal(error.headers?.get("x-should-retry"), "false");
    assert.equal(counted.calledAtMs.length, 1, "the router had tried elsewhere, the client must not multiply that");
  });
});

test("the openai package raises InternalServerError with status 503 where no engine is ready", async (t) => {
  const closed = await startRawEngine(t);
  closed.kill();
  const argv = ["--static-backends", closed.url, "--static-models", model];
  const router = await startTestRouter(t, argv, { early: true });
  const error = await errorOf(clientOf(router.url).chat.completions.create(request));
  assert.ok(error instanceof OpenAI.InternalServerError);
  assert.equal(error.status, 503);
  assert.equal(error.code, "no_endpoint");
  assert.match(error.message, /No endpoint of the model `facebook\/opt-125m` is ready/);
  assert.ok(Number(error.headers?.get("retry-after-ms")) >= 1000);
});

test("the openai package raises AuthenticationError for a wrong key, and none for a right one", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "lmstack-keys-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "keys"), "sk-right\n");
  const { router } = await startFleet(t, { argv: ["--api-key-file", join(folder, "keys")] });
  const error = await errorOf(clientOf(router.url, { apiKey: "sk-wrong" }).chat.completions.create(request));
  assert.ok(error instanceof OpenAI.AuthenticationError);
  assert.equal(error.code, "invalid_api_key");
  assert.doesNotMatch(error.message, /sk-/);
  assert.ok((await errorOf(clientOf(router.url).models.list())) instanceof OpenAI.AuthenticationError);
  const answer = await clientOf(router.url, { apiKey: "sk-right" }).chat.completions.create(request);
  assert.equal(answer.choices[0]?.finish_reason, "length");
});

for (const variant of ["clean", "reset", "half_frame", "half_chunk"] as const) {
  test(`C1: a chat stream that the engine cuts (${variant}) throws instead of ending quietly`, async (t) => {
    const fleet = await startFleet(t, { argv: ["--no-migrate-streams"] });
    fleet.fault(t, { fault: "cut_mid_stream", variant, after: 3 });
    const stream = await clientOf(fleet.router.url).chat.completions.create({ ...request, stream: true });
    let chunks = 0;
    const error = await errorOf(
      (async () => {
        for await (const chunk of stream) chunks += chunk.choices.length;
      })(),
    );
    assert.equal(chunks, 3);
    assert.equal(error.code, "stream_interrupted");
    assert.equal(error.type, "api_error");
    await fleet.router.idle();
  });
}

for (const variant of ["clean", "reset", "half_frame", "half_chunk"] as const) {
  test(`C2: a chat and a completion whose engines are cut (${variant}) again and again are whole answers`, async (t) => {
    const fleet = await startFleet(t);
    const client = clientOf(fleet.router.url);
    const asked = { model, max_tokens: 12, stream: true, stream_options: { include_usage: true } } as const;
    const read = async (): Promise<unknown[]> => {
      const told: unknown[] = [];
      for await (const chunk of await client.chat.completions.create({ ...asked, messages }))
        told.push(chunk.choices[0]?.delta.content, chunk.choices[0]?.finish_reason, chunk.usage?.completion_tokens);
      for await (const chunk of await client.completions.create({ ...asked, prompt: "Say" }))
        told.push(chunk.choices[0]?.text, chunk.choices[0]?.finish_reason, chunk.usage?.completion_tokens);
      return told.filter((entry) => entry !== undefined && entry !== null && entry !== "");
    };
    const unbroken = await read();
    fleet.fault(t, { fault: "cut_mid_stream", variant, after: 3 });
    assert.deepEqual(await read(), unbroken);
    await fleet.router.idle();
    assert.ok(fleet.router.metric('lmstack_migrations_total{cause="reset",result="continued"}') > 4);
  });
}

// The event had no `error` in it: the package passed it on, and whoever read on to the end took half an answer for a whole one.
for (const variant of ["clean", "reset", "half_frame", "half_chunk"] as const) {
  test(`C1: a response stream that the engine cuts (${variant}) throws instead of ending quietly`, async (t) => {
    const fleet = await startFleet(t);
    fleet.fault(t, { fault: "cut_mid_stream", variant, after: 6 });
    const client = clientOf(fleet.router.url);
    const input = { model, input: "Hi", max_output_tokens: 20 };
    const kinds: string[] = [];
    const error = await errorOf(
      (async () => {
        for await (const event of await client.responses.create({ ...input, stream: true })) kinds.push(event.type);
      })(),
    );
    assert.equal(error.code, "stream_interrupted");
    assert.ok(kinds.includes("response.created") && !kinds.includes("response.completed"), kinds.join(" "));
    const helper = await errorOf(client.responses.stream(input).finalResponse());
    assert.equal(helper.code, "stream_interrupted");
    await fleet.router.idle();
  });
}

// The documented event has no `error` in it, for which the package throws: an engine's own words passed for a good end.
const engineErrors = {
  "as documented": 'event: error\ndata: {"type":"error","code":"server_error","message":"It broke.","param":null}\n\n',
  "with its number":
    'event: error\ndata: {"code":"server_error","message":"It broke.","param":null,"sequence_number":9,"type":"error"}\n\n',
  "as in other APIs":
    'data: {"error": {"message": "It broke.", "type": "InternalServerError", "param": null, "code": 500}}\n\n',
  "that nobody can read": "event: error\ndata: oh\n\n",
};

for (const [how, said] of Object.entries(engineErrors)) {
  test(`C3: an engine's own error in a response stream (${how}) throws`, async (t) => {
    const engine = await startRawEngine(t, { models: [model] });
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const created = { response: { id: "resp_1", output: [] }, sequence_number: 5, type: "response.created" };
    const begun = `event: response.created\ndata: ${JSON.stringify(created)}\n\n`;
    engine.handler = ({ connection }) => {
      for (const bytes of [streamHead(), httpChunk(begun), httpChunk(said), lastChunk]) connection.write(bytes);
    };
    const client = clientOf(router.url);
    const input = { model, input: "Hi" };
    const error = await errorOf(
      (async () => {
        for await (const event of await client.responses.create({ ...input, stream: true }))
          assert.equal(event.type, "response.created");
      })(),
    );
    assert.match(error.message, how === "that nobody can read" ? /failed in mid-stream/ : /It broke\./);
    await errorOf(client.responses.stream(input).finalResponse());
    const raw = await fetch(`${router.url}/v1/responses`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...input, stream: true }),
    });
    const last = (await raw.text()).trimEnd().split("\n\n").at(-1) ?? "";
    assert.match(last, /^event: error\ndata: \{"type":"error",/);
    const number = (JSON.parse(last.slice(last.indexOf("{"))) as { sequence_number: unknown }).sequence_number;
    assert.equal(number, how === "with its number" ? 9 : 6);
    assert.equal(router.metric(`lmstack_requests_total{model="${model}",api="responses",outcome="ok"}`), 0);
  });
}
