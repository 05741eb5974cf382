// Embeddings, rerank and score: routes that compute and do not generate. Unrecorded (the recorded server had a
// generating model), built from vLLM's documentation. Values are made up, but the same text always has the same ones.

import { Random, textHash } from "../core/index.ts";
import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import { badParameter, badRequest, engineDead, unknownModel } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { checkCharacters, checkPrompts, checkQueue, Generation } from "./generation.ts";
import type { Prompt } from "./generation.ts";
import type { Sampling } from "./sampling.ts";
import { FieldReader, isObject } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

const defaultDimensions = 384;

export function embeddings(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("input");
  const model = readModel(app, reader);
  const dimensions = reader.integer("dimensions") ?? defaultDimensions;
  const format = reader.string("encoding_format") ?? "float";
  reader.check();
  if (dimensions < 1) throw badParameter(`dimensions must be at least 1, got ${dimensions}.`, "dimensions");
  if (format !== "float" && format !== "base64") {
    throw badParameter("encoding_format must be 'float' or 'base64'", "encoding_format", format);
  }
  const prompts = readTexts(app, body["input"]);
  compute(app, exchange, model, prompts, () => {
    const tokens = countTokens(prompts);
    exchange.json(200, {
      id: `embd-${randomHex(16)}`,
      object: "list",
      created: app.createdSeconds(),
      model,
      data: prompts.map((prompt, index) => {
        const vector = embed(prompt.text, dimensions);
        const bytes = new Float32Array(vector);
        const embedding = format === "base64" ? Buffer.from(bytes.buffer).toString("base64") : vector;
        return { index, object: "embedding", embedding };
      }),
      usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
    });
  });
}

export function rerank(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("query");
  reader.require("documents");
  const model = readModel(app, reader);
  const query = reader.string("query") ?? "";
  const documents = reader.list("documents").map(documentText);
  const topN = reader.integer("top_n") ?? documents.length;
  reader.check();
  const prompts = documents.map((document) => toPrompt(app, `${query}\n${document}`));
  compute(app, exchange, model, prompts, () => {
    const tokens = countTokens(prompts);
    const results = documents
      .map((text, index) => ({ index, document: { text, multi_modal: null }, relevance_score: relevance(query, text) }))
      .toSorted((a, b) => b.relevance_score - a.relevance_score)
      .slice(0, topN > 0 ? topN : documents.length);
    exchange.json(200, {
      id: `rerank-${randomHex(16)}`,
      model,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
      results,
    });
  });
}

export function score(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  const model = readModel(app, reader);
  reader.check();
  const first = texts(body["text_1"] ?? body["queries"]);
  const second = texts(body["text_2"] ?? body["documents"]);
  if (first.length === 0 || second.length === 0) throw badRequest("text_1 and text_2 must be given and non-empty");
  if (first.length !== 1 && first.length !== second.length)
    throw badRequest("Input lengths must be either 1:1, 1:N or N:N");
  const pairs = second.map((text, at) => [first.length === 1 ? (first[0] ?? "") : (first[at] ?? ""), text] as const);
  const prompts = pairs.map(([a, b]) => toPrompt(app, `${a}\n${b}`));
  compute(app, exchange, model, prompts, () => {
    const tokens = countTokens(prompts);
    exchange.json(200, {
      id: `score-${randomHex(16)}`,
      object: "list",
      created: app.createdSeconds(),
      model,
      data: pairs.map(([a, b], index) => ({ index, object: "score", score: relevance(a, b) })),
      usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
    });
  });
}

/** The vectors that embeddings are made of, under the name that pooling models use. */
export function pooling(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("input");
  const model = readModel(app, reader);
  reader.check();
  const prompts = readTexts(app, body["input"]);
  compute(app, exchange, model, prompts, () => {
    const tokens = countTokens(prompts);
    exchange.json(200, {
      id: `pool-${randomHex(16)}`,
      object: "list",
      created: app.createdSeconds(),
      model,
      data: prompts.map((prompt, index) => ({ index, object: "pooling", data: embed(prompt.text, defaultDimensions) })),
      usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
    });
  });
}

/** Two classes; which one a text belongs to is made up, and stable. */
export function classify(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("input");
  const model = readModel(app, reader);
  reader.check();
  const prompts = readTexts(app, body["input"]);
  compute(app, exchange, model, prompts, () => {
    const tokens = countTokens(prompts);
    exchange.json(200, {
      id: `classify-${randomHex(16)}`,
      object: "list",
      created: app.createdSeconds(),
      model,
      data: prompts.map((prompt, index) => {
        const second = new Random(textHash(prompt.text)).unit();
        return { index, label: `LABEL_${second > 0.5 ? 1 : 0}`, probs: [1 - second, second], num_classes: 2 };
      }),
      usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
    });
  });
}

/** Sends the prompts through the engine, so that they cost time and blocks, and calls back when all are computed. */
export function compute(
  app: EngineApp,
  exchange: Exchange,
  model: string,
  prompts: readonly Prompt[],
  finished: () => void,
): void {
  checkPrompts(app, prompts);
  checkQueue(app);
  const sampling: Sampling = {
    model,
    n: 1,
    maxTokens: 1,
    minTokens: 0,
    ignoreEos: true,
    stop: [],
    stopTokenIds: [],
    includeStop: false,
    seed: 0,
    priority: 0,
    cacheSalt: null,
    kvTransferParams: null,
    stream: false,
    includeUsage: false,
    continuousUsage: false,
    returnTokenIds: false,
    truncatePrompt: null,
    requestId: null,
    forcedToken: null,
  };
  const sink = {
    piece: (): void => undefined,
    done: (_choices: unknown, failed: boolean): void => (failed ? exchange.fail(engineDead()) : finished()),
  };
  new Generation(app, prompts, sampling, sink).start(exchange);
}

export function readModel(app: EngineApp, reader: FieldReader): string {
  const given = reader.string("model");
  const model = given === null || given === "" ? app.model : given;
  if (!app.serves(model)) throw unknownModel(model, app.options.models);
  return model;
}

export function toPrompt(app: EngineApp, text: string): Prompt {
  checkCharacters(app, text);
  return { tokens: app.options.vocabulary.encode(text === "" ? " " : text), text };
}

/** A text, token ids, or a list of either. */
function readTexts(app: EngineApp, input: unknown): Prompt[] {
  const isIds = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id));
  const list: readonly unknown[] = Array.isArray(input) && !isIds(input) ? input : [input];
  if (list.length === 0) throw badRequest("You must pass at least one prompt");
  return list.map((entry) => {
    if (typeof entry === "string") return toPrompt(app, entry);
    if (isIds(entry)) return { tokens: entry, text: app.options.vocabulary.decode(entry) };
    throw badParameter("input must be a string, a list of strings, or token ids", "input");
  });
}

function texts(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value.map(documentText) : [documentText(value)];
}

function documentText(value: unknown): string {
  if (typeof value === "string") return value;
  if (isObject(value) && typeof value["text"] === "string") return value["text"];
  return JSON.stringify(value ?? "");
}

function countTokens(prompts: readonly Prompt[]): number {
  return prompts.reduce((sum, prompt) => sum + prompt.tokens.length, 0);
}

/**
 * A unit vector: the sum of a pseudo-random direction per word, so that texts which share words are close, and a little
 * of the text as a whole.
 */
function embed(text: string, dimensions: number): number[] {
  const vector = Array.from({ length: dimensions }, () => 0);
  const words = text.toLowerCase().match(/\w+/g) ?? [];
  for (const [part, weight] of [...words.map((word) => [word, 1] as const), [text, 0.5] as const]) {
    const random = new Random(textHash(part));
    for (let at = 0; at < dimensions; at++) vector[at] = (vector[at] ?? 0) + weight * (random.unit() * 2 - 1);
  }
  const length = Math.hypot(...vector);
  return vector.map((value) => Math.fround(value / length));
}

/** Between 0 and 1: how many of the query's words the text holds, with a little that tells equal ones apart. */
function relevance(query: string, text: string): number {
  const wanted = new Set(query.toLowerCase().match(/\w+/g) ?? []);
  const have = new Set(text.toLowerCase().match(/\w+/g) ?? []);
  const shared = [...wanted].filter((word) => have.has(word)).length;
  const overlap = wanted.size === 0 ? 0 : shared / wanted.size;
  return 0.05 + 0.85 * overlap + 0.1 * new Random(textHash(`${query}\n${text}`)).unit();
}
