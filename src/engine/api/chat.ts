// POST /v1/chat/completions. Runs the choices and words them as chat completions. A route: it knows this shape and
// nothing about sockets or scheduling.

import type { EngineApp } from "./app.ts";
import { readChatRequest } from "./chat-request.ts";
import type { ChatRequest } from "./chat-request.ts";
import { engineDead, engineDeadMessage, errorEvent } from "./errors.ts";
import { encodePiece } from "./event-stream.ts";
import type { EventStream } from "./event-stream.ts";
import type { Exchange } from "./exchange.ts";
import { checkQueue, Generation, usageOf } from "./generation.ts";
import { transferAnswer } from "./kv-transfer.ts";
import type { Choice, Finish, GenerationSink, Usage } from "./generation.ts";
import { loadReport } from "./load-report.ts";
import { chatLogprobs } from "./logprobs.ts";
import { argumentsDelta, nameDelta, toolCall } from "./tools.ts";
import type { ForcedTool } from "./tools.ts";
import type { JsonObject } from "./validation.ts";

export function chatCompletions(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const request = readChatRequest(app, exchange, body);
  checkQueue(app);
  const sink = request.sampling.stream
    ? new StreamSink(app, exchange.openStream(), request)
    : new BodySink(app, exchange, request);
  new Generation(app, [request.prompt], request.sampling, sink, request.id).start(exchange);
}

/** Usage of a whole body; unlike completions it tells how many tokens were newly cached. */
function usageBody(app: EngineApp, usage: Usage): object {
  return {
    prompt_tokens: usage.promptTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    completion_tokens: usage.completionTokens,
    prompt_tokens_details: app.options.enablePromptTokensDetails
      ? { cached_tokens: usage.cachedTokens, created_cache_tokens: usage.createdTokens, multimodal_tokens: null }
      : null,
    completion_tokens_details: null,
  };
}

class BodySink implements GenerationSink {
  readonly #app: EngineApp;
  readonly #exchange: Exchange;
  readonly #request: ChatRequest;

  constructor(app: EngineApp, exchange: Exchange, request: ChatRequest) {
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
    const { parsesTools, tool } = this.#request;
    if (parsesTools) this.#app.http.parsedTools("non_streaming", tool !== null, choices.length);
    const report = loadReport(this.#app, this.#exchange);
    this.#exchange.json(200, chatBody(this.#app, this.#request, choices), report);
  }
}

interface ChatBody {
  readonly usage: object;
  readonly [field: string]: unknown;
}

/** The whole answer. */
export function chatBody(app: EngineApp, request: ChatRequest, choices: readonly Choice[]): ChatBody {
  const { sampling, id, created, prompt } = request;
  return {
    id,
    object: "chat.completion",
    created,
    model: sampling.model,
    choices: choices.map((choice) => choiceBody(app, request, choice)),
    service_tier: null,
    system_fingerprint: app.fingerprint,
    usage: usageBody(app, usageOf(choices)),
    prompt_logprobs: null,
    prompt_token_ids: sampling.returnTokenIds ? prompt.tokens : null,
    prompt_text: null,
    kv_transfer_params: transferAnswer(app, sampling.kvTransferParams, id, choices),
    ec_transfer_params: null,
    metrics: null,
  };
}

function choiceBody(app: EngineApp, { logprobs, sampling, tool }: ChatRequest, choice: Choice): object {
  // Arguments that were cut are no call: the text is given as it is.
  const called = tool !== null && choice.finish?.reason === "stop";
  return {
    index: choice.index,
    message: {
      role: "assistant",
      content: called ? "" : choice.scanner.text,
      refusal: null,
      annotations: null,
      audio: null,
      function_call: null,
      ...(called ? { tool_calls: [toolCall(tool, choice.scanner.text)] } : {}),
      reasoning: null,
    },
    logprobs: logprobs === null ? null : chatLogprobs(app.options.vocabulary, choice.tokenIds, 0, logprobs),
    finish_reason: called ? tool.finishReason : (choice.finish?.reason ?? null),
    stop_reason: choice.finish?.stopReason ?? null,
    token_ids: sampling.returnTokenIds ? choice.tokenIds : null,
    routed_experts: null,
  };
}

const plainTail = '},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n';

class StreamSink implements GenerationSink {
  readonly #app: EngineApp;
  readonly #stream: EventStream;
  readonly #request: ChatRequest;
  readonly #head: string;
  readonly #heads: string[] = [];
  readonly #headBytes: number;
  readonly #plain: boolean;
  #opened = false;

  constructor(app: EngineApp, stream: EventStream, request: ChatRequest) {
    this.#app = app;
    this.#stream = stream;
    this.#request = request;
    const { sampling } = request;
    const id = JSON.stringify(request.id);
    const model = JSON.stringify(sampling.model);
    this.#head = `data: {"id":${id},"object":"chat.completion.chunk","created":${request.created},"model":${model},"choices":[`;
    this.#headBytes = Buffer.byteLength(this.#head);
    this.#plain =
      request.tool === null && request.logprobs === null && !sampling.returnTokenIds && !sampling.continuousUsage;
  }

  piece(choice: Choice, text: string, token: number | null, finish: Finish | null): void {
    if (!this.#opened) this.#open();
    if (this.#request.parsesTools) this.#app.http.parsedTools("streaming", this.#request.tool !== null);
    if (this.#plain && finish === null) {
      // The hot path: two fixed strings around one escaped piece.
      let head = this.#heads[choice.index];
      if (head === undefined) {
        head = `${this.#head}{"index":${choice.index},"delta":{"content":`;
        this.#heads[choice.index] = head;
      }
      const encoded = encodePiece(text);
      const bytes = this.#headBytes + (head.length - this.#head.length) + encoded.bytes + plainTail.length;
      this.#stream.frame(head + encoded.json + plainTail, bytes);
      return;
    }
    this.#fullPiece(choice, text, token, finish);
  }

  /** One event per choice that names the role; it goes with the first token and not earlier. */
  #open(): void {
    this.#opened = true;
    const { sampling, prompt } = this.#request;
    const usage = sampling.continuousUsage ? `,"usage":${this.#runningUsage(0)}` : "";
    const ids = sampling.returnTokenIds ? JSON.stringify(prompt.tokens) : "null";
    for (let index = 0; index < sampling.n; index++) {
      this.#stream.event(
        `${this.#head}{"index":${index},"delta":{"role":"assistant","content":""},"logprobs":null,` +
          `"finish_reason":null}]${usage},"prompt_token_ids":${ids},"prompt_text":null}\n\n`,
      );
    }
  }

  #fullPiece(choice: Choice, text: string, token: number | null, finish: Finish | null): void {
    const { sampling, logprobs, tool } = this.#request;
    if (tool !== null && choice.tokenIds.length === 1) this.#openCall(choice, tool);
    // A token that ends the text without adding to it leaves an empty delta.
    const silent = finish !== null && text === "" && finish.reason !== "length";
    const part = {
      index: choice.index,
      delta: silent ? {} : tool === null ? { content: text } : argumentsDelta(text),
      logprobs:
        logprobs === null || token === null || silent
          ? null
          : chatLogprobs(this.#app.options.vocabulary, [token], choice.tokenIds.length - 1, logprobs),
      finish_reason: tool !== null && finish?.reason === "stop" ? tool.finishReason : (finish?.reason ?? null),
      ...(finish === null ? {} : { stop_reason: finish.stopReason }),
      token_ids: sampling.returnTokenIds ? (token === null ? [] : [token]) : null,
    };
    let event = `${this.#head}${JSON.stringify(part)}]`;
    if (sampling.continuousUsage) event += `,"usage":${this.#runningUsage(choice.tokenIds.length)}`;
    if (finish !== null && !sampling.includeUsage) event += `,"system_fingerprint":"${this.#app.fingerprint}"`;
    this.#stream.event(`${event}}\n\n`);
  }

  /** The event that names the function comes before the first piece of its arguments. */
  #openCall(choice: Choice, tool: ForcedTool): void {
    const part = {
      index: choice.index,
      delta: nameDelta(tool),
      logprobs: null,
      finish_reason: null,
      token_ids: null,
    };
    this.#stream.event(`${this.#head}${JSON.stringify(part)}]}\n\n`);
  }

  #runningUsage(completion: number): string {
    const prompt = this.#request.prompt.tokens.length;
    return JSON.stringify({
      prompt_tokens: prompt,
      total_tokens: prompt + completion,
      completion_tokens: completion,
      completion_tokens_details: null,
    });
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
          ? {
              prompt_tokens_details: {
                cached_tokens: usage.cachedTokens,
                created_cache_tokens: usage.createdTokens,
              },
            }
          : {}),
      };
      this.#stream.event(
        `${this.#head}],"usage":${JSON.stringify(counts)},"system_fingerprint":"${this.#app.fingerprint}"}\n\n`,
      );
    }
    this.#stream.end(true);
  }
}
