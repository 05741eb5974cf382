// POST /v1/messages and /v1/messages/count_tokens: Anthropic's API on the same engine. A route: it translates the request
// into chat terms and the pieces into Anthropic's events, which have `event:` lines and no `[DONE]`.

import type { ChatMessage } from "../text/chat-template.ts";
import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import { chatPrompt, readMessage, toolText } from "./chat-request.ts";
import { engineDead, engineDeadMessage, unknownModel } from "./errors.ts";
import { encodePiece } from "./event-stream.ts";
import type { EventStream } from "./event-stream.ts";
import type { Exchange } from "./exchange.ts";
import { checkQueue, Generation, usageOf } from "./generation.ts";
import type { Choice, Finish, GenerationSink, Prompt } from "./generation.ts";
import { readSampling } from "./sampling.ts";
import { forcedTool, scriptedTool } from "./tools.ts";
import type { ForcedTool } from "./tools.ts";
import { FieldReader, isObject } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

export function messages(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader({ ...body, stop: body["stop_sequences"] ?? null });
  for (const field of ["model", "messages", "max_tokens"])
    if (body[field] === undefined) requireOn(reader, body, field);
  const conversation = readConversation(reader, body);
  const rules = { maxTokenFields: ["max_tokens"], defaultMaxTokens: null, maxModelLen: app.core.maxModelLen };
  const sampling = { ...readSampling(reader, rules, app), n: 1 };
  const offered = chatTools(body);
  const options = { addGenerationPrompt: true, continueFinalMessage: false };
  const rendered = chatPrompt(app, conversation, { ...options, ...toolText(offered) });
  const tool =
    forcedTool(offered, sampling.seed) ??
    (offered["tool_choice"] === "auto" ? scriptedTool(offered, app.options.script, rendered.text) : null);
  const prompt = tool === null ? rendered : { ...rendered, script: tool.arguments };
  checkQueue(app);
  const id = `chatcmpl-${exchange.header("x-request-id") ?? randomHex(16)}`;
  const sink = sampling.stream
    ? new StreamSink(exchange.openStream(), { id, model: sampling.model, tool }, prompt)
    : new BodySink(exchange, { id, model: sampling.model, tool });
  new Generation(app, [prompt], sampling, sink).start(exchange);
}

/** What both kinds of answer need to know. */
interface Head {
  readonly id: string;
  readonly model: string;
  /** The function that the answer calls; null for an answer in words. */
  readonly tool: ForcedTool | null;
}

/** Anthropic's tools and choice in the words of chat completions; unrecorded but for one failure of vLLM itself. */
function chatTools(body: JsonObject): JsonObject {
  const { tools, tool_choice: choice } = body;
  if (!Array.isArray(tools) || tools.length === 0) return {};
  const functions = tools.map((tool: unknown) => {
    const { name, description, input_schema: parameters } = isObject(tool) ? tool : {};
    return { type: "function", function: { name, description, parameters } };
  });
  const type = isObject(choice) ? choice["type"] : "auto";
  const name = isObject(choice) ? choice["name"] : undefined;
  const named = { type: "function", function: { name } };
  return { tools: functions, tool_choice: type === "tool" ? named : type === "any" ? "required" : (type ?? "auto") };
}

export function countTokens(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  for (const field of ["model", "messages"]) reader.require(field);
  const conversation = readConversation(reader, body);
  reader.check();
  const model = body["model"];
  if (typeof model === "string" && model !== "" && !app.serves(model)) {
    throw unknownModel(model, app.options.models);
  }
  const prompt = chatPrompt(app, conversation, { addGenerationPrompt: true, continueFinalMessage: false });
  const count = prompt.tokens.length;
  exchange.json(200, { input_tokens: count, context_management: { original_input_tokens: count } });
}

/** As {@link FieldReader.require}, counting the fields that the client sent and not the translated ones. */
function requireOn(reader: FieldReader, body: JsonObject, field: string): void {
  reader.issue(field, "missing", "Field required", body);
}

function readConversation(reader: FieldReader, body: JsonObject): ChatMessage[] {
  const conversation = reader.list("messages").map((message, at) => readMessage(reader, message, at));
  const { system } = body;
  const text =
    typeof system === "string"
      ? system
      : Array.isArray(system)
        ? system
            .map((block: unknown) => (isObject(block) && typeof block["text"] === "string" ? block["text"] : ""))
            .join("\n")
        : "";
  return text === "" ? conversation : [{ role: "system", content: text }, ...conversation];
}

interface StopFields {
  readonly stop_reason: string;
  readonly stop_sequence: string | null;
}

function stopFields(finish: Finish | null, tool: ForcedTool | null): StopFields {
  if (tool !== null && finish?.reason === "stop") return { stop_reason: "tool_use", stop_sequence: null };
  if (finish?.reason === "length") return { stop_reason: "max_tokens", stop_sequence: null };
  if (typeof finish?.stopReason === "string") return { stop_reason: "stop_sequence", stop_sequence: finish.stopReason };
  return { stop_reason: "end_turn", stop_sequence: null };
}

/** Input tokens leave out what came from the cache, as Anthropic counts. */
function usageBody(choices: readonly Choice[]): object {
  const usage = usageOf(choices);
  return {
    input_tokens: usage.promptTokens - usage.cachedTokens,
    output_tokens: usage.completionTokens,
    cache_creation_input_tokens: usage.createdTokens,
    cache_read_input_tokens: usage.cachedTokens,
  };
}

class BodySink implements GenerationSink {
  readonly #exchange: Exchange;
  readonly #head: Head;

  constructor(exchange: Exchange, head: Head) {
    this.#exchange = exchange;
    this.#head = head;
  }

  piece(): void {
    // Nothing is sent before the end.
  }

  done(choices: readonly Choice[], failed: boolean): void {
    if (failed) {
      this.#exchange.fail(engineDead());
      return;
    }
    const { id, model, tool } = this.#head;
    const stop = stopFields(choices[0]?.finish ?? null, tool);
    const text = choices[0]?.scanner.text ?? "";
    // Arguments that were cut are no call: the text is given as it is.
    const called = tool !== null && stop.stop_reason === "tool_use";
    this.#exchange.json(200, {
      id,
      type: "message",
      role: "assistant",
      content: [
        called
          ? { type: "tool_use", id: tool.id, name: tool.name, input: JSON.parse(text) as unknown }
          : { type: "text", text },
      ],
      model,
      stop_reason: stop.stop_reason,
      ...(stop.stop_sequence === null ? {} : { stop_sequence: stop.stop_sequence }),
      usage: usageBody(choices),
    });
  }
}

const deltaHead =
  'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":';
const deltaTail = '},"index":0}\n\n';

class StreamSink implements GenerationSink {
  readonly #stream: EventStream;
  readonly #head: Head;
  readonly #prompt: Prompt;
  #opened = false;

  constructor(stream: EventStream, head: Head, prompt: Prompt) {
    this.#stream = stream;
    this.#head = head;
    this.#prompt = prompt;
  }

  piece(_choice: Choice, text: string): void {
    this.#open();
    if (text === "") return;
    if (this.#head.tool !== null) {
      this.#event({ type: "content_block_delta", delta: { type: "input_json_delta", partial_json: text }, index: 0 });
      return;
    }
    const encoded = encodePiece(text);
    this.#stream.frame(deltaHead + encoded.json + deltaTail, deltaHead.length + encoded.bytes + deltaTail.length);
  }

  /** The opening events go with the first token. */
  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#event({
      type: "message_start",
      message: {
        id: this.#head.id,
        type: "message",
        role: "assistant",
        content: [],
        model: this.#head.model,
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: this.#prompt.tokens.length, output_tokens: 0 },
      },
    });
    const { tool } = this.#head;
    const block =
      tool === null ? { type: "text", text: "" } : { type: "tool_use", id: tool.id, name: tool.name, input: {} };
    this.#event({ type: "content_block_start", content_block: block, index: 0 });
  }

  done(choices: readonly Choice[], failed: boolean): void {
    if (failed) {
      this.#event({ type: "error", error: { type: "internal_error", message: engineDeadMessage } });
    } else {
      this.#event({ type: "content_block_stop", index: 0 });
      const delta = stopFields(choices[0]?.finish ?? null, this.#head.tool);
      this.#event({ type: "message_delta", delta, usage: usageBody(choices) });
      this.#event({ type: "message_stop" });
    }
    this.#stream.end(false);
  }

  #event(event: { readonly type: string } & Readonly<Record<string, unknown>>): void {
    this.#stream.event(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  }
}
