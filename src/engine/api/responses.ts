// POST /v1/responses and what hangs on it: stored responses, cancel. A route over the same generation as chat; its events
// carry sequence numbers, have `event:` lines and no `[DONE]`. State lives in the app and is bounded.

import type { ChatMessage } from "../text/chat-template.ts";
import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import { chatPrompt } from "./chat-request.ts";
import { ApiError, badRequest, engineDead } from "./errors.ts";
import type { EventStream } from "./event-stream.ts";
import type { Exchange } from "./exchange.ts";
import { checkQueue, Generation, usageOf } from "./generation.ts";
import type { Choice, GenerationSink } from "./generation.ts";
import { readSampling } from "./sampling.ts";
import { FieldReader, isObject } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

const storedLimit = 1000;

/** A finished response and the conversation that led to it, for `previous_response_id`. */
export interface StoredResponse {
  readonly body: string;
  readonly conversation: readonly ChatMessage[];
}

export function createResponse(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("input");
  const previous = reader.string("previous_response_id");
  const store = reader.bool("store", true);
  const rules = { maxTokenFields: ["max_output_tokens"], defaultMaxTokens: null, maxModelLen: app.core.maxModelLen };
  const sampling = { ...readSampling(reader, rules, app), n: 1 };
  const earlier = previous === null ? [] : stored(app, previous).conversation;
  const conversation = [...earlier, ...readInput(body)];
  const prompt = chatPrompt(app, conversation, { addGenerationPrompt: true, continueFinalMessage: false });
  checkQueue(app);
  const shape = new ResponseShape(
    app,
    body,
    sampling.model,
    sampling.maxTokens ?? app.core.maxModelLen - prompt.tokens.length,
  );
  const keep = (text: string, content: string): void => {
    if (store) remember(app, shape.id, { body: text, conversation: [...conversation, { role: "assistant", content }] });
  };
  const sink = sampling.stream
    ? new StreamSink(exchange.openStream(), shape, keep)
    : new BodySink(exchange, shape, keep);
  new Generation(app, [prompt], sampling, sink).start(exchange);
}

export function getResponse(app: EngineApp, exchange: Exchange, _body: JsonObject, id: string): void {
  exchange.send(200, "application/json", stored(app, id).body);
}

export function cancelResponse(app: EngineApp, _exchange: Exchange, _body: JsonObject, id: string): void {
  stored(app, id);
  throw new ApiError(400, "invalid_request_error", "Cannot cancel a synchronous response.", "response_id");
}

function stored(app: EngineApp, id: string): StoredResponse {
  const found = app.responses.get(id);
  if (found !== undefined) return found;
  throw new ApiError(404, "invalid_request_error", `Response with id '${id}' not found.`, "response_id");
}

function remember(app: EngineApp, id: string, response: StoredResponse): void {
  app.responses.set(id, response);
  const oldest = app.responses.keys().next().value;
  if (app.responses.size > storedLimit && oldest !== undefined) app.responses.delete(oldest);
}

function readInput(body: JsonObject): ChatMessage[] {
  const { input, instructions } = body;
  const first: ChatMessage[] = typeof instructions === "string" ? [{ role: "system", content: instructions }] : [];
  if (typeof input === "string") return [...first, { role: "user", content: input }];
  if (!Array.isArray(input)) throw badRequest("input must be a string or a list of items", "input");
  for (const item of input as readonly unknown[]) {
    if (!isObject(item)) continue;
    const role = typeof item["role"] === "string" ? item["role"] : "user";
    first.push({ role, content: itemText(item) });
  }
  return first;
}

function itemText(item: JsonObject): string {
  const { content } = item;
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return JSON.stringify(item);
  return content
    .map((part: unknown) => (isObject(part) && typeof part["text"] === "string" ? part["text"] : ""))
    .join("\n");
}

/** Words the response object in its states. */
class ResponseShape {
  readonly id = `resp_${randomHex(16)}`;
  readonly messageId = `msg_${randomHex(16)}`;
  readonly #created: number;
  readonly #body: JsonObject;
  readonly #model: string;
  readonly #maxTokens: number;

  constructor(app: EngineApp, body: JsonObject, model: string, maxTokens: number) {
    this.#created = app.createdSeconds();
    this.#body = body;
    this.#model = model;
    this.#maxTokens = maxTokens;
  }

  /** The message item, once it is complete. */
  message(text: string): object {
    const content = [{ annotations: [], text, type: "output_text", logprobs: null }];
    return { id: this.messageId, content, role: "assistant", status: "completed", type: "message", phase: null };
  }

  /** The object as JSON; without choices it is in progress. */
  json(choices: readonly Choice[] | null): string {
    const given = this.#body;
    const choice = choices?.[0];
    const cut = choice?.finish?.reason === "length";
    const usage = choices === null ? null : usageOf(choices);
    const value = {
      id: this.id,
      created_at: this.#created,
      incomplete_details: cut ? { reason: "max_output_tokens" } : null,
      instructions: given["instructions"] ?? null,
      metadata: given["metadata"] ?? null,
      model: this.#model,
      object: "response",
      output: choice === undefined ? [] : [this.message(choice.scanner.text)],
      parallel_tool_calls: true,
      temperature: given["temperature"] ?? 1,
      tool_choice: given["tool_choice"] ?? "none",
      tools: given["tools"] ?? [],
      top_p: given["top_p"] ?? 1,
      background: false,
      max_output_tokens: this.#maxTokens,
      max_tool_calls: null,
      previous_response_id: given["previous_response_id"] ?? null,
      prompt: null,
      reasoning: null,
      service_tier: "auto",
      status: choice === undefined ? "in_progress" : cut ? "incomplete" : "completed",
      text: null,
      top_logprobs: null,
      truncation: "disabled",
      usage: usage === null ? null : usageBody(usage),
      user: given["user"] ?? null,
      presence_penalty: 0,
      frequency_penalty: 0,
      kv_transfer_params: null,
      ec_transfer_params: null,
      input_messages: null,
      output_messages: null,
    };
    // Python writes these floats with a point even when they are whole.
    return JSON.stringify(value).replace(
      /"(temperature|top_p|presence_penalty|frequency_penalty)":(\d+)(?=[,}])/g,
      '"$1":$2.0',
    );
  }
}

function usageBody(usage: ReturnType<typeof usageOf>): object {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: {
      cached_tokens: usage.cachedTokens,
      cache_write_tokens: usage.createdTokens,
      input_tokens_per_turn: [],
      cached_tokens_per_turn: [],
    },
    output_tokens: usage.completionTokens,
    output_tokens_details: {
      reasoning_tokens: 0,
      tool_output_tokens: 0,
      output_tokens_per_turn: [],
      tool_output_tokens_per_turn: [],
    },
    total_tokens: usage.promptTokens + usage.completionTokens,
  };
}

type Keep = (body: string, content: string) => void;

class BodySink implements GenerationSink {
  readonly #exchange: Exchange;
  readonly #shape: ResponseShape;
  readonly #keep: Keep;

  constructor(exchange: Exchange, shape: ResponseShape, keep: Keep) {
    this.#exchange = exchange;
    this.#shape = shape;
    this.#keep = keep;
  }

  piece(): void {
    // Nothing is sent before the end.
  }

  done(choices: readonly Choice[], failed: boolean): void {
    if (failed) {
      this.#exchange.fail(engineDead());
      return;
    }
    const body = this.#shape.json(choices);
    this.#keep(body, choices[0]?.scanner.text ?? "");
    this.#exchange.send(200, "application/json", body);
  }
}

class StreamSink implements GenerationSink {
  readonly #stream: EventStream;
  readonly #shape: ResponseShape;
  readonly #keep: Keep;
  #number = 0;

  constructor(stream: EventStream, shape: ResponseShape, keep: Keep) {
    this.#stream = stream;
    this.#shape = shape;
    this.#keep = keep;
    const opening = shape.json(null);
    this.#whole("response.created", opening);
    this.#whole("response.in_progress", opening);
  }

  piece(choice: Choice, text: string): void {
    const item = this.#shape.messageId;
    if (choice.tokenIds.length <= 1 && this.#number === 2) {
      const added = { id: item, content: [], role: "assistant", status: "in_progress", type: "message", phase: null };
      this.#event("response.output_item.added", `{"item":${JSON.stringify(added)},"output_index":0`);
      this.#event(
        "response.content_part.added",
        `{"content_index":0,"item_id":"${item}","output_index":0,` +
          '"part":{"annotations":[],"text":"","type":"output_text","logprobs":[]}',
      );
    }
    if (text === "") return;
    const delta = JSON.stringify(text);
    this.#event(
      "response.output_text.delta",
      `{"content_index":0,"delta":${delta},"item_id":"${item}","logprobs":[],"output_index":0`,
    );
  }

  done(choices: readonly Choice[], failed: boolean): void {
    if (failed) {
      // there is no error among the events that vLLM has for this API
      this.#stream.cut();
      return;
    }
    const item = this.#shape.messageId;
    const text = choices[0]?.scanner.text ?? "";
    const place = `{"content_index":0,"item_id":"${item}","output_index":0`;
    this.#number++;
    this.#stream.event(
      `event: response.output_text.done\ndata: ${place.replace('"output_index":0', '"logprobs":[],"output_index":0')},` +
        `"sequence_number":${this.#number - 1},"text":${JSON.stringify(text)},"type":"response.output_text.done"}\n\n`,
    );
    const part = JSON.stringify({ annotations: [], text, type: "output_text", logprobs: null });
    this.#event("response.content_part.done", `${place},"part":${part}`);
    this.#event("response.output_item.done", `{"item":${JSON.stringify(this.#shape.message(text))},"output_index":0`);
    const body = this.#shape.json(choices);
    this.#keep(body, text);
    this.#whole("response.completed", body);
    this.#stream.end(false);
  }

  #whole(type: string, response: string): void {
    this.#event(type, `{"response":${response}`);
  }

  /** Keys are in alphabetical order, so the number and the type come last in nearly every event. */
  #event(type: string, open: string): void {
    this.#stream.event(`event: ${type}\ndata: ${open},"sequence_number":${this.#number},"type":"${type}"}\n\n`);
    this.#number++;
  }
}
