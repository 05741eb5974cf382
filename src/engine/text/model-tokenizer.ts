// A model's own tokenizer from its `tokenizer.json`, and its chat template where it has one, by the optional packages
// @huggingface/tokenizers and @huggingface/jinja. Loaded once, before the server listens. It must never be needed: without a path the built-in approximation is used.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ChatTemplate, Vocabulary } from "./vocabulary.ts";

/**
 * Reads `tokenizer.json`, and `tokenizer_config.json` when there is one, from a model's folder. Rejects with what to do
 * when the package or a file is missing.
 */
export async function loadModelTokenizer(folder: string): Promise<Vocabulary> {
  const definition = readJson(join(folder, "tokenizer.json"));
  if (definition === null) throw new Error(`${folder} holds no tokenizer.json; give the folder of a model`);
  const config = readJson(join(folder, "tokenizer_config.json")) ?? {};
  const { Tokenizer: Implementation } = await loadPackage<Package>(
    "tokenizers",
    () => import("@huggingface/tokenizers"),
  );
  const template = await loadTemplate(folder, config);
  return new ModelVocabulary(new Implementation(definition, config), definition, config, template);
}

interface Package {
  readonly Tokenizer: new (definition: object, config: object) => Tokenizer;
}

/** The template stands in a file of its own, or in the configuration: alone, or by name with others. */
async function loadTemplate(folder: string, config: Readonly<Record<string, unknown>>): Promise<ChatTemplate | null> {
  const text = readText(join(folder, "chat_template.jinja")) ?? templateOf(config["chat_template"]);
  if (text === null) return null;
  const { Template } = await loadPackage("jinja", () => import("@huggingface/jinja"));
  const compiled = new Template(text);
  const special: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "pad_token", "unk_token"]) special[name] = tokenText(config[name]);
  return { render: (variables) => compiled.render({ ...special, ...variables }) };
}

function templateOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return null;
  const named = value as readonly { readonly name?: unknown; readonly template?: unknown }[];
  const template = named.find(({ name }) => name === "default")?.template;
  return typeof template === "string" ? template : null;
}

/** Special tokens are given by their text, or as an object with it. */
function tokenText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null || !("content" in value)) return "";
  return typeof value.content === "string" ? value.content : "";
}

/** What is used of the package, whose own declarations do not resolve under Node's rules. */
interface Tokenizer {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] };
  decode(ids: number[], options: { readonly skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly special: boolean }>;
}

async function loadPackage<Loaded>(name: string, load: () => Promise<Loaded>): Promise<Loaded> {
  try {
    return await load();
  } catch (error) {
    const message = `a model's tokenizer needs the optional package; install it with npm i @huggingface/${name}`;
    throw new Error(message, { cause: error });
  }
}

function readJson(path: string): Readonly<Record<string, unknown>> | null {
  const text = readText(path);
  const value: unknown = text === null ? null : JSON.parse(text);
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** Characters that are not whole yet; a longer run of them is what the model meant. */
const longestCharacter = 8;

class ModelVocabulary implements Vocabulary {
  readonly size: number;
  readonly endOfSequence: number;
  readonly messageStart: number | null;
  readonly chatTemplate: ChatTemplate | null;
  readonly #tokenizer: Tokenizer;
  readonly #special: ReadonlySet<number>;

  constructor(
    tokenizer: Tokenizer,
    definition: Readonly<Record<string, unknown>>,
    config: Readonly<Record<string, unknown>>,
    chatTemplate: ChatTemplate | null,
  ) {
    this.#tokenizer = tokenizer;
    this.chatTemplate = chatTemplate;
    const added = [...tokenizer.get_added_tokens_decoder()];
    this.#special = new Set(added.filter(([, token]) => token.special).map(([id]) => id));
    const { vocab } = (definition["model"] ?? {}) as { vocab?: object };
    const ids = vocab === undefined ? [] : Object.values(vocab).filter((id): id is number => typeof id === "number");
    this.size = Math.max(ids.length, ...added.map(([id]) => id)) + 1;
    const named = config["eos_token"];
    const wanted = ["<|im_end|>", "<|eot_id|>", typeof named === "string" ? named : "", "</s>", "<|endoftext|>"];
    const found = wanted.map((token) => tokenizer.token_to_id(token)).find((id) => id !== undefined);
    this.endOfSequence = found ?? this.size - 1;
    this.messageStart = tokenizer.token_to_id("<|im_start|>") ?? null;
  }

  encode(text: string, bare = false): number[] {
    return Array.from(this.#tokenizer.encode(text, { add_special_tokens: !bare }).ids);
  }

  decode(ids: readonly number[]): string {
    return ids.length === 0 ? "" : this.#tokenizer.decode(Array.from(ids), { skip_special_tokens: true });
  }

  textOf(id: number): string {
    return this.#special.has(id) ? (this.#tokenizer.id_to_token(id) ?? "") : this.decode([id]);
  }

  spell(id: number): string {
    return this.#tokenizer.id_to_token(id) ?? "";
  }

  /** As vLLM: text is held back until it is whole, and one token before it keeps spaces where they belong. */
  decoder(): { push(id: number): string } {
    let before: number[] = [];
    let pending: number[] = [];
    return {
      push: (id) => {
        if (this.#special.has(id)) return "";
        pending.push(id);
        const text = this.decode([...before, ...pending]);
        if (text.endsWith("\ufffd") && pending.length < longestCharacter) return "";
        const shown = text.slice(this.decode(before).length);
        before = [id];
        pending = [];
        return shown;
      },
    };
  }
}
