// Whether a request is one whose answer another engine can go on with, and how it is asked to. Pure. An allow-list: a field that
// is not known here may mean something that a continuation would break.
import { isRecord, isUnset } from "../../api/json-values.ts";
import { parseForWriting, type JsonObject } from "./json.ts";

/** Fields that mean the same for the rest of an answer as for all of it. */
const harmless = new Set([
  "model",
  "prompt",
  "messages",
  "stream",
  "stream_options",
  "max_tokens",
  "max_completion_tokens",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "seed",
  "stop",
  "stop_token_ids",
  "ignore_eos",
  "include_stop_str_in_output",
  "skip_special_tokens",
  "spaces_between_special_tokens",
  "logit_bias",
  "allowed_token_ids",
  "user",
  "metadata",
  "store",
  "service_tier",
  "safety_identifier",
  "prompt_cache_key",
  "priority",
  "cache_salt",
  "request_id",
  "return_token_ids",
  "add_special_tokens",
  "add_generation_prompt",
  "continue_final_message",
  "chat_template",
  "chat_template_kwargs",
  "parallel_tool_calls",
]);

/**
 * Fields that look back at what was generated, or that make more of an answer than one text: fine as long as they say nothing.
 * Null and false say nothing, for these and for any other field.
 */
const neutral: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value === 1,
  best_of: (value) => value === 1,
  min_tokens: (value) => value === 0,
  presence_penalty: (value) => value === 0,
  frequency_penalty: (value) => value === 0,
  repetition_penalty: (value) => value === 1,
  length_penalty: (value) => value === 1,
  top_logprobs: (value) => value === 0,
  suffix: (value) => value === "",
  tools: isEmpty,
  functions: isEmpty,
  bad_words: isEmpty,
  documents: isEmpty,
  tool_choice: (value) => value === "none",
  response_format: (value) => isRecord(value) && value["type"] === "text",
};

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** What the engine is asked to go on with, and what has to be known for that. */
export interface Question {
  readonly api: "completions" | "chat";
  readonly model: string;
  /** The request as it went out, for writing. */
  readonly body: JsonObject;
  /** A text or token ids; a chat has none. */
  readonly prompt: string | readonly number[] | null;
  /** Limit on the answer's tokens; null = the context. */
  readonly maxTokens: number | null;
  readonly stops: readonly string[];
  readonly includesStop: boolean;
  readonly wantsUsage: boolean;
  /** The answer's tokens have to be known: the client wants to, or the router does (`--inject-stream-usage`). */
  readonly countsUsage: boolean;
  readonly wantsTokenIds: boolean;
}

/** vLLM's limit of a completion that names none. */
const defaultMaxTokens = 16;

/**
 * @param asksForUsage the router asks for the usage of the stream, and the client does not
 * @returns null = the request is none whose answer can be gone on with
 */
export function readQuestion(
  api: "completions" | "chat",
  text: string,
  sessionField: string | null,
  asksForUsage = false,
): Question | null {
  let parsed: unknown;
  let body: unknown;
  try {
    parsed = JSON.parse(text);
    body = parseForWriting(text);
  } catch {
    return null;
  }
  if (!isRecord(parsed) || !isRecord(body)) return null;
  for (const [name, value] of Object.entries(parsed)) {
    if (isUnset(value) || value === false || harmless.has(name) || name === sessionField) continue;
    if (neutral[name]?.(value) !== true) return null;
  }
  const { model, stop, stream_options: streamOptions } = parsed;
  const prompt = api === "chat" ? null : readPrompt(parsed["prompt"]);
  if (typeof model !== "string" || prompt === undefined || (api === "chat" && !isContinuable(parsed))) return null;
  const stops = typeof stop === "string" ? [stop] : isUnset(stop) ? [] : stop;
  if (!Array.isArray(stops) || !stops.every((entry): entry is string => typeof entry === "string")) return null;
  const maxTokens = readMaxTokens(api, parsed);
  if (maxTokens === undefined) return null;
  const wantsUsage = isRecord(streamOptions) && streamOptions["include_usage"] === true;
  const options = isRecord(body["stream_options"]) ? body["stream_options"] : {};
  return {
    api,
    model,
    body: asksForUsage
      ? { ...body, stream_options: { ...options, include_usage: true, continuous_usage_stats: false } }
      : body,
    prompt,
    maxTokens,
    stops: stops.filter((entry) => entry !== ""),
    includesStop: parsed["include_stop_str_in_output"] === true,
    wantsUsage,
    countsUsage: wantsUsage || asksForUsage,
    wantsTokenIds: parsed["return_token_ids"] === true,
  };
}

/** One text or one list of ids, also as a batch of one; undefined = anything else. */
function readPrompt(value: unknown): string | readonly number[] | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value) || value.length === 0) return undefined;
  if (value.every((id): id is number => typeof id === "number")) return value;
  return value.length === 1 ? readPrompt(value[0]) : undefined;
}

/** Whether an assistant's message can be put at the end, or a text to the end of the one that is there. */
function isContinuable(request: JsonObject): boolean {
  const { messages } = request;
  if (!Array.isArray(messages) || messages.length === 0) return false;
  if (request["continue_final_message"] === true) {
    const last: unknown = messages.at(-1);
    return isRecord(last) && last["role"] === "assistant" && typeof last["content"] === "string";
  }
  return request["add_generation_prompt"] !== false;
}

/** undefined = something that only the engine understands. */
function readMaxTokens(api: Question["api"], request: JsonObject): number | null | undefined {
  const names = api === "chat" ? ["max_completion_tokens", "max_tokens"] : ["max_tokens"];
  const given = names.map((name) => request[name]).find((value) => !isUnset(value));
  if (given !== undefined) return typeof given === "number" && Number.isInteger(given) ? given : undefined;
  return api === "completions" && !("max_tokens" in request) ? defaultMaxTokens : null;
}

/** Question for `/tokenize`: the prompt that the engine makes of the request, with a piece of the answer behind it. */
export function tokenizeBody(question: Question, begun: string): string {
  const { api, model, body, prompt } = question;
  const special = "add_special_tokens" in body ? { add_special_tokens: body["add_special_tokens"] } : {};
  if (api === "completions") return JSON.stringify({ model, prompt: `${String(prompt)}${begun}`, ...special });
  const asChat: Record<string, unknown> = { model, ...special };
  for (const name of ["chat_template", "chat_template_kwargs"]) if (name in body) asChat[name] = body[name];
  return JSON.stringify({ ...asChat, ...chatBegun(body, begun) });
}

/**
 * The request for the rest.
 * @param begun the answer so far, as text or, where prompt and answer are known as such, as token ids
 * @param maxTokens what is left of the limit
 */
export function continuationBody(
  question: Question,
  begun: string | { readonly promptIds: readonly number[]; readonly ids: readonly number[] },
  maxTokens: number | null,
): string {
  const { api, body, prompt } = question;
  const limit = maxTokens === null ? {} : limitOf(api, body, maxTokens);
  if (begun === "") return JSON.stringify({ ...body, ...limit });
  if (typeof begun !== "string")
    return JSON.stringify({ ...body, prompt: [...begun.promptIds, ...begun.ids], ...limit });
  if (api === "completions") return JSON.stringify({ ...body, prompt: `${String(prompt)}${begun}`, ...limit });
  return JSON.stringify({ ...body, ...chatBegun(body, begun), ...limit });
}

function limitOf(api: Question["api"], body: JsonObject, maxTokens: number): JsonObject {
  const preferred = api === "chat" && !isUnset(body["max_completion_tokens"]);
  return { [preferred ? "max_completion_tokens" : "max_tokens"]: maxTokens };
}

/** Messages and flags of a chat whose answer has begun. */
function chatBegun(body: JsonObject, begun: string): JsonObject {
  const messages = body["messages"] as readonly JsonObject[];
  const continues = body["continue_final_message"] === true;
  if (begun === "") {
    return {
      messages,
      add_generation_prompt: !continues && body["add_generation_prompt"] !== false,
      continue_final_message: continues,
    };
  }
  const last = messages.at(-1);
  const lengthened = continues
    ? [...messages.slice(0, -1), { ...last, content: `${String(last?.["content"])}${begun}` }]
    : [...messages, { role: "assistant", content: begun }];
  return { messages: lengthened, add_generation_prompt: false, continue_final_message: true };
}
