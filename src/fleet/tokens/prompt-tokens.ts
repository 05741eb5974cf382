// The tokens of a prompt, as the engine will read them: ids as given, else from a tokenizer of our own or from an engine's
// `/tokenize`, within a time limit. What was read before is not read again, and of a long conversation only what is new, where
// the chat template has shown that its turns do not depend on each other. Between the request and the exact index.
import { createHash } from "node:crypto";
import type { ChatAsk, TokenizeAsk, UntokenizedReason } from "../../api/tokenize.ts";
import { TokenCache } from "../../cache/token-cache.ts";
import type { Clock, Timer } from "../../clock.ts";

export const tokenFailures = ["tokenizer_timeout", "tokenizer_failed", "no_tokenizer"] as const;
export type TokenFailure = (typeof tokenFailures)[number];

export type PromptTokensResult =
  | { readonly tokens: Uint32Array }
  | { readonly reason: TokenFailure | UntokenizedReason; readonly detail: string };

/** Something that makes tokens of the JSON of a `/tokenize` request. */
export interface Tokenizer {
  /** @throws Error for people */
  tokenize(model: string, request: string): Promise<Uint32Array>;
}

export interface PromptTokensOptions {
  readonly clock: Clock;
  /** Limit for a short prompt; each kB adds a millisecond. */
  readonly limitMs: number;
  /** null = nobody can be asked for this model. */
  readonly tokenizerOf: (model: string) => Tokenizer | null;
  readonly cacheBytes: number;
}

/** Shorter chats are always read as a whole: that costs an engine less than two questions. */
const longChatBytes = 16 * 1024;
/** A template is trusted after so many long chats that were read both ways came out the same. */
const neededAgreements = 3;
/** And looked at again every so many. */
const verifyEvery = 32;
/** Bounds what a crowd of slow answers can hold. */
const maxOpen = 256;
/** Parts of a message that templates drop from earlier turns, so that turns do depend on each other. */
const turnDependent = ["reasoning_content", '"reasoning"', "<think>"].map((text) => Buffer.from(text));

/** What is known of a template with its arguments. */
interface Template {
  agreements: number;
  /** Read piecewise since it was last verified. */
  unverified: number;
  /** Its turns depend on each other. */
  broken: boolean;
  /** Tokens of what opens the answer; null = not known yet. */
  opening: Uint32Array | null;
}

const maxTemplates = 1024;

export class PromptTokens {
  readonly #options: PromptTokensOptions;
  readonly #cache: TokenCache;
  readonly #templates = new Map<string, Template>();
  #open = 0;
  /** Long chats of which only the new part was read. */
  piecewise = 0;

  constructor(options: PromptTokensOptions) {
    this.#options = options;
    this.#cache = new TokenCache(options.cacheBytes);
  }

  /** Resolves in time, whatever the tokenizer does. Never rejects. */
  read(model: string, ask: TokenizeAsk): PromptTokensResult | Promise<PromptTokensResult> {
    if (ask.kind === "ids") return { tokens: ask.ids };
    if (ask.kind === "none") return { reason: ask.reason, detail: "" };
    const keys = keysOf(model, ask);
    const known = this.#cache.get(keys.at(-1) ?? "");
    if (known !== undefined) return { tokens: known };
    const tokenizer = this.#options.tokenizerOf(model);
    if (tokenizer === null) return { reason: "no_tokenizer", detail: "no engine of the model can be asked" };
    if (this.#open >= maxOpen) return { reason: "tokenizer_timeout", detail: `${maxOpen} prompts are being read` };
    this.#open++;
    const bytes = ask.kind === "text" ? ask.prompt.length : ask.messages.reduce((sum, { length }) => sum + length, 0);
    const reading =
      ask.kind === "text"
        ? tokenizer.tokenize(model, textRequest(model, ask.prompt, ask.addSpecialTokens))
        : this.#chat(tokenizer, model, ask, keys, bytes);
    return this.#inTime(reading, keys.at(-1) ?? "", this.#options.limitMs + bytes / 1024);
  }

  #inTime(reading: Promise<Uint32Array>, key: string, limitMs: number): Promise<PromptTokensResult> {
    const { promise: late, resolve } = Promise.withResolvers<PromptTokensResult>();
    const timer = this.#options.clock.setTimer(limitMs, () =>
      resolve({ reason: "tokenizer_timeout", detail: `no tokens within ${Math.round(limitMs)} ms` }),
    );
    return Promise.race([this.#finish(reading, key, timer), late]);
  }

  async #finish(reading: Promise<Uint32Array>, key: string, timer: Timer): Promise<PromptTokensResult> {
    try {
      const tokens = await reading;
      // late ones are good for the next turn
      this.#cache.set(key, tokens);
      return { tokens };
    } catch (error) {
      return { reason: "tokenizer_failed", detail: error instanceof Error ? error.message : String(error) };
    } finally {
      this.#open--;
      timer.cancel();
    }
  }

  async #chat(
    tokenizer: Tokenizer,
    model: string,
    ask: ChatAsk,
    keys: readonly string[],
    bytes: number,
  ): Promise<Uint32Array> {
    const whole = (): Promise<Uint32Array> => tokenizer.tokenize(model, chatRequest(model, ask, ask.messages, true));
    const before = bytes < longChatBytes ? null : this.#turnsBefore(ask, keys);
    if (before === null) return await whole();
    const template = this.#templateOf(keys[0] ?? "");
    if (template.broken) return await whole();
    const pieces = this.#piecewise(tokenizer, model, ask, before, template);
    if (template.agreements >= neededAgreements) {
      const tokens = await pieces;
      if (tokens === null) return await whole();
      this.piecewise++;
      // the request goes on; the template is put to the test now and then
      if (++template.unverified >= verifyEvery) {
        template.unverified = 0;
        void whole().then(
          (right) => judge(template, tokens, right),
          () => undefined,
        );
      }
      return tokens;
    }
    void pieces.catch(() => undefined);
    const right = await whole();
    void pieces.then(
      (tokens) => judge(template, tokens, right),
      () => undefined,
    );
    return right;
  }

  /** The longest beginning of the conversation that was read already, with the turn from which on its rest can stand alone. */
  #turnsBefore(ask: ChatAsk, keys: readonly string[]): TurnsBefore | null {
    if (!ask.addGenerationPrompt || ask.continueFinalMessage) return null;
    if (ask.messages.some((message) => turnDependent.some((text) => message.includes(text)))) return null;
    for (let count = ask.messages.length - 1; count > 0; count--) {
      const tokens = this.#cache.get(keys[count] ?? "");
      if (tokens === undefined) continue;
      for (let from = count - 1; from >= 0; from--) {
        if (roleOf(ask.messages[from]) === "user") return { count, from, tokens };
      }
      return null;
    }
    return null;
  }

  /** null = the template does not write turns one behind another. */
  async #piecewise(
    tokenizer: Tokenizer,
    model: string,
    ask: ChatAsk,
    { count, from, tokens }: TurnsBefore,
    template: Template,
  ): Promise<Uint32Array | null> {
    const part = (end: number, opened: boolean): Promise<Uint32Array> =>
      tokenizer.tokenize(model, chatRequest(model, ask, ask.messages.slice(from, end), opened));
    const [known, further, opened] = await Promise.all([
      part(count, false),
      part(ask.messages.length, true),
      template.opening === null ? part(count, true) : null,
    ]);
    if (opened !== null) template.opening = startsWith(opened, known) ? opened.slice(known.length) : null;
    const { opening } = template;
    // what was read for the turns before ends with the opening of an answer, which is not there any more
    if (opening === null || !startsWith(further, known) || !endsWith(tokens, opening)) {
      template.broken = true;
      return null;
    }
    const result = new Uint32Array(tokens.length - opening.length + further.length - known.length);
    result.set(tokens.subarray(0, tokens.length - opening.length));
    result.set(further.subarray(known.length), tokens.length - opening.length);
    return result;
  }

  #templateOf(key: string): Template {
    let template = this.#templates.get(key);
    if (template === undefined) {
      template = { agreements: 0, unverified: 0, broken: false, opening: null };
      if (this.#templates.size >= maxTemplates) this.#templates.clear();
      this.#templates.set(key, template);
    }
    return template;
  }
}

interface TurnsBefore {
  /** Messages in it. */
  readonly count: number;
  /** The question that began its last turn. */
  readonly from: number;
  readonly tokens: Uint32Array;
}

function judge(template: Template, pieces: Uint32Array | null, whole: Uint32Array): void {
  if (pieces !== null && pieces.length === whole.length && startsWith(pieces, whole)) template.agreements++;
  else template.broken = true;
}

function startsWith(tokens: Uint32Array, start: Uint32Array): boolean {
  return tokens.length >= start.length && start.every((token, at) => tokens[at] === token);
}

function endsWith(tokens: Uint32Array, end: Uint32Array): boolean {
  return tokens.length >= end.length && end.every((token, at) => tokens[tokens.length - end.length + at] === token);
}

function roleOf(message: Buffer | undefined): unknown {
  try {
    const value: unknown = JSON.parse(message?.toString("utf8") ?? "");
    return typeof value === "object" && value !== null && "role" in value ? value.role : null;
  } catch {
    return null;
  }
}

/** Digests of the template with its arguments, and of each beginning of the conversation; of a text, only of the whole. */
function keysOf(model: string, ask: Extract<TokenizeAsk, { kind: "text" }> | ChatAsk): string[] {
  const head = createHash("sha256").update(JSON.stringify([model, ask.kind, ask.addSpecialTokens]));
  if (ask.kind === "text") return [head.update(ask.prompt).digest("base64url")];
  head.update(JSON.stringify([ask.addGenerationPrompt, ask.continueFinalMessage]));
  for (const part of [ask.tools, ask.chatTemplate, ask.templateArguments]) {
    head.update(`\n${part?.length ?? -1}\n`);
    if (part !== null) head.update(part);
  }
  const keys = [head.digest("base64url")];
  for (const message of ask.messages) {
    const before = keys.at(-1) ?? "";
    keys.push(createHash("sha256").update(before).update(message).digest("base64url"));
  }
  return keys;
}

function textRequest(model: string, prompt: Buffer, addSpecialTokens: boolean | null): string {
  const special = addSpecialTokens === null ? "" : `,"add_special_tokens":${addSpecialTokens}`;
  return `{"model":${JSON.stringify(model)},"prompt":${prompt.toString("utf8")}${special}}`;
}

/** @param opened the template opens the answer behind the last message */
function chatRequest(model: string, ask: ChatAsk, messages: readonly Buffer[], opened: boolean): string {
  const parts = [
    `"model":${JSON.stringify(model)}`,
    `"messages":[${messages.map((message) => message.toString("utf8")).join(",")}]`,
    `"add_generation_prompt":${opened && ask.addGenerationPrompt && !ask.continueFinalMessage}`,
    `"continue_final_message":${ask.continueFinalMessage}`,
  ];
  if (ask.tools !== null) parts.push(`"tools":${ask.tools.toString("utf8")}`);
  if (ask.chatTemplate !== null) parts.push(`"chat_template":${ask.chatTemplate.toString("utf8")}`);
  if (ask.templateArguments !== null) parts.push(`"chat_template_kwargs":${ask.templateArguments.toString("utf8")}`);
  if (ask.addSpecialTokens !== null) parts.push(`"add_special_tokens":${ask.addSpecialTokens}`);
  return `{${parts.join(",")}}`;
}
