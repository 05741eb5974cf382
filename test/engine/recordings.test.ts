// The simulator against recordings of a real server: same request bytes, then status, headers (names, order, case),
// framing, key order and types. What the text says is not compared; error bodies are, letter by letter.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import type { RunningEngine } from "../../src/engine/serve.ts";
import { events, json, recordedRequest, recordedResponse, send, shape } from "./support.ts";
import type { RawResponse } from "./support.ts";

const model = { models: ["tiny", "tiny-alias"], preset: "fast", maxModelLen: 4096, blockSize: 32 } as const;

let engine: RunningEngine;
let withoutIds: RunningEngine;

before(async () => {
  engine = await startEngine({ ...model, enableRequestIdHeaders: true });
  withoutIds = await startEngine(model);
});

after(async () => {
  await engine.close();
  await withoutIds.close();
});

/** Sends a recorded request to an engine with the flags of the recorded one. */
async function replay(name: string, recorded: RawResponse): Promise<RawResponse> {
  const hasIds = recorded.headers.some(([header]) => header === "x-request-id");
  return (await send(hasIds ? engine : withoutIds, recordedRequest(name))).response;
}

const headerNames = (response: RawResponse): string => response.headers.map(([name]) => name).join(" ");

/** Values that do not depend on the moment or on the text. */
function fixedHeaders(response: RawResponse): readonly (readonly [string, string])[] {
  const moving = new Set(["date", "content-length", "x-request-id"]);
  return response.headers.filter(([name]) => !moving.has(name));
}

function assertHead(actual: RawResponse, recorded: RawResponse): void {
  assert.equal(actual.statusLine, recorded.statusLine);
  assert.equal(headerNames(actual), headerNames(recorded));
  assert.deepEqual(fixedHeaders(actual), fixedHeaders(recorded));
}

/** Distinct shapes of the events, in order of first appearance, and how often each came. */
function eventShapes(response: RawResponse): Map<string, number> {
  const shapes = new Map<string, number>();
  events(response).forEach((event, at) => {
    const name = /^event: ([^\n]+)/.exec(response.chunks[at] ?? "")?.[1] ?? "";
    const key = event === "[DONE]" ? event : `${name} ${shape(JSON.parse(event))}`;
    shapes.set(key, (shapes.get(key) ?? 0) + 1);
  });
  return shapes;
}

describe("bodies have the recorded keys, in the recorded order, with the recorded types", () => {
  const names = [
    "completions/basic",
    "completions/token_ids_prompt",
    "completions/logprobs",
    "chat/basic",
    "chat/n2",
    "chat/logprobs",
    "chat/max_completion_tokens",
    "chat/return_token_ids",
    "real_model/tools_named",
    "real_model/tools_required",
    "messages/basic",
    "messages/count_tokens",
    "responses/basic",
    "get/v1_models",
    "get/tokenize_chat",
    "get/version",
    "get/load",
  ];
  for (const name of names) {
    it(name, async () => {
      const recorded = recordedResponse(name);
      const response = await replay(name, recorded);
      assertHead(response, recorded);
      const text = (value: unknown): string => shape(value).replace(/top_logprobs:\[\{[^\]]*\]/g, "top_logprobs:[]");
      assert.equal(text(json(response)), text(json(recorded)));
    });
  }
});

describe("streams have the recorded events, each in a chunk of its own", () => {
  const names = [
    "completions/stream",
    "completions/stream_usage",
    "completions/stream_usage_continuous",
    "completions/n2_stream",
    "completions/echo_stream",
    "completions/batch_prompts_stream",
    "completions/return_token_ids_stream",
    "chat/stream",
    "chat/stream_usage",
    "chat/stream_usage_continuous",
    "chat/n2_stream",
    "messages/stream",
  ];
  for (const name of names) {
    it(name, async () => {
      const recorded = recordedResponse(name);
      const response = await replay(name, recorded);
      assertHead(response, recorded);
      assert.ok(response.complete);
      assert.deepEqual([...eventShapes(response)], [...eventShapes(recorded)]);
    });
  }

  for (const name of ["responses/stream", "real_model/tools_named_stream", "real_model/tools_required_stream"]) {
    it(`${name}, of another length`, async () => {
      const recorded = recordedResponse(name);
      const response = await replay(name, recorded);
      assertHead(response, recorded);
      assert.deepEqual([...eventShapes(response).keys()], [...eventShapes(recorded).keys()]);
    });
  }
});

describe("refusals are the recorded ones, letter by letter", () => {
  const names = [
    "errors/chat_DELETE",
    "errors/chat_OPTIONS_cors",
    "errors/chat_bad_logit_bias",
    "errors/chat_ctype_text",
    "errors/chat_empty_body",
    "errors/chat_invalid_json",
    "errors/chat_invalid_utf8",
    "errors/chat_json_NaN",
    "errors/chat_json_array",
    "errors/chat_json_trailing_garbage",
    "errors/chat_max_tokens_float",
    "errors/chat_max_tokens_negative",
    "errors/chat_max_tokens_string",
    "errors/chat_max_tokens_too_large",
    "errors/chat_messages_empty",
    "errors/chat_messages_string",
    "errors/chat_min_gt_max",
    "errors/chat_missing_input",
    "errors/chat_model_number",
    "errors/chat_n_huge",
    "errors/chat_n_zero",
    "errors/chat_seed_huge",
    "errors/chat_stop_number",
    "errors/chat_stream_options_without_stream",
    "errors/chat_stream_string_bad",
    "errors/chat_temperature_nan_huge",
    "errors/chat_temperature_negative",
    "errors/chat_temperature_string",
    "errors/chat_tool_choice_without_tools",
    "errors/chat_top_p_zero",
    "errors/chat_unknown_model_stream",
    "errors/completions_echo_stream_false_suffix",
    "errors/completions_logprobs_too_many",
    "errors/completions_prompt_bad_token_id",
    "errors/completions_prompt_empty_list",
    "errors/completions_prompt_empty_string",
    "errors/completions_prompt_number",
    "errors/completions_trailing_slash",
    "errors/models_POST",
    "errors/unknown_route",
    "http_protocol/bad_request_line",
    "http_protocol/lf_only_line_endings",
    "http_protocol/two_content_lengths",
    "messages/bad_json",
    "messages/missing_max_tokens",
    "messages/unknown_model",
    "responses/get_unknown",
    "responses/previous_unknown",
    "responses/unknown_model",
  ];
  for (const name of names) {
    it(name, async () => {
      const recorded = recordedResponse(name);
      const response = await replay(name, recorded);
      assertHead(response, recorded);
      assert.equal(response.chunks.join(""), recorded.chunks.join(""));
    });
  }
});

it("health is 200 without a body or a content type", async () => {
  const { response } = await send(engine, recordedRequest("get/health"));
  assertHead(response, recordedResponse("get/health"));
  assert.equal(response.raw.length, 0);
});

it("a full queue is refused with the recorded 503 on every API", async () => {
  const limited = await startEngine({ ...model, maxNumQueuedReqs: 0 });
  try {
    for (const name of ["queue_limit/rejected_completion", "queue_limit/rejected_messages"]) {
      const { response } = await send(limited, recordedRequest(name));
      assertHead(response, recordedResponse(name));
      assert.equal(response.chunks.join(""), recordedResponse(name).chunks.join(""));
    }
    assert.equal(limited.state().rejected, 2);
  } finally {
    await limited.close();
  }
});

it("a wrong key is refused with a string as error and no vary", async () => {
  const keyed = await startEngine({ ...model, apiKeys: ["key-one"] });
  try {
    for (const name of ["api_key/completions_wrong", "api_key/no_key_GET_v1_nope"]) {
      const { response } = await send(keyed, recordedRequest(name));
      assertHead(response, recordedResponse(name));
      assert.equal(response.chunks.join(""), recordedResponse(name).chunks.join(""));
    }
    const open = await send(keyed, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    assert.equal(open.response.statusLine, "HTTP/1.1 200 OK");
  } finally {
    await keyed.close();
  }
});
