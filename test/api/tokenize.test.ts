// What a tokenizer is asked for: the parts of a request byte for byte, and nothing where only the engine knows.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { tokenizable, type ChatAsk, type TokenizeAsk } from "../../src/api/tokenize.ts";
import type { ApiName } from "../../src/api/table.ts";

const of = (api: ApiName, body: string): TokenizeAsk => tokenizable(api, Buffer.from(body)).ask;
function chatOf(api: ApiName, body: string): ChatAsk {
  const ask = of(api, body);
  assert.equal(ask.kind, "chat");
  return ask;
}
const texts = ({ messages }: ChatAsk): string[] => messages.map((message) => message.toString());

describe("a chat", () => {
  test("keeps the bytes of messages, tools and template arguments", () => {
    const body = `{"model":"m","messages":[ {"role":"user", "content":"a \\"]\\" \\u00e4"} ,{"role":"assistant","content":["x",{"n":1.0}]}],
      "tools":[{"n": 1.0, "big":12345678901234567890}],"chat_template_kwargs":{"a": 1.50}}`;
    const ask = chatOf("chat", body);
    assert.deepEqual(
      texts(ask).map((text) => text.trim()),
      [`{"role":"user", "content":"a \\"]\\" \\u00e4"}`, `{"role":"assistant","content":["x",{"n":1.0}]}`],
    );
    assert.equal(ask.tools?.toString(), `[{"n": 1.0, "big":12345678901234567890}]`);
    assert.equal(ask.templateArguments?.toString(), `{"a": 1.50}`);
    assert.deepEqual([ask.addGenerationPrompt, ask.continueFinalMessage, ask.addSpecialTokens], [true, false, null]);
  });

  test("hands the template what vLLM adds from other fields", () => {
    const message = `"messages":[{"role":"user","content":"x"}]`;
    const given = (more: string): unknown =>
      JSON.parse(chatOf("chat", `{${message},${more}}`).templateArguments?.toString() ?? "null");
    assert.deepEqual(given(`"reasoning_effort":"low"`), { reasoning_effort: "low", enable_thinking: true });
    assert.deepEqual(given(`"reasoning_effort":"none","chat_template_kwargs":{"a":1}`), {
      a: 1,
      reasoning_effort: "none",
      enable_thinking: false,
    });
    assert.deepEqual(given(`"reasoning_effort":"low","chat_template_kwargs":{"enable_thinking":false}`), {
      reasoning_effort: "low",
      enable_thinking: false,
    });
    assert.deepEqual(given(`"documents":[{"text":"d"}]`), { documents: [{ text: "d" }] });
    assert.equal(given(`"reasoning_effort":null`), null);
  });

  test("with media has no tokens that could be known; a text that speaks of media has", () => {
    const withPart = (part: string): string => `{"messages":[{"role":"user","content":[${part}]}]}`;
    for (const type of ["image_url", "input_audio", "video_url", "input_image"]) {
      assert.deepEqual(of("chat", withPart(`{"type":"${type}"}`)), { kind: "none", reason: "images" });
    }
    const text = JSON.stringify('the "type" of it is "image_url"');
    assert.equal(of("chat", withPart(`{"type":"text","text":${text}}`)).kind, "chat");
  });

  test("that is none is the engine's to refuse", () => {
    for (const messages of ["[]", "null", "4", `"x"`, "{}"]) {
      assert.deepEqual(of("chat", `{"messages":${messages}}`), { kind: "none", reason: "other_shape" });
    }
    assert.deepEqual(of("chat", "{}"), { kind: "none", reason: "other_shape" });
    assert.deepEqual(of("embeddings", `{"input":"x"}`), { kind: "none", reason: "other_shape" });
  });

  test("says which salt keeps it apart", () => {
    const salt = (body: string): string | null => tokenizable("chat", Buffer.from(body)).cacheSalt;
    assert.equal(salt(`{"cache_salt":"p\\u00e4"}`), "pä");
    assert.equal(salt(`{"cache_salt":""}`), null);
    assert.equal(salt("{}"), null);
  });
});

describe("a completion", () => {
  test("of text, of ids, of a list with one of them", () => {
    const prompt = (text: string): TokenizeAsk => of("completions", `{"prompt":${text}}`);
    assert.deepEqual(prompt(`"a\\u00e4"`), { kind: "text", prompt: Buffer.from(`"a\\u00e4"`), addSpecialTokens: null });
    assert.deepEqual(prompt("[1, 2,3]"), { kind: "ids", ids: Uint32Array.of(1, 2, 3) });
    assert.deepEqual(prompt("[[1,2]]"), { kind: "ids", ids: Uint32Array.of(1, 2) });
    assert.deepEqual(prompt(`["a"]`), { kind: "text", prompt: Buffer.from(`"a"`), addSpecialTokens: null });
    assert.deepEqual(prompt(`["a","b"]`), { kind: "none", reason: "several_prompts" });
    assert.deepEqual(prompt("[[1],[2]]"), { kind: "none", reason: "several_prompts" });
    for (const other of ["[]", "null", "5", "[-1]", "[1.5]", `[[1,"a"]]`, "[{}]"]) {
      assert.deepEqual(prompt(other), { kind: "none", reason: "other_shape" }, other);
    }
  });

  test("that the engine cuts, or that is no text, is not known", () => {
    assert.equal(of("completions", `{"prompt":"a","truncate_prompt_tokens":5}`).kind, "none");
    assert.equal(of("completions", `{"prompt":"a","prompt_embeds":"x"}`).kind, "none");
  });
});

describe("the other APIs", () => {
  test("become the chat that vLLM makes of them, where they are plain text", () => {
    const messages = chatOf(
      "messages",
      `{"system":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"y"}]}]}`,
    );
    assert.deepEqual(texts(messages), [
      `{"role":"system","content":"ab"}`,
      `{"role":"user","content":"x"}`,
      `{"role":"assistant","content":"y"}`,
    ]);
    assert.deepEqual(texts(chatOf("responses", `{"instructions":"i","input":"x"}`)), [
      `{"role":"system","content":"i"}`,
      `{"role":"user","content":"x"}`,
    ]);
  });

  test("and nothing where they are more", () => {
    const none = (api: ApiName, body: string): unknown => {
      const ask = of(api, body);
      return ask.kind === "none" ? ask.reason : ask.kind;
    };
    assert.equal(none("messages", `{"messages":[{"role":"user","content":"x"}],"tools":[{}]}`), "other_shape");
    assert.equal(none("messages", `{"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}`), "other_shape");
    assert.equal(none("messages", `{"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]}`), "images");
    assert.equal(none("responses", `{"input":[{"type":"reasoning"}]}`), "other_shape");
    assert.equal(none("responses", `{"input":null}`), "other_shape");
  });
});
