// Token in, token out: /inference/v1/generate and the render routes that make its requests. Only with `enableScaleOut`.
// Routes over the same generation as completions; they must never tokenize what is tokens already.

import type { EngineApp } from "./app.ts";
import { randomHex } from "./app.ts";
import { readChatRequest } from "./chat-request.ts";
import { readCompletionRequest } from "./completions.ts";
import { badRequest, engineDead, engineDeadMessage, errorEvent } from "./errors.ts";
import type { EventStream } from "./event-stream.ts";
import type { Exchange } from "./exchange.ts";
import { checkPrompts, checkQueue, Generation, usageOf } from "./generation.ts";
import type { Choice, Finish, GenerationSink } from "./generation.ts";
import { readSampling } from "./sampling.ts";
import { FieldReader } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

export function generate(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const outer = new FieldReader(body);
  outer.require("token_ids");
  outer.require("sampling_params");
  const tokens = outer.list("token_ids").map(Number);
  const params = outer.object("sampling_params") ?? {};
  outer.check();
  if (tokens.length === 0) throw badRequest("token_ids must not be empty");
  const { model, stream, stream_options, priority, cache_salt, request_id } = body;
  const reader = new FieldReader({ ...params, model, stream, stream_options, priority, cache_salt, request_id });
  const rules = { maxTokenFields: ["max_tokens"], defaultMaxTokens: 16, maxModelLen: app.core.maxModelLen };
  const sampling = readSampling(reader, rules, app);
  const prompt = { tokens, text: tokens.join(" ") };
  checkPrompts(app, [prompt]);
  checkQueue(app);
  const id = `generate-tokens-${exchange.header("x-request-id") ?? sampling.requestId ?? randomHex(16)}`;
  const created = app.createdSeconds();
  const sink = sampling.stream
    ? new StreamSink(exchange.openStream(), id)
    : new BodySink(exchange, { id, created, model: sampling.model });
  new Generation(app, [prompt], sampling, sink, id).start(exchange);
}

function choiceBody(choice: Choice, tokens: readonly number[], finish: Finish | null): object {
  return {
    index: choice.index,
    finish_reason: finish?.reason ?? null,
    stop_reason: finish?.stopReason ?? null,
    token_ids: tokens,
    routed_experts: null,
    sampling_mask: null,
    weight_versions: finish === null ? null : [{ version: "default", start: 0, end: choice.tokenIds.length }],
    logprobs: null,
  };
}

class BodySink implements GenerationSink {
  readonly #exchange: Exchange;
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };

  constructor(exchange: Exchange, head: { readonly id: string; readonly created: number; readonly model: string }) {
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
    const usage = usageOf(choices);
    this.#exchange.json(200, {
      request_id: this.#head.id,
      model: this.#head.model,
      created: this.#head.created,
      usage: {
        prompt_tokens: usage.promptTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
        completion_tokens: usage.completionTokens,
        prompt_tokens_details: null,
        completion_tokens_details: null,
      },
      prompt_logprobs: null,
      prompt_token_id_logprobs: null,
      prompt_token_ids: null,
      mm_placeholders: null,
      metrics: null,
      kv_transfer_params: null,
      ec_transfer_params: null,
      output_mode: "tokens",
      choices: choices.map((choice) => choiceBody(choice, choice.tokenIds, choice.finish)),
    });
  }
}

class StreamSink implements GenerationSink {
  readonly #stream: EventStream;
  readonly #head: string;

  constructor(stream: EventStream, id: string) {
    this.#stream = stream;
    this.#head = `data: {"request_id":${JSON.stringify(id)},"usage":null,"output_mode":"tokens","choices":[`;
  }

  piece(choice: Choice, _text: string, token: number | null, finish: Finish | null): void {
    const body = JSON.stringify(choiceBody(choice, token === null ? [] : [token], finish));
    this.#stream.event(`${this.#head}${body}]}\n\n`);
  }

  done(_choices: readonly Choice[], failed: boolean): void {
    if (failed) this.#stream.event(errorEvent(engineDeadMessage));
    this.#stream.end(true);
  }
}

export function renderChatRequest(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const request = readChatRequest(app, exchange, body);
  send(exchange, rendered(request.id, request.prompt.tokens, body, request.sampling));
}

export function renderCompletionRequest(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const { prompts, sampling, id } = readCompletionRequest(app, exchange, body);
  send(
    exchange,
    prompts.map(({ tokens }) => rendered(id, tokens, body, sampling)),
  );
}

/** Python writes floats with a point even when they are whole. */
function send(exchange: Exchange, value: object): void {
  const floats = /"(presence_penalty|frequency_penalty|repetition_penalty|temperature|top_p|min_p)":(-?\d+)(?=[,}])/g;
  exchange.send(200, "application/json", JSON.stringify(value).replace(floats, '"$1":$2.0'));
}

function rendered(
  id: string,
  tokens: readonly number[],
  body: JsonObject,
  sampling: ReturnType<typeof readSampling>,
): object {
  const number = (name: string, fallback: number): number => new FieldReader(body).float(name) ?? fallback;
  const temperature = number("temperature", 1);
  return {
    request_id: id,
    token_ids: tokens,
    token_offsets: null,
    features: null,
    content_parts: null,
    sampling_params: {
      presence_penalty: number("presence_penalty", 0),
      frequency_penalty: number("frequency_penalty", 0),
      repetition_penalty: number("repetition_penalty", 1),
      temperature,
      // Greedy sampling has no use for them, and vLLM leaves them out then.
      ...(temperature === 0 ? {} : { top_p: number("top_p", 1), min_p: number("min_p", 0) }),
      stop: sampling.stop,
      stop_token_ids: sampling.stopTokenIds,
      max_tokens: sampling.maxTokens,
      output_kind: 2,
      skip_clone: true,
      bad_words: [],
      skip_reading_prefix_cache: false,
    },
    model: sampling.model,
    reasoning_ended: null,
    reasoning_parser_kwargs: null,
    return_token_ids: null,
    output_mode: "tokens",
    stream: sampling.stream,
    stream_options: null,
    cache_salt: sampling.cacheSalt,
    priority: sampling.priority,
    kv_transfer_params: body["kv_transfer_params"] ?? null,
    ec_transfer_params: null,
  };
}
