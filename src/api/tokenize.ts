// What to ask a tokenizer for, so that the tokens are those which the engine will read: found in the bytes of a request and
// spliced from them, since a number or a key that is written anew may be written otherwise. Pure. It must never ask for what
// only nearly is the prompt: such a request has no exact tokens, and the reason says why.
import { FieldNames, JsonFieldScanner, type FieldRange } from "./json-fields.ts";
import type { ApiName } from "./table.ts";

export const untokenizedReasons = ["images", "several_prompts", "other_shape"] as const;
/** Why a request's tokens can't be known. */
export type UntokenizedReason = (typeof untokenizedReasons)[number];

export type TokenizeAsk =
  /** A prompt that is given as token ids. */
  | { readonly kind: "ids"; readonly ids: Uint32Array }
  | { readonly kind: "text"; readonly prompt: Buffer; readonly addSpecialTokens: boolean | null }
  | ChatAsk
  | { readonly kind: "none"; readonly reason: UntokenizedReason };

/** JSON of each part, as it came. */
export interface ChatAsk {
  readonly kind: "chat";
  readonly messages: readonly Buffer[];
  readonly tools: Buffer | null;
  readonly chatTemplate: Buffer | null;
  /** What the template is handed besides. */
  readonly templateArguments: Buffer | null;
  readonly addGenerationPrompt: boolean;
  readonly continueFinalMessage: boolean;
  readonly addSpecialTokens: boolean | null;
}

const fieldNames = new FieldNames([
  "prompt",
  "messages",
  "tools",
  "chat_template",
  "chat_template_kwargs",
  "documents",
  "reasoning_effort",
  "add_generation_prompt",
  "continue_final_message",
  "add_special_tokens",
  "system",
  "input",
  "instructions",
  "cache_salt",
  "prompt_embeds",
  "truncate_prompt_tokens",
]);

export interface Tokenizable {
  readonly ask: TokenizeAsk;
  /** Prompts that share it share nothing with others; null = none. */
  readonly cacheSalt: string | null;
}

const none = (reason: UntokenizedReason): TokenizeAsk => ({ kind: "none", reason });

/**
 * @param body a complete JSON object
 * @param ids of its prompt, where that is a list of them and has been read already: 100,000 take their time
 */
export function tokenizable(api: ApiName, body: Buffer, ids: Uint32Array | null = null): Tokenizable {
  const scanner = new JsonFieldScanner(fieldNames);
  scanner.feed(body);
  scanner.end();
  const fields = new Fields(body, (name) => scanner.range(name));
  const salt = fields.value("cache_salt");
  return { ask: askOf(api, fields, ids), cacheSalt: typeof salt === "string" && salt !== "" ? salt : null };
}

function askOf(api: ApiName, fields: Fields, ids: Uint32Array | null): TokenizeAsk {
  // a prompt that the engine cuts, or that is no tokens
  if (fields.raw("truncate_prompt_tokens") !== null || fields.raw("prompt_embeds") !== null) return none("other_shape");
  switch (api) {
    case "completions":
      return completionAsk(fields, ids);
    case "chat":
      return chatAsk(fields);
    case "messages":
      return plainChat(fields, fields.value("system"), fields.value("messages"));
    case "responses":
      return plainChat(fields, fields.value("instructions"), fields.value("input"));
    default:
      return none("other_shape");
  }
}

function completionAsk(fields: Fields, ids: Uint32Array | null): TokenizeAsk {
  const raw = fields.raw("prompt");
  if (raw === null) return none("other_shape");
  if (raw[0] === quote) return { kind: "text", prompt: raw, addSpecialTokens: fields.flag("add_special_tokens") };
  if (raw[0] !== openList) return none("other_shape");
  if (ids !== null) return { kind: "ids", ids };
  const value: unknown = parsed(raw);
  if (!Array.isArray(value) || value.length === 0) return none("other_shape");
  const [only, ...others] = value as readonly unknown[];
  if (typeof only === "number") return idsAsk(value);
  if (others.length > 0) return none("several_prompts");
  if (typeof only === "string") {
    return {
      kind: "text",
      prompt: Buffer.from(JSON.stringify(only)),
      addSpecialTokens: fields.flag("add_special_tokens"),
    };
  }
  return idsAsk(only);
}

function idsAsk(value: unknown): TokenizeAsk {
  if (!Array.isArray(value) || !value.every((id) => Number.isInteger(id) && id >= 0)) return none("other_shape");
  return { kind: "ids", ids: Uint32Array.from(value as number[]) };
}

function chatAsk(fields: Fields): TokenizeAsk {
  const raw = fields.raw("messages");
  const messages = raw === null ? null : elementsOf(raw);
  if (messages === null || messages.length === 0) return none("other_shape");
  if (messages.some(holdsMedia)) return none("images");
  return {
    kind: "chat",
    messages,
    tools: fields.raw("tools"),
    chatTemplate: fields.raw("chat_template"),
    templateArguments: templateArguments(fields),
    addGenerationPrompt: fields.flag("add_generation_prompt") ?? true,
    continueFinalMessage: fields.flag("continue_final_message") ?? false,
    addSpecialTokens: fields.flag("add_special_tokens"),
  };
}

/** `chat_template_kwargs` with what vLLM adds to it from other fields of a chat request. */
function templateArguments(fields: Fields): Buffer | null {
  const given = fields.raw("chat_template_kwargs");
  const documents = fields.raw("documents");
  const effort = fields.raw("reasoning_effort");
  if (documents === null && effort === null) return given;
  const named: unknown = given === null ? {} : parsed(given);
  if (typeof named !== "object" || named === null) return given;
  const parts: string[] = [];
  const add = (name: string, value: string): void => {
    if (!Object.hasOwn(named, name)) parts.push(`${JSON.stringify(name)}:${value}`);
  };
  if (documents !== null) add("documents", documents.toString("utf8"));
  if (effort !== null) {
    add("reasoning_effort", effort.toString("utf8"));
    add("enable_thinking", String(parsed(effort) !== "none"));
  }
  if (parts.length === 0) return given;
  const inside = given === null ? "" : given.toString("utf8").trim().slice(1, -1).trim();
  return Buffer.from(`{${inside === "" ? "" : `${inside},`}${parts.join(",")}}`);
}

/**
 * The other APIs' prompts as the chat that vLLM makes of them, where they are plain text: what it makes of tools, images and
 * thoughts differs between versions.
 */
function plainChat(fields: Fields, lead: unknown, main: unknown): TokenizeAsk {
  if (fields.raw("tools") !== null) return none("other_shape");
  const system = lead === undefined || lead === null ? "" : textOf(lead, "");
  const turns = typeof main === "string" ? [{ role: "user", content: main }] : main;
  if (system === null || !Array.isArray(turns) || turns.length === 0) return none("other_shape");
  const messages = system === "" ? [] : [{ role: "system", content: system }];
  for (const turn of turns as readonly unknown[]) {
    const { role, content, ...more } = (turn ?? {}) as Readonly<Record<string, unknown>>;
    const text = textOf(content, null);
    if (typeof role !== "string" || text === null) return none(holdsImage(content) ? "images" : "other_shape");
    // an item of Responses' input may name what it is
    if (Object.keys(more).some((name) => name !== "type") || (more["type"] ?? "message") !== "message")
      return none("other_shape");
    messages.push({ role, content: text });
  }
  return {
    kind: "chat",
    messages: messages.map((message) => Buffer.from(JSON.stringify(message))),
    tools: null,
    chatTemplate: null,
    templateArguments: null,
    addGenerationPrompt: true,
    continueFinalMessage: false,
    addSpecialTokens: null,
  };
}

/** @param between what stands between several parts; null = several parts are no plain text */
function textOf(content: unknown, between: string | null): string | null {
  if (typeof content === "string") return content;
  if (!Array.isArray(content) || (content.length !== 1 && between === null)) return null;
  const texts = (content as readonly unknown[]).map((part) => {
    const { type, text } = (part ?? {}) as Readonly<Record<string, unknown>>;
    return type === "text" && typeof text === "string" ? text : null;
  });
  return texts.includes(null) ? null : texts.join(between ?? "");
}

const holdsImage = (content: unknown): boolean =>
  Array.isArray(content) && holdsMedia(Buffer.from(JSON.stringify(content)));

/** Types of content parts that are no text. A quote inside a text is escaped, so that only a whole string can match. */
const media = [
  "image_url",
  "input_image",
  "image",
  "image_pil",
  "image_embeds",
  "input_audio",
  "audio_url",
  "video_url",
  "file",
].map((type) => Buffer.from(`"${type}"`));
const typeKey = Buffer.from('"type"');

const holdsMedia = (message: Buffer): boolean =>
  message.includes(typeKey) && media.some((type) => message.includes(type));

/** The top-level fields of a body. */
class Fields {
  readonly #body: Buffer;
  readonly #range: (name: string) => FieldRange | null;

  constructor(body: Buffer, range: (name: string) => FieldRange | null) {
    this.#body = body;
    this.#range = range;
  }

  /** JSON of a value; null = it is absent, or null. */
  raw(name: string): Buffer | null {
    const range = this.#range(name);
    if (range === null) return null;
    const raw = this.#body.subarray(range.start, range.end);
    return raw.length === 4 && raw.toString("latin1") === "null" ? null : raw;
  }

  value(name: string): unknown {
    const raw = this.raw(name);
    return raw === null ? undefined : parsed(raw);
  }

  flag(name: string): boolean | null {
    const value = this.value(name);
    return typeof value === "boolean" ? value : null;
  }
}

function parsed(raw: Buffer): unknown {
  try {
    return JSON.parse(raw.toString("utf8"));
  } catch {
    // the engine's to refuse
    return undefined;
  }
}

const quote = 0x22;
const backslash = 0x5c;
const openList = 0x5b;

/** JSON of each element of a list; null = it is no list. */
function elementsOf(raw: Buffer): Buffer[] | null {
  if (raw[0] !== openList) return null;
  const elements: Buffer[] = [];
  let depth = 0;
  let start = -1;
  for (let at = 0; at < raw.length; at++) {
    const code = raw[at] ?? 0;
    if (code === quote) {
      if (start < 0) start = at;
      at = closingQuote(raw, at + 1);
      if (at < 0) return null;
    } else if (code === openList || code === 0x7b) {
      if (depth++ === 1 && start < 0) start = at;
    } else if (code === 0x5d || code === 0x7d) {
      if (--depth === 0 && start >= 0) elements.push(raw.subarray(start, at));
    } else if (code === 0x2c && depth === 1) {
      if (start >= 0) elements.push(raw.subarray(start, at));
      start = -1;
    } else if (start < 0 && code > 0x20) start = at;
  }
  return elements;
}

function closingQuote(raw: Buffer, from: number): number {
  for (let at = raw.indexOf(quote, from); at >= 0; at = raw.indexOf(quote, at + 1)) {
    let slashes = 0;
    while (raw[at - 1 - slashes] === backslash) slashes++;
    if (slashes % 2 === 0) return at;
  }
  return -1;
}
