// A model's own tokenizer and chat template, in a thread of its own: a long prompt takes many milliseconds, in which nothing
// may be held up. Started by `local-tokenizer.ts`; it answers the JSON of `/tokenize` requests, one after another.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import type * as Jinja from "@huggingface/jinja";
import type { FromWorker, ToWorker } from "./local-tokenizer.ts";

type JsonObject = Readonly<Record<string, unknown>>;

/** What is used of @huggingface/tokenizers, whose own declarations do not resolve under Node's rules. */
interface Encoder {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] };
}

interface TokenizersPackage {
  readonly Tokenizer: new (definition: object, config: object) => Encoder;
}

interface AddedToken {
  readonly content: string;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly single_word?: boolean;
  readonly normalized?: boolean;
}

/** Texts between special tokens that are kept with their tokens. */
const maxKeptBytes = 64 * 1024 * 1024;
const leastKeptLength = 256;

class ModelTokenizer {
  readonly #encoder: Encoder;
  readonly #render: ((variables: JsonObject) => string) | null;
  readonly #named: JsonObject;
  /** Where a text may be cut, since a tokenizer reads what is before and behind apart. */
  readonly #cut: RegExp | null;
  readonly #kept = new Map<string, Uint32Array>();
  #keptBytes = 0;

  private constructor(
    encoder: Encoder,
    render: ((variables: JsonObject) => string) | null,
    named: JsonObject,
    cut: RegExp | null,
  ) {
    this.#encoder = encoder;
    this.#render = render;
    this.#named = named;
    this.#cut = cut;
  }

  static async load(folder: string): Promise<ModelTokenizer> {
    const definition = readJson(join(folder, "tokenizer.json"));
    if (definition === null) throw new Error(`${folder} holds no tokenizer.json: give the folder of a model`);
    const config = readJson(join(folder, "tokenizer_config.json")) ?? {};
    const [{ Tokenizer }, { Template }] = await loadPackages();
    const encoder = new Tokenizer(definition, config);
    const source = templateOf(folder, config);
    const template = source === null ? null : new Template(source);
    const cut = safeCut(definition, encoder);
    return new ModelTokenizer(
      encoder,
      template === null ? null : (variables) => template.render(variables),
      namedTokens(config),
      cut,
    );
  }

  tokens(request: JsonObject): Uint32Array {
    const { prompt, add_special_tokens: special } = request;
    if (typeof prompt === "string")
      return Uint32Array.from(this.#encoder.encode(prompt, { add_special_tokens: special !== false }).ids);
    if (request["chat_template"] !== undefined) throw new Error("the request brings a chat template of its own");
    if (this.#render === null) throw new Error("the model has no chat template");
    const { messages, tools, chat_template_kwargs: more, add_generation_prompt } = request;
    if (request["continue_final_message"] === true)
      throw new Error("an answer that is to go on needs the engine's own tokenizer");
    const text = this.#render({
      ...this.#named,
      ...(more as JsonObject | undefined),
      messages: (messages as readonly JsonObject[]).map(plainMessage),
      tools: tools ?? null,
      add_generation_prompt,
    });
    return special === true
      ? Uint32Array.from(this.#encoder.encode(text, { add_special_tokens: true }).ids)
      : this.#pieces(text);
  }

  /** Of a conversation only what is new is encoded. */
  #pieces(text: string): Uint32Array {
    if (this.#cut === null) return this.#encode(text);
    const parts = text
      .split(this.#cut)
      .filter((part) => part !== "")
      .map((part) => this.#piece(part));
    const tokens = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      tokens.set(part, at);
      at += part.length;
    }
    return tokens;
  }

  #piece(text: string): Uint32Array {
    if (text.length < leastKeptLength) return this.#encode(text);
    const known = this.#kept.get(text);
    if (known !== undefined) {
      this.#kept.delete(text);
      this.#kept.set(text, known);
      return known;
    }
    const tokens = this.#encode(text);
    this.#kept.set(text, tokens);
    this.#keptBytes += 2 * text.length + tokens.byteLength;
    for (const [oldest, { byteLength }] of this.#kept) {
      if (this.#keptBytes <= maxKeptBytes) break;
      this.#kept.delete(oldest);
      this.#keptBytes -= 2 * oldest.length + byteLength;
    }
    return tokens;
  }

  #encode(text: string): Uint32Array {
    return Uint32Array.from(this.#encoder.encode(text, { add_special_tokens: false }).ids);
  }
}

/** As vLLM hands messages to a template: parts of text as one text, arguments of calls as objects. */
function plainMessage(message: JsonObject): JsonObject {
  const { content, tool_calls: calls } = message;
  const text = Array.isArray(content)
    ? (content as readonly (JsonObject | string)[])
        .map((part) => (typeof part === "string" ? part : String(part["text"] ?? "")))
        .join("\n")
    : content;
  if (!Array.isArray(calls)) return { ...message, content: text };
  return { ...message, content: text, tool_calls: (calls as readonly JsonObject[]).map(plainCall) };
}

function plainCall(call: JsonObject): JsonObject {
  const named = call["function"] as JsonObject | undefined;
  const given = named?.["arguments"];
  if (named === undefined || typeof given !== "string") return call;
  const parsed: unknown = given === "" ? {} : JSON.parse(given);
  return { ...call, function: { ...named, arguments: parsed } };
}

function readJson(path: string): JsonObject | null {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as JsonObject) : null;
}

function templateOf(folder: string, config: JsonObject): string | null {
  const file = join(folder, "chat_template.jinja");
  if (existsSync(file)) return readFileSync(file, "utf8");
  const given = config["chat_template"];
  if (typeof given === "string") return given;
  if (!Array.isArray(given)) return null;
  const named = (given as readonly JsonObject[]).find((one) => one["name"] === "default");
  return typeof named?.["template"] === "string" ? named["template"] : null;
}

/** Texts of `bos_token` and the like, which templates write. */
function namedTokens(config: JsonObject): JsonObject {
  const found: Record<string, unknown> = {};
  for (const name of ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token"]) {
    const token = config[name];
    if (typeof token === "string") found[name] = token;
    else if (typeof token === "object" && token !== null && "content" in token) found[name] = token.content;
  }
  return found;
}

/** null = this tokenizer reads a text otherwise when it is cut. */
function safeCut(definition: JsonObject, encoder: Encoder): RegExp | null {
  const added = (definition["added_tokens"] ?? []) as readonly AddedToken[];
  const plain = added.filter(
    (token) =>
      token.lstrip !== true && token.rstrip !== true && token.single_word !== true && token.normalized !== true,
  );
  const contents = plain.map((token) => token.content).toSorted((a, b) => b.length - a.length);
  const [first] = contents;
  if (first === undefined) return null;
  const cut = new RegExp(
    `(${contents.map((text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join("|")})`,
  );
  const sample = `${first}user\nTwo  words, ünd more.${first}\n${first} assistant\n\n`;
  const ids = (text: string): readonly number[] => encoder.encode(text, { add_special_tokens: false }).ids;
  const pieces = sample
    .split(cut)
    .filter((part) => part !== "")
    .flatMap((part) => Array.from(ids(part)));
  return JSON.stringify(pieces) === JSON.stringify(Array.from(ids(sample))) ? cut : null;
}

async function loadPackages(): Promise<[TokenizersPackage, typeof Jinja]> {
  try {
    return await Promise.all([
      import("@huggingface/tokenizers") as Promise<TokenizersPackage>,
      import("@huggingface/jinja"),
    ]);
  } catch (error) {
    const missing =
      "the optional packages @huggingface/tokenizers and @huggingface/jinja are missing; npm install adds them";
    throw new Error(missing, { cause: error });
  }
}

const { folder } = workerData as { readonly folder: string };
const send = (message: FromWorker, transfer: ArrayBuffer[] = []): void => parentPort?.postMessage(message, transfer);
const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

try {
  const tokenizer = await ModelTokenizer.load(folder);
  parentPort?.on("message", ({ id, request }: ToWorker) => {
    try {
      const tokens = tokenizer.tokens(JSON.parse(request) as JsonObject);
      // those that are kept are not given away
      send({ id, tokens: tokens.slice() });
    } catch (error) {
      send({ id, problem: wordsOf(error) });
    }
  });
  send({ ready: true });
} catch (error) {
  send({ ready: false, problem: wordsOf(error) });
}
