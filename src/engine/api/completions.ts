// POST /v1/completions. Reads the prompt forms, runs the choices, words them as text completions. A route: it knows this
// shape and nothing about sockets or scheduling.

import type { EngineApp } from "./app.ts";
import { randomHex } from "./app.ts";
import { badParameter, badRequest, errorEvent, engineDead, engineDeadMessage } from "./errors.ts";
import { encodePiece } from "./event-stream.ts";
import type { EventStream } from "./event-stream.ts";
import type { Exchange } from "./exchange.ts";
import { checkCharacters, checkPrompts, checkQueue, Generation, usageOf } from "./generation.ts";
import { transferAnswer } from "./kv-transfer.ts";
import { loadReport } from "./load-report.ts";
import type { Choice, Finish, GenerationSink, Prompt, Usage } from "./generation.ts";
import { completionLogprobs, promptLogprobs } from "./logprobs.ts";
import { readSampling } from "./sampling.ts";
import type { Sampling } from "./sampling.ts";
import { checkResponseFormat, structuredAnswer } from "./tools.ts";
import { FieldReader } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

interface CompletionRequest {
  readonly sampling: Sampling;
  readonly prompts: readonly Prompt[];
  readonly echo: boolean;
  readonly logprobs: number | null;
  readonly id: string;
  readonly created: number;
}

export function completions(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const request = readCompletionRequest(app, exchange, body);
  checkQueue(app);
  const sink = request.sampling.stream
    ? new StreamSink(app, exchange.openStream(), request)
    : new BodySink(app, exchange, request);
  new Generation(app, request.prompts, request.sampling, sink, request.id).start(exchange);
}

/** Throws what vLLM answers to a bad request. */
export function readCompletionRequest(app: EngineApp, exchange: Exchange, body: JsonObject): CompletionRequest {
  const reader = new FieldReader(body);
  const echo = reader.bool("echo", false);
  const logprobs = reader.integer("logprobs");
  const given = readPrompts(reader);
  const rules = { maxTokenFields: ["max_tokens"], defaultMaxTokens: 16, maxModelLen: app.core.maxModelLen, echo };
  checkResponseFormat(reader);
  const sampling = readSampling(reader, rules, app);
  if (logprobs !== null && logprobs > 20) {
    throw badParameter(
      `Requested sample logprobs of ${logprobs}, which is greater than max allowed: 20`,
      "logprobs",
      String(logprobs),
    );
  }
  if (typeof body["suffix"] === "string" && body["suffix"] !== "") {
    throw badRequest("suffix is only supported for models with FIM completion rendering", "suffix");
  }
  const script = structuredAnswer(body, sampling.seed);
  const prompts = given.map((entry) => {
    const prompt = toPrompt(app, entry, sampling.truncatePrompt);
    return script === null ? prompt : { ...prompt, script };
  });
  if (prompts.length === 0) throw badRequest("You must pass at least one prompt");
  checkPrompts(app, prompts);
  const id = `cmpl-${exchange.header("x-request-id") ?? sampling.requestId ?? randomHex(16)}`;
  return { sampling, prompts, echo, logprobs, id, created: app.createdSeconds() };
}

type GivenPrompt = string | readonly number[];

/** A text, token ids, or a list of either. */
function readPrompts(reader: FieldReader): readonly GivenPrompt[] {
  const value = reader.body["prompt"];
  if (value === undefined || value === null || value === "") {
    reader.check();
    throw badParameter("Either prompt or prompt_embeds must be provided and non-empty.", "prompt");
  }
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) {
    const list: readonly unknown[] = value;
    if (list.length > 0 && list.every(isTokenId)) return [list];
    if (list.length > 0 && list.every((entry) => typeof entry === "number" && Number.isInteger(entry))) {
      reportNegativeIds(reader, list);
      return [];
    }
    if (list.every((entry) => typeof entry === "string")) return list;
    if (list.every((entry): entry is number[] => Array.isArray(entry) && entry.every(isTokenId))) return list;
  }
  const listIssue = (): void => reader.issue("prompt", "list_type", "Input should be a valid list", value);
  listIssue();
  listIssue();
  reader.issue("prompt", "string_type", "Input should be a valid string", value);
  listIssue();
  return [];
}

/** What pydantic says when ids are fine but for their sign: each form of a prompt is tried in turn. */
function reportNegativeIds(reader: FieldReader, list: readonly unknown[]): void {
  list.forEach((id, at) => {
    if (isTokenId(id)) return;
    const message = "Input should be greater than or equal to 0";
    reader.issue(`prompt.${at}`, "greater_than_equal", message, id, ", 'ctx': {'ge': 0}");
  });
  list.forEach((id, at) => reader.issue(`prompt.${at}`, "list_type", "Input should be a valid list", id));
  reader.issue("prompt", "string_type", "Input should be a valid string", list);
  list.forEach((id, at) => reader.issue(`prompt.${at}`, "string_type", "Input should be a valid string", id));
}

function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

function toPrompt(app: EngineApp, given: GivenPrompt, truncate: number | null): Prompt {
  const { vocabulary } = app.options;
  if (typeof given === "string") checkCharacters(app, given);
  else {
    const outside = given.find((id) => id >= vocabulary.size);
    if (outside !== undefined) throw badRequest(`Token id ${outside} is out of vocabulary`);
  }
  let tokens = typeof given === "string" ? vocabulary.encode(given) : given;
  if (truncate !== null && truncate > 0 && tokens.length > truncate) tokens = tokens.slice(-truncate);
  return { tokens, text: typeof given === "string" ? given : vocabulary.decode(given) };
}

/** Usage of a whole body. */
function usageBody(app: EngineApp, usage: Usage): object {
  return {
    prompt_tokens: usage.promptTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    completion_tokens: usage.completionTokens,
    prompt_tokens_details: app.options.enablePromptTokensDetails
      ? { cached_tokens: usage.cachedTokens, created_cache_tokens: null, multimodal_tokens: null }
      : null,
    completion_tokens_details: null,
  };
}

class BodySink implements GenerationSink {
  readonly #app: EngineApp;
  readonly #exchange: Exchange;
  readonly #request: CompletionRequest;

  constructor(app: EngineApp, exchange: Exchange, request: CompletionRequest) {
    this.#app = app;
    this.#exchange = exchange;
    this.#request = request;
  }

  piece(): void {
    // Nothing is sent before the end.
  }

  done(choices: readonly Choice[], failed: boolean): void {
    if (failed) {
      this.#exchange.fail(engineDead());
      return;
    }
    const { sampling, id, created } = this.#request;
    const body = {
      id,
      object: "text_completion",
      created,
      model: sampling.model,
      choices: choices.map((choice) => this.#choice(choice)),
      service_tier: null,
      system_fingerprint: this.#app.fingerprint,
      usage: usageBody(this.#app, usageOf(choices)),
      kv_transfer_params: transferAnswer(this.#app, sampling.kvTransferParams, `${id}-0`, choices),
      ec_transfer_params: null,
      metrics: null,
    };
    this.#exchange.json(200, body, loadReport(this.#app, this.#exchange));
  }

  #choice(choice: Choice): object {
    const { echo, logprobs, sampling } = this.#request;
    // Without room for an answer a token is computed, counted and thrown away.
    const silent = sampling.maxTokens === 0;
    const text = silent ? "" : choice.scanner.text;
    const tokens = silent ? [] : choice.tokenIds;
    const shown = echo ? [...choice.prompt.tokens, ...tokens] : tokens;
    return {
      index: choice.index,
      text: echo ? choice.prompt.text + text : text,
      logprobs:
        logprobs === null ? null : completionLogprobs(this.#app.options.vocabulary, shown, 0, 0, logprobs, echo),
      finish_reason: choice.finish?.reason ?? null,
      stop_reason: choice.finish?.stopReason ?? null,
      token_ids: sampling.returnTokenIds ? choice.tokenIds : null,
      prompt_logprobs:
        echo && logprobs !== null ? promptLogprobs(this.#app.options.vocabulary, choice.prompt.tokens, logprobs) : null,
      prompt_token_ids: sampling.returnTokenIds ? choice.prompt.tokens : null,
      routed_experts: null,
    };
  }
}

const plainTail =
  ',"logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}]}\n\n';

class StreamSink implements GenerationSink {
  readonly #app: EngineApp;
  readonly #stream: EventStream;
  readonly #request: CompletionRequest;
  readonly #head: string;
  readonly #heads: string[] = [];
  readonly #headBytes: number;
  readonly #plain: boolean;

  constructor(app: EngineApp, stream: EventStream, request: CompletionRequest) {
    this.#app = app;
    this.#stream = stream;
    this.#request = request;
    const { sampling } = request;
    const id = JSON.stringify(request.id);
    const model = JSON.stringify(sampling.model);
    this.#head = `data: {"id":${id},"object":"text_completion","created":${request.created},"model":${model},"choices":[`;
    this.#headBytes = Buffer.byteLength(this.#head);
    this.#plain = request.logprobs === null && !sampling.returnTokenIds && !sampling.continuousUsage;
  }

  piece(choice: Choice, text: string, token: number | null, finish: Finish | null): void {
    const first = choice.tokenIds.length === 1;
    if (this.#plain && finish === null && !(first && this.#request.echo)) {
      // The hot path: two fixed strings around one escaped piece.
      let head = this.#heads[choice.index];
      if (head === undefined) {
        head = `${this.#head}{"index":${choice.index},"text":`;
        this.#heads[choice.index] = head;
      }
      const encoded = encodePiece(text);
      const bytes = this.#headBytes + (head.length - this.#head.length) + encoded.bytes + plainTail.length;
      this.#stream.frame(head + encoded.json + plainTail, bytes);
      return;
    }
    this.#fullPiece(choice, text, token, finish, first);
  }

  #fullPiece(choice: Choice, text: string, token: number | null, finish: Finish | null, first: boolean): void {
    const { sampling, echo, logprobs } = this.#request;
    const shown = first && echo ? choice.prompt.text + text : text;
    const withPrompt = first && (echo || sampling.returnTokenIds);
    const place = choice.tokenIds.length - 1;
    const part = {
      index: choice.index,
      text: shown,
      logprobs:
        logprobs === null || token === null
          ? null
          : completionLogprobs(
              this.#app.options.vocabulary,
              [token],
              place,
              choice.scanner.text.length - text.length,
              logprobs,
            ),
      finish_reason: finish?.reason ?? null,
      stop_reason: finish?.stopReason ?? null,
      prompt_token_ids: withPrompt ? choice.prompt.tokens : null,
      token_ids: sampling.returnTokenIds ? (token === null ? [] : [token]) : null,
    };
    let event = `${this.#head}${JSON.stringify(part)}]`;
    if (sampling.continuousUsage) event += `,"usage":${JSON.stringify(this.#runningUsage(choice))}`;
    if (finish !== null && !sampling.includeUsage) event += `,"system_fingerprint":"${this.#app.fingerprint}"`;
    this.#stream.event(`${event}}\n\n`);
  }

  #runningUsage(choice: Choice): object {
    const prompt = choice.prompt.tokens.length;
    const completion = choice.tokenIds.length;
    return { prompt_tokens: prompt, total_tokens: prompt + completion, completion_tokens: completion };
  }

  done(choices: readonly Choice[], failed: boolean): void {
    if (failed) {
      this.#stream.event(errorEvent(engineDeadMessage));
    } else if (this.#request.sampling.includeUsage) {
      const usage = usageOf(choices);
      const counts = {
        prompt_tokens: usage.promptTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
        completion_tokens: usage.completionTokens,
        ...(this.#app.options.enablePromptTokensDetails
          ? { prompt_tokens_details: { cached_tokens: usage.cachedTokens } }
          : {}),
      };
      this.#stream.event(
        `${this.#head}],"usage":${JSON.stringify(counts)},"system_fingerprint":"${this.#app.fingerprint}"}\n\n`,
      );
    }
    this.#stream.end(true);
  }
}
