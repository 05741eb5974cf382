// The parameters that completions, chat and their relatives share: read with pydantic's leniency, checked with vLLM's
// messages. Between a route and `generation`; pure. Shape errors come first, then values, as vLLM orders them.

import { badParameter, badRequest, unknownModel } from "./errors.ts";
import { FieldReader, isObject, pythonFloat, type JsonObject } from "./validation.ts";
import type { EngineApp } from "./app.ts";

export interface Sampling {
  /** As given by the client, for the response; the first served name when it gave none. */
  readonly model: string;
  readonly n: number;
  /** Null fills the context. */
  readonly maxTokens: number | null;
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly stop: readonly string[];
  readonly stopTokenIds: readonly number[];
  readonly includeStop: boolean;
  readonly seed: number;
  readonly priority: number;
  readonly cacheSalt: string | null;
  readonly kvTransferParams: JsonObject | null;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly returnTokenIds: boolean;
  readonly truncatePrompt: number | null;
  readonly requestId: string | null;
  /** A token that a `logit_bias` makes certain; null for none. */
  readonly forcedToken: number | null;
}

export interface SamplingRules {
  /** Names of the limit on generated tokens, the preferred one first. */
  readonly maxTokenFields: readonly string[];
  /** Tokens when no limit is given; null fills the context. */
  readonly defaultMaxTokens: number | null;
  readonly maxModelLen: number;
  /** The prompt is given back, so that an answer of no tokens makes sense. */
  readonly echo?: boolean;
}

/** Reads the shared fields. Call `reader.check()` happens here, after the route has read its own fields. */
export function readSampling(reader: FieldReader, rules: SamplingRules, app: EngineApp): Sampling {
  const { options } = app;
  const model = reader.string("model");
  const maxTokens = readMaxTokens(reader, rules);
  const n = reader.integer("n") ?? 1;
  const temperature = reader.float("temperature");
  const topP = reader.float("top_p");
  const stop = reader.strings("stop");
  const stream = reader.bool("stream", false);
  const streamOptions = reader.object("stream_options");
  const forced = options.enableForceIncludeUsage;
  const usage = streamOptions === null ? forced : new FieldReader(streamOptions).bool("include_usage", false) || forced;
  const continuous =
    forced || (streamOptions !== null && new FieldReader(streamOptions).bool("continuous_usage_stats", false));
  const minTokens = reader.integer("min_tokens") ?? 0;
  const sampling: Sampling = {
    model: model === null || model === "" ? (options.models[0] ?? "") : model,
    n,
    maxTokens,
    minTokens,
    ignoreEos: reader.bool("ignore_eos", false),
    stop: stop.filter((text) => text !== ""),
    stopTokenIds: reader.list("stop_token_ids").map(Number),
    includeStop: reader.bool("include_stop_str_in_output", false),
    seed: reader.integer("seed") ?? 0,
    priority: reader.integer("priority") ?? 0,
    cacheSalt: reader.string("cache_salt"),
    kvTransferParams: reader.object("kv_transfer_params"),
    stream,
    includeUsage: usage,
    continuousUsage: usage && continuous,
    returnTokenIds: reader.bool("return_token_ids", false),
    truncatePrompt: reader.integer("truncate_prompt_tokens"),
    requestId: reader.string("request_id"),
    forcedToken: forcedToken(reader),
  };
  reader.check();
  if (streamOptions !== null && !stream) {
    throw badParameter("Stream options can only be defined when `stream=True`.", "stream_options");
  }
  if (!app.serves(sampling.model)) throw unknownModel(sampling.model, options.models);
  checkValues(sampling, temperature, topP, rules);
  checkLogitBias(reader, options.vocabulary.size);
  return sampling;
}

function readMaxTokens(reader: FieldReader, rules: SamplingRules): number | null {
  for (const field of rules.maxTokenFields) {
    const value = reader.integer(field);
    if (value !== null) return value;
  }
  // An explicit null is not the same as absence: it fills the context.
  const given = rules.maxTokenFields.some((field) => reader.body[field] === null);
  return given ? null : rules.defaultMaxTokens;
}

function checkValues(
  sampling: Sampling,
  temperature: number | null,
  topP: number | null,
  { maxModelLen, echo = false }: SamplingRules,
): void {
  const { n, maxTokens, minTokens } = sampling;
  if (n < 1) throw badRequest(`n must be at least 1, got ${n}.`);
  if (n > 16_384) {
    throw badRequest(
      `n must be at most 16384, got ${n}. To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable.`,
    );
  }
  if (temperature !== null) checkTemperature(temperature);
  if (topP !== null && !(topP > 0 && topP <= 1)) {
    throw badParameter(`top_p must be in (0, 1], got ${pythonFloat(topP)}.`, "top_p", pythonFloat(topP));
  }
  if (maxTokens !== null && maxTokens < (echo ? 0 : 1)) {
    throw badParameter(`max_tokens must be at least 1, got ${maxTokens}.`, "max_tokens", String(maxTokens));
  }
  if (maxTokens !== null && maxTokens > maxModelLen) {
    throw badParameter(
      `max_tokens=${maxTokens} cannot be greater than max_model_len=${maxModelLen}. Please request fewer output tokens.`,
      "max_tokens",
      String(maxTokens),
    );
  }
  if (maxTokens !== null && minTokens > maxTokens) {
    throw badRequest(`min_tokens must be less than or equal to max_tokens=${maxTokens}, got ${minTokens}.`);
  }
}

function checkTemperature(value: number): void {
  if (!Number.isFinite(value)) {
    const shown = Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    throw badParameter(`temperature must be a finite number, got ${shown}.`, "temperature", shown);
  }
  const shown = pythonFloat(value);
  if (value < 0) throw badParameter(`temperature must be non-negative, got ${shown}.`, "temperature", shown);
  if (value > 2) throw badParameter(`temperature must be in [0, 2], got ${shown}.`, "temperature", shown);
}

/** A bias of 100 outweighs any model's opinion. */
function forcedToken(reader: FieldReader): number | null {
  const bias = reader.body["logit_bias"];
  if (!isObject(bias)) return null;
  const certain = Object.entries(bias).find(([, value]) => Number(value) >= 100);
  return certain === undefined ? null : Number(certain[0]);
}

function checkLogitBias(reader: FieldReader, vocabularySize: number): void {
  const bias = reader.body["logit_bias"];
  if (!isObject(bias)) return;
  const outside = Object.keys(bias).filter((id) => Number(id) >= vocabularySize || Number(id) < 0);
  if (outside.length === 0) return;
  const shown = `[${outside.join(", ")}]`;
  throw badParameter(
    `token_id(s) ${shown} in logit_bias contain out-of-vocab token ids. Vocabulary size: ${vocabularySize}`,
    "logit_bias",
    shown,
  );
}
