// POST /v1/chat/completions. Reads messages, renders the prompt, runs the choices, words them as chat completions. A
// route: it knows this shape and nothing about sockets or scheduling.

import { renderChat } from '../text/chat-template.ts';
import type { ChatMessage } from '../text/chat-template.ts';
import type { EngineApp } from './app.ts';
import { randomHex } from './app.ts';
import { badParameter, badRequest, engineDead, engineDeadMessage, errorEvent } from './errors.ts';
import { encodePiece } from './event-stream.ts';
import type { EventStream } from './event-stream.ts';
import type { Exchange } from './exchange.ts';
import { checkCharacters, checkPrompts, checkQueue, Generation, usageOf } from './generation.ts';
import type { Choice, Finish, GenerationSink, Prompt, Usage } from './generation.ts';
import { chatLogprobs } from './logprobs.ts';
import { readSampling } from './sampling.ts';
import type { Sampling } from './sampling.ts';
import { FieldReader, isObject } from './validation.ts';
import type { JsonObject } from './validation.ts';

interface ChatRequest {
  readonly sampling: Sampling;
  readonly prompt: Prompt;
  /** Alternatives to report per token; null for no log probabilities. */
  readonly logprobs: number | null;
  readonly id: string;
  readonly created: number;
}

export function chatCompletions(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const request = readRequest(app, exchange, body);
  checkQueue(app);
  const sink = request.sampling.stream
    ? new StreamSink(app, exchange.openStream(), request)
    : new BodySink(app, exchange, request);
  new Generation(app, [request.prompt], request.sampling, sink).start(exchange);
}

function readRequest(app: EngineApp, exchange: Exchange, body: JsonObject): ChatRequest {
  const reader = new FieldReader(body);
  reader.require('messages');
  const messages = reader.list('messages').map((message, at) => readMessage(reader, message, at));
  const logprobs = reader.bool('logprobs', false);
  const top = reader.integer('top_logprobs');
  const addGenerationPrompt = reader.bool('add_generation_prompt', true);
  const continueFinalMessage = reader.bool('continue_final_message', false);
  const rules = {
    maxTokenFields: ['max_completion_tokens', 'max_tokens'],
    defaultMaxTokens: null,
    maxModelLen: app.core.maxModelLen,
  };
  const sampling = readSampling(reader, rules, app.options);
  if (top !== null && top > 0 && !logprobs) {
    throw badParameter('when using `top_logprobs`, `logprobs` must be set to true.', 'top_logprobs');
  }
  checkTools(body);
  const prompt = chatPrompt(app, messages, { addGenerationPrompt, continueFinalMessage, ...toolText(body) });
  const id = `chatcmpl-${exchange.header('x-request-id') ?? sampling.requestId ?? randomHex(16)}`;
  return { sampling, prompt, logprobs: logprobs ? (top ?? 0) : null, id, created: app.createdSeconds() };
}

/** Messages to a prompt, with the errors of an empty or too long conversation. */
export function chatPrompt(
  app: EngineApp,
  messages: readonly ChatMessage[],
  options: { addGenerationPrompt: boolean; continueFinalMessage: boolean; tools?: string },
): Prompt {
  if (messages.length === 0) {
    throw badRequest('Cannot apply chat template to an empty conversation. Provide at least one message.');
  }
  for (const message of messages) checkCharacters(app, message.content);
  const prompt = renderChat(messages, options);
  checkPrompts(app, [prompt]);
  return prompt;
}

function toolText(body: JsonObject): { tools?: string } {
  const tools = body['tools'];
  return Array.isArray(tools) && tools.length > 0 ? { tools: JSON.stringify(tools) } : {};
}

function checkTools(body: JsonObject): void {
  const choice = body['tool_choice'];
  if (choice === undefined || choice === null || choice === 'none' || choice === 'auto') return;
  const tools: readonly unknown[] = Array.isArray(body['tools']) ? body['tools'] : [];
  if (tools.length === 0) throw badParameter('When using `tool_choice`, `tools` must be set.', 'tool_choice');
  if (!isObject(choice)) return;
  const wanted = isObject(choice['function']) ? choice['function']['name'] : undefined;
  const known = tools.some(
    (tool) => isObject(tool) && isObject(tool['function']) && tool['function']['name'] === wanted,
  );
  if (known) return;
  throw badParameter('The tool specified in `tool_choice` does not match any of the specified `tools`', 'tool_choice');
}

/** A message's text; parts are joined by newlines as vLLM does for text-only models. */
export function readMessage(reader: FieldReader, message: unknown, at: number): ChatMessage {
  if (!isObject(message)) {
    reader.issue(`messages.${at}`, 'dict_type', 'Input should be a valid dictionary', message);
    return { role: 'user', content: '' };
  }
  const { role } = message;
  if (typeof role !== 'string') {
    reader.issue(`messages.${at}.ChatCompletionUserMessageParam.role`, 'missing', 'Field required', message);
    return { role: 'user', content: '' };
  }
  const content = message['content'];
  if (typeof content === 'string') return { role, content };
  if (Array.isArray(content)) return { role, content: content.map((part) => partText(reader, part)).join('\n') };
  if (role === 'assistant') return { role, content: JSON.stringify(message['tool_calls'] ?? '') };
  const field = `messages.${at}.ChatCompletionUserMessageParam.content`;
  reader.issue(field, 'string_type', 'Input should be a valid string', content);
  return { role, content: '' };
}

function partText(reader: FieldReader, part: unknown): string {
  if (typeof part === 'string') return part;
  if (isObject(part) && typeof part['text'] === 'string') return part['text'];
  if (isObject(part) && typeof part['type'] === 'string' && part['type'] !== 'text') {
    throw badRequest(`${String(reader.body['model'])} is not a multimodal model`);
  }
  return '';
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
    const { sampling, id, created, prompt } = this.#request;
    this.#exchange.json(200, {
      id,
      object: 'chat.completion',
      created,
      model: sampling.model,
      choices: choices.map((choice) => this.#choice(choice)),
      service_tier: null,
      system_fingerprint: this.#app.fingerprint,
      usage: usageBody(this.#app, usageOf(choices)),
      prompt_logprobs: null,
      prompt_token_ids: sampling.returnTokenIds ? prompt.tokens : null,
      prompt_text: null,
      kv_transfer_params: null,
      ec_transfer_params: null,
      metrics: null,
    });
  }

  #choice(choice: Choice): object {
    const { logprobs, sampling } = this.#request;
    return {
      index: choice.index,
      message: {
        role: 'assistant',
        content: choice.scanner.text,
        refusal: null,
        annotations: null,
        audio: null,
        function_call: null,
        reasoning: null,
      },
      logprobs: logprobs === null ? null : chatLogprobs(choice.tokenIds, 0, logprobs),
      finish_reason: choice.finish?.reason ?? null,
      stop_reason: choice.finish?.stopReason ?? null,
      token_ids: sampling.returnTokenIds ? choice.tokenIds : null,
      routed_experts: null,
    };
  }
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
    this.#plain = request.logprobs === null && !sampling.returnTokenIds && !sampling.continuousUsage;
  }

  piece(choice: Choice, text: string, token: number | null, finish: Finish | null): void {
    if (!this.#opened) this.#open();
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
    const usage = sampling.continuousUsage ? `,"usage":${this.#runningUsage(0)}` : '';
    const ids = sampling.returnTokenIds ? JSON.stringify(prompt.tokens) : 'null';
    for (let index = 0; index < sampling.n; index++) {
      this.#stream.event(
        `${this.#head}{"index":${index},"delta":{"role":"assistant","content":""},"logprobs":null,` +
          `"finish_reason":null}]${usage},"prompt_token_ids":${ids},"prompt_text":null}\n\n`,
      );
    }
  }

  #fullPiece(choice: Choice, text: string, token: number | null, finish: Finish | null): void {
    const { sampling, logprobs } = this.#request;
    // A token that ends the text without adding to it leaves an empty delta.
    const silent = finish !== null && text === '' && finish.reason !== 'length';
    const part = {
      index: choice.index,
      delta: silent ? {} : { content: text },
      logprobs:
        logprobs === null || token === null || silent
          ? null
          : chatLogprobs([token], choice.tokenIds.length - 1, logprobs),
      finish_reason: finish?.reason ?? null,
      ...(finish === null ? {} : { stop_reason: finish.stopReason }),
      token_ids: sampling.returnTokenIds ? (token === null ? [] : [token]) : null,
    };
    let event = `${this.#head}${JSON.stringify(part)}]`;
    if (sampling.continuousUsage) event += `,"usage":${this.#runningUsage(choice.tokenIds.length)}`;
    if (finish !== null && !sampling.includeUsage) event += `,"system_fingerprint":"${this.#app.fingerprint}"`;
    this.#stream.event(`${event}}\n\n`);
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
