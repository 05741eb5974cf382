// A model's own tokenizer from its `tokenizer.json`, by the optional package @huggingface/tokenizers. Loaded once, before
// the server listens. It must never be needed: without a path the built-in approximation is used.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Vocabulary } from "./vocabulary.ts";

/**
 * Reads `tokenizer.json`, and `tokenizer_config.json` when there is one, from a model's folder. Rejects with what to do
 * when the package or a file is missing.
 */
export async function loadModelTokenizer(folder: string): Promise<Vocabulary> {
  const definition = readJson(join(folder, "tokenizer.json"));
  if (definition === null) throw new Error(`${folder} holds no tokenizer.json; give the folder of a model`);
  const config = readJson(join(folder, "tokenizer_config.json")) ?? {};
  const { Tokenizer: Implementation } = await loadPackage();
  return new ModelVocabulary(new Implementation(definition, config), definition, config);
}

/** What is used of the package, whose own declarations do not resolve under Node's rules. */
interface Tokenizer {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] };
  decode(ids: number[], options: { readonly skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly special: boolean }>;
}

interface Package {
  readonly Tokenizer: new (definition: object, config: object) => Tokenizer;
}

async function loadPackage(): Promise<Package> {
  try {
    return await import("@huggingface/tokenizers");
  } catch (error) {
    const message = "a model's tokenizer needs the optional package; install it with npm i @huggingface/tokenizers";
    throw new Error(message, { cause: error });
  }
}

function readJson(path: string): Readonly<Record<string, unknown>> | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return null;
  }
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
}

/** Characters that are not whole yet; a longer run of them is what the model meant. */
const longestCharacter = 8;

class ModelVocabulary implements Vocabulary {
  readonly size: number;
  readonly endOfSequence: number;
  readonly messageStart: number | null;
  readonly #tokenizer: Tokenizer;
  readonly #special: ReadonlySet<number>;

  constructor(
    tokenizer: Tokenizer,
    definition: Readonly<Record<string, unknown>>,
    config: Readonly<Record<string, unknown>>,
  ) {
    this.#tokenizer = tokenizer;
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
