// Reads a chat request: messages, tools, output format. Before `chat`, which words the answer; also used by the APIs that
// are chat in other words. Pure apart from asking the app for its limits; it must never start work.

import { renderChat } from "../text/chat-template.ts";
import type { ChatMessage, RenderedPrompt, RenderOptions } from "../text/chat-template.ts";
import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import { badParameter, badRequest } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { checkCharacters, checkPrompts } from "./generation.ts";
import type { Prompt } from "./generation.ts";
import { reportMissingRole, reportWrongContent } from "./message-issues.ts";
import { readSampling } from "./sampling.ts";
import type { Sampling } from "./sampling.ts";
import { checkResponseFormat, forcedTool, scriptedTool, structuredAnswer } from "./tools.ts";
import type { ForcedTool } from "./tools.ts";
import { FieldReader, isObject } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

/** A chat request, ready to run. */
export interface ChatRequest {
  readonly sampling: Sampling;
  readonly prompt: Prompt;
  /** Alternatives to report per token; null for no log probabilities. */
  readonly logprobs: number | null;
  /** The function that the answer must call; null for an answer in words. */
  readonly tool: ForcedTool | null;
  /** The answer goes through vLLM's tool parser, which counts. */
  readonly parsesTools: boolean;
  readonly id: string;
  readonly created: number;
}

/** Throws what vLLM answers to a bad request. */
export function readChatRequest(app: EngineApp, exchange: Exchange, body: JsonObject): ChatRequest {
  const reader = new FieldReader(body);
  reader.require("messages");
  const messages = reader.list("messages").map((message, at) => readMessage(reader, message, at));
  const logprobs = reader.bool("logprobs", false);
  const top = reader.integer("top_logprobs");
  const addGenerationPrompt = reader.bool("add_generation_prompt", true);
  const continueFinalMessage = reader.bool("continue_final_message", false);
  const rules = {
    maxTokenFields: ["max_completion_tokens", "max_tokens"],
    defaultMaxTokens: null,
    maxModelLen: app.core.maxModelLen,
  };
  checkResponseFormat(reader);
  const sampling = readSampling(reader, rules, app);
  if (top !== null && top > 0 && !logprobs) {
    throw badParameter("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs");
  }
  const auto = choosesFreely(body);
  if (auto && !app.options.enableAutoToolChoice) {
    throw badRequest('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set');
  }
  const options = { addGenerationPrompt, continueFinalMessage, ...toolText(body), ...templateArguments(body) };
  const rendered = chatPrompt(app, messages, options);
  const tool = auto ? scriptedTool(body, app.options.script, rendered.text) : forcedTool(body, sampling.seed);
  const script = tool?.arguments ?? structuredAnswer(body, sampling.seed);
  const prompt = script === null ? rendered : { ...rendered, script };
  const id = `chatcmpl-${exchange.header("x-request-id") ?? sampling.requestId ?? randomHex(16)}`;
  const parsesTools = auto || body["tool_choice"] === "required";
  const created = app.createdSeconds();
  return { sampling, prompt, tool, parsesTools, logprobs: logprobs ? (top ?? 0) : null, id, created };
}

/** True when the model itself decides whether to call: the choice is `auto`, which is the default beside tools. */
function choosesFreely(body: JsonObject): boolean {
  const tools = body["tools"];
  const choice = body["tool_choice"];
  return Array.isArray(tools) && tools.length > 0 && (choice === undefined || choice === null || choice === "auto");
}

/** Messages to a prompt, with the errors of an empty or too long conversation. */
export function chatPrompt(app: EngineApp, messages: readonly ChatMessage[], options: RenderOptions): Prompt {
  if (messages.length === 0) {
    throw badRequest("Cannot apply chat template to an empty conversation. Provide at least one message.");
  }
  for (const message of messages) checkCharacters(app, message.content);
  const prompt = renderOrRefuse(app, messages, options);
  checkPrompts(app, [prompt]);
  const begun = options.continueFinalMessage ? messages.at(-1)?.content : undefined;
  return begun === undefined ? prompt : { ...prompt, begun };
}

/** The prompt; what the model's template refuses is the client's mistake. */
export function renderOrRefuse(
  app: EngineApp,
  messages: readonly ChatMessage[],
  options: RenderOptions,
): RenderedPrompt {
  try {
    return renderChat(messages, options, app.options.vocabulary);
  } catch (error) {
    throw badRequest(error instanceof Error ? error.message : String(error));
  }
}

/** Tool definitions as the text that stands before all messages. */
export function toolText(body: JsonObject): { tools?: string } {
  const tools = body["tools"];
  return Array.isArray(tools) && tools.length > 0 ? { tools: JSON.stringify(tools) } : {};
}

/** What a request hands to the model's template. */
export function templateArguments(body: JsonObject): { templateArguments?: JsonObject } {
  const given = body["chat_template_kwargs"];
  return isObject(given) ? { templateArguments: given } : {};
}

/** A message's text; parts are joined by newlines as vLLM does for text-only models. */
export function readMessage(reader: FieldReader, message: unknown, at: number): ChatMessage {
  if (!isObject(message)) {
    reader.issue(`messages.${at}`, "dict_type", "Input should be a valid dictionary", message);
    return { role: "user", content: "" };
  }
  const { role } = message;
  if (typeof role !== "string") {
    reportMissingRole(reader, at, message);
    return { role: "user", content: "" };
  }
  const content = message["content"];
  const source = message;
  if (typeof content === "string") return { role, content, source };
  if (Array.isArray(content)) {
    return { role, content: content.map((part) => partText(reader, part)).join("\n"), source };
  }
  if (role === "assistant") return { role, content: JSON.stringify(message["tool_calls"] ?? ""), source };
  reportWrongContent(reader, at, role, content);
  return { role, content: "" };
}

function partText(reader: FieldReader, part: unknown): string {
  if (typeof part === "string") return part;
  if (isObject(part) && typeof part["text"] === "string") return part["text"];
  if (isObject(part) && typeof part["type"] === "string" && part["type"] !== "text") {
    throw badRequest(`${String(reader.body["model"])} is not a multimodal model`);
  }
  return "";
}
