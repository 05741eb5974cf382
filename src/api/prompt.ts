// What a request asks the model to read, in the order in which the model reads it: per API family, tools and instructions
// first, then the messages. Found in the bytes of the body and handed on as pieces of them, so that prompts can be compared
// by their prefixes; nothing is parsed into objects. The canonical form leaves out what the model never sees or sees alike:
// white space between values, how a character is escaped, whether text stands alone or in a list of parts, `cache_control`.
// It is for comparing only: what an engine gets is the body. Long, since one walk over the bytes serves all four families of APIs.
import { behindNumbers, stringEnd } from "./json-fields.ts";
import type { ApiName } from "./table.ts";
import { readTokenIds, type TokenIds } from "./token-ids.ts";

/** Takes the canonical form. */
export interface PromptSink {
  write(buf: Uint8Array, start: number, end: number): void;
  /** One byte that can't stand in text: it ends a field or a message. */
  mark(byte: number): void;
  /** A message begins: what has come so far may be shared by many conversations. */
  setOpening(): void;
  /** What has come so far names the conversation: the same in all of its turns. */
  setAnchor(): void;
  /** An answer is part of the prompt: it is not the first turn. */
  setContinued(): void;
}

/** Where the parts of a prompt stand in a body, and what else matters for choosing an engine. */
export interface PromptParts {
  readonly api: PromptApi;
  readonly body: Buffer;
  /** [start, end) of values, in the order in which they are read; -1 = absent. */
  readonly tools: number;
  readonly lead: number;
  readonly main: number;
  /** Prompts that share it share nothing with others; "" = none. */
  readonly cacheSalt: string;
  /** Tokens of the answer at most; null = not said. */
  readonly maxTokens: number | null;
  readonly priority: number;
}

export interface WrittenPrompt {
  /** A prompt that is given as token ids, and of nothing else. */
  readonly tokenIds: Uint32Array | null;
  /** Bytes of further prompts of a batch: computed too, but not compared. */
  readonly otherBytes: number;
}

const promptApis = ["completions", "chat", "responses", "messages"] as const;
type PromptApi = (typeof promptApis)[number];

/** Where the text that every API calls differently is found. */
const fields: Record<PromptApi, { readonly lead: string; readonly main: string; readonly tools: string }> = {
  completions: { tools: "", lead: "", main: "prompt" },
  chat: { tools: "tools", lead: "", main: "messages" },
  responses: { tools: "tools", lead: "instructions", main: "input" },
  messages: { tools: "tools", lead: "system", main: "messages" },
};

const quote = 0x22;
const backslash = 0x5c;
const fieldMark = 1;
const messageMark = 2;
const partMark = 3;
/** Longer strings that are no text (images, audio) are compared by samples of their bytes. */
const maxWholeBytes = 512;
const sampleBytes = 32;
/** 1,024 bytes in all: what is sampled also counts as so much, as an image takes some hundred tokens. */
const samples = 32;
/** So much of a plain prompt names it. */
const anchorBytes = 1024;
const maxTokenNames = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/**
 * Finds the parts.
 * @param body a complete JSON object, as the scanner of top-level fields has seen it
 * @returns null where the API has no prompt, or the body names none
 */
export function findPrompt(api: ApiName, body: Buffer): PromptParts | null {
  const family = promptApis.find((name) => name === api);
  if (family === undefined) return null;
  const names = fields[family];
  let tools = -1;
  let lead = -1;
  let main = -1;
  let cacheSalt = "";
  let maxTokens: number | null = null;
  let priority = 0;
  let at = skipSpace(body, 0) + 1;
  for (;;) {
    const key = nextKey(body, at);
    if (key < 0) break;
    const keyEnd = stringEnd(body, key, body.length);
    const value = skipSpace(body, skipSpace(body, keyEnd + 1) + 1);
    at = skipValue(body, value);
    if (keyEnd < 0 || at < 0) return null;
    const length = keyEnd - key;
    // no name that matters is longer
    if (length > 21) continue;
    const name = body.toString("latin1", key, keyEnd);
    if (name === names.main) main = value;
    else if (name === names.tools) tools = value;
    else if (name === names.lead) lead = value;
    else if (name === "cache_salt") cacheSalt = body[value] === quote ? body.toString("latin1", value + 1, at - 1) : "";
    else if (name === "priority") priority = numberAt(body, value, at) ?? 0;
    else if (maxTokenNames.includes(name)) maxTokens = numberAt(body, value, at) ?? maxTokens;
  }
  return main < 0 ? null : { api: family, body, tools, lead, main, cacheSalt, maxTokens, priority };
}

const nothing: WrittenPrompt = { tokenIds: null, otherBytes: 0 };

/** Writes the canonical form. Whatever stands where a prompt should is taken for one: it is the engine's to refuse it. */
export function writePrompt(parts: PromptParts, sink: PromptSink): WrittenPrompt {
  const { body } = parts;
  if (parts.tools >= 0 && !isEmpty(body, parts.tools)) {
    writeJson(body, parts.tools, sink);
    sink.mark(partMark);
  }
  if (parts.lead >= 0) {
    writeContent(body, parts.lead, sink);
    sink.mark(partMark);
  }
  if (parts.api === "completions") return writePlain(body, parts.main, sink);
  if (body[parts.main] !== 0x5b) {
    sink.setOpening();
    writeContent(body, parts.main, sink);
    sink.setAnchor();
    return nothing;
  }
  for (let at = firstElement(body, parts.main); at >= 0; at = nextElement(body, at)) writeMessage(body, at, sink);
  return nothing;
}

/** `prompt` of completions: text, token ids, or a list of either. */
function writePlain(body: Buffer, at: number, sink: PromptSink): WrittenPrompt {
  if (body[at] !== 0x5b) {
    writeOpening(body, at, sink);
    return nothing;
  }
  const first = firstElement(body, at);
  if (first < 0) return nothing;
  if (body[first] !== quote && body[first] !== 0x5b) {
    return { tokenIds: writeIds(readTokenIds(body, at), sink), otherBytes: 0 };
  }
  const end = skipValue(body, first);
  const otherBytes = Math.max(0, skipValue(body, at) - 1 - end);
  if (body[first] === quote) {
    writeOpening(body, first, sink);
    return { tokenIds: null, otherBytes };
  }
  return { tokenIds: writeIds(readTokenIds(body, first), sink), otherBytes };
}

function writeOpening(body: Buffer, at: number, sink: PromptSink): void {
  if (body[at] !== quote) {
    writeJson(body, at, sink);
    return;
  }
  const end = stringEnd(body, at + 1, body.length);
  // not inside an escape, which the rest would be read without
  let cut = Math.min(end, at + 1 + anchorBytes);
  if (cut < end) {
    const escape = body.subarray(cut - 6, cut).lastIndexOf(backslash);
    if (escape >= 0) cut = cut - 6 + escape;
    while (cut > at + 1 && body[cut - 1] === backslash) cut--;
  }
  writeText(body, at + 1, cut, sink);
  sink.setAnchor();
  writeText(body, cut, end, sink);
}

/** A message, or an item of Responses' input: role and content first, then what else the template may show. */
function writeMessage(body: Buffer, at: number, sink: PromptSink): void {
  if (body[at] !== 0x7b) {
    writeContent(body, at, sink);
    sink.mark(messageMark);
    return;
  }
  sink.setOpening();
  let role = -1;
  let content = -1;
  for (let key = firstKey(body, at); key >= 0; key = followingKey(body, key)) {
    if (isName(body, key, "role")) role = valueOf(body, key);
    else if (isName(body, key, "content")) content = valueOf(body, key);
  }
  if (role >= 0) writeContent(body, role, sink);
  sink.mark(fieldMark);
  if (content >= 0) writeContent(body, content, sink);
  for (let key = firstKey(body, at); key >= 0; key = followingKey(body, key)) {
    if (isName(body, key, "role") || isName(body, key, "content") || isName(body, key, "cache_control")) continue;
    const value = valueOf(body, key);
    if (isEmpty(body, value)) continue;
    sink.mark(fieldMark);
    writeText(body, key, stringEnd(body, key, body.length), sink);
    sink.mark(fieldMark);
    writeJson(body, value, sink);
  }
  sink.mark(messageMark);
  if (role < 0) return;
  if (isName(body, role + 1, "user")) sink.setAnchor();
  else if (isName(body, role + 1, "assistant")) sink.setContinued();
}

/** Text, or a list of parts. */
function writeContent(body: Buffer, at: number, sink: PromptSink): void {
  if (body[at] === quote) {
    writeText(body, at + 1, stringEnd(body, at + 1, body.length), sink);
    return;
  }
  if (body[at] !== 0x5b) {
    if (!isEmpty(body, at)) writeJson(body, at, sink);
    return;
  }
  let first = true;
  for (let part = firstElement(body, at); part >= 0; part = nextElement(body, part)) {
    if (!first) sink.mark(partMark);
    first = false;
    const text = textOf(body, part);
    if (text >= 0) writeText(body, text + 1, stringEnd(body, text + 1, body.length), sink);
    else writeJson(body, part, sink);
  }
}

/** Where the text of a part that is nothing but text begins; -1 = it is something else. */
function textOf(body: Buffer, part: number): number {
  if (body[part] === quote) return part;
  if (body[part] !== 0x7b) return -1;
  let text = -1;
  for (let key = firstKey(body, part); key >= 0; key = followingKey(body, key)) {
    if (isName(body, key, "text")) text = valueOf(body, key);
    else if (isName(body, key, "type")) {
      const type = valueOf(body, key) + 1;
      if (!isName(body, type, "text") && !isName(body, type, "input_text") && !isName(body, type, "output_text"))
        return -1;
    }
  }
  return text >= 0 && body[text] === quote ? text : -1;
}

/** Any value, without the space between its tokens and without `cache_control`; media in it by samples. */
function writeJson(body: Buffer, at: number, sink: PromptSink): void {
  const end = skipValue(body, at);
  // written once it is clear that something follows: what stood last may be left out
  let comma = false;
  let i = at;
  while (i < end) {
    const code = body[i] ?? 0;
    if (isSpace(code)) {
      i++;
      continue;
    }
    if (code === 0x2c) {
      comma = true;
      i++;
      continue;
    }
    if (code === quote && isName(body, i + 1, "cache_control") && body[skipSpace(body, i + 15)] === 0x3a) {
      i = Math.max(i + 1, skipSpace(body, skipValue(body, valueOf(body, i + 1))));
      if (body[i] === 0x2c) i++;
      continue;
    }
    const closes = code === 0x7d || code === 0x5d;
    if (comma && !closes) sink.mark(0x2c);
    comma = false;
    if (code === quote) {
      const stop = stringEnd(body, i + 1, end);
      sink.mark(quote);
      if (stop - i > maxWholeBytes && isOpaque(body, i + 1)) writeSamples(body, i + 1, stop, sink);
      else writeText(body, i + 1, stop, sink);
      sink.mark(quote);
      i = stop < 0 ? end : stop + 1;
    } else if (closes || code === 0x7b || code === 0x5b || code === 0x3a) {
      sink.mark(code);
      i++;
    } else {
      const from = i;
      i = Math.max(i + 1, skipScalar(body, i));
      sink.write(body, from, Math.min(i, end));
    }
  }
}

/** Base64 and the like: no text has so many bytes without a space. */
function isOpaque(body: Buffer, start: number): boolean {
  for (let i = start; i < start + maxWholeBytes / 2; i++) {
    const code = body[i] ?? 0;
    if (code <= 0x20 || code >= 0x7f || code === backslash) return false;
  }
  return true;
}

/** Length and samples of a long string. */
function writeSamples(body: Buffer, start: number, end: number, sink: PromptSink): void {
  const length = end - start;
  const head = Buffer.from(String(length));
  sink.write(head, 0, head.length);
  const stride = (length - sampleBytes) / (samples - 1);
  for (let i = 0; i < samples; i++) {
    const at = start + Math.floor(i * stride);
    sink.write(body, at, at + sampleBytes);
  }
}

/** The inside of a string: as it stands, but for characters that are written `\uXXXX`. */
function writeText(body: Buffer, start: number, end: number, sink: PromptSink): void {
  if (start >= end) return;
  if (!hasUnicodeEscape(body, start, end)) {
    sink.write(body, start, end);
    return;
  }
  let from = start;
  for (let at = start; at < end;) {
    if (body[at] !== backslash) {
      at++;
      continue;
    }
    if (body[at + 1] !== 0x75) {
      at += 2;
      continue;
    }
    // as many as there are in a row: pairs of surrogates belong together
    let stop = at;
    while (stop + 6 <= end && body[stop] === backslash && body[stop + 1] === 0x75) stop += 6;
    if (stop === at) break;
    sink.write(body, from, at);
    const text = decoded(body.toString("latin1", at, stop));
    sink.write(text, 0, text.length);
    at = stop;
    from = stop;
  }
  sink.write(body, from, end);
}

/** Escapes -> UTF-8, where JSON writers that escape less would have written the characters themselves. */
function decoded(escapes: string): Buffer {
  try {
    return Buffer.from(JSON.stringify(JSON.parse(`"${escapes}"`)).slice(1, -1));
  } catch {
    return Buffer.from(escapes, "latin1");
  }
}

const unicodeEscape = Buffer.from("\\u");

function hasUnicodeEscape(body: Buffer, start: number, end: number): boolean {
  if (end - start > 64) return body.subarray(start, end).includes(unicodeEscape);
  for (let i = start; i < end - 1; i++) if (body[i] === backslash && body[i + 1] === 0x75) return true;
  return false;
}

/** @returns the ids, where nothing but ids was there */
function writeIds({ ids, whole }: TokenIds, sink: PromptSink): Uint32Array | null {
  const bytes = Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
  const cut = Math.min(bytes.length, anchorBytes);
  sink.write(bytes, 0, cut);
  sink.setAnchor();
  sink.write(bytes, cut, bytes.length);
  return whole ? ids : null;
}

// --- walking through JSON that is complete

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function skipSpace(body: Buffer, from: number): number {
  let at = from;
  while (isSpace(body[at] ?? 0)) at++;
  return at;
}

/** Behind the value that begins at `at`; -1 = it has no end. */
function skipValue(body: Buffer, at: number): number {
  const code = body[at] ?? 0;
  const { length } = body;
  if (code === quote) {
    const stop = stringEnd(body, at + 1, length);
    return stop < 0 ? -1 : stop + 1;
  }
  if (code !== 0x7b && code !== 0x5b) {
    return skipScalar(body, at);
  }
  let depth = 1;
  for (let i = behindNumbers(body, at + 1, length); i < length; i++) {
    const here = body[i];
    if (here === quote) {
      i = stringEnd(body, i + 1, length);
      if (i < 0) return -1;
    } else if (here === 0x7b || here === 0x5b) depth++;
    else if ((here === 0x7d || here === 0x5d) && --depth === 0) return i + 1;
  }
  return -1;
}

function skipScalar(body: Buffer, at: number): number {
  let i = at;
  for (; i < body.length; i++) {
    const code = body[i] ?? 0;
    if (isSpace(code) || code === 0x2c || code === 0x7d || code === 0x5d || code === 0x3a || code === quote) break;
  }
  return i;
}

/** Behind the quote of the next key, from behind a brace or a value; -1 = the object ends. */
function nextKey(body: Buffer, from: number): number {
  let at = skipSpace(body, from);
  if (body[at] === 0x2c) at = skipSpace(body, at + 1);
  return body[at] === quote ? at + 1 : -1;
}

function firstKey(body: Buffer, object: number): number {
  return nextKey(body, object + 1);
}

function followingKey(body: Buffer, key: number): number {
  const end = skipValue(body, valueOf(body, key));
  return end < 0 ? -1 : nextKey(body, end);
}

/** The value of the key whose name begins at `key`. */
function valueOf(body: Buffer, key: number): number {
  const end = stringEnd(body, key, body.length);
  // what is nested has not been checked: nowhere may a step lead back
  return end < 0 ? body.length : skipSpace(body, skipSpace(body, end + 1) + 1);
}

function firstElement(body: Buffer, list: number): number {
  const at = skipSpace(body, list + 1);
  return at >= body.length || body[at] === 0x5d ? -1 : at;
}

function nextElement(body: Buffer, element: number): number {
  const end = skipValue(body, element);
  if (end < 0) return -1;
  const at = skipSpace(body, end);
  return body[at] === 0x2c ? skipSpace(body, at + 1) : -1;
}

/** Whether the string that begins at `at`, behind its quote, is this one. */
function isName(body: Buffer, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (body[at + i] !== name.charCodeAt(i)) return false;
  return body[at + name.length] === quote;
}

/** null, "", [] or {}: the same as nothing. */
function isEmpty(body: Buffer, at: number): boolean {
  const code = body[at];
  if (code === 0x6e) return true;
  if (code === quote) return body[at + 1] === quote;
  if (code === 0x5b) return body[skipSpace(body, at + 1)] === 0x5d;
  return code === 0x7b && body[skipSpace(body, at + 1)] === 0x7d;
}

function numberAt(body: Buffer, start: number, end: number): number | null {
  if (end - start > 20 || end <= start) return null;
  const value = Number(body.toString("latin1", start, end));
  return Number.isFinite(value) ? value : null;
}
