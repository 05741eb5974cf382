// Asks the engine that is to go on what it makes of that: how many tokens there are by its own count, and whether its chat
// template puts the piece of the answer right behind the prompt that was answered. What it can't confirm is not tried.
import { askEngine } from "../../fleet/engine-client.ts";
import type { Clock } from "../../clock.ts";
import type { Endpoint } from "../../fleet/endpoint.ts";
import { isRecord } from "../../api/json-values.ts";
import type { KeptStream, ToldTokens } from "./kept-stream.ts";
import { continuationBody, tokenizeBody, type Question } from "./question.ts";

/** `continue`: send this body. `over`: the answer had all its tokens. `no`: it can't be gone on with, here or anywhere. */
export type Prepared =
  | { readonly kind: "continue"; readonly body: string; readonly before: ToldTokens | null }
  | { readonly kind: "over"; readonly before: ToldTokens }
  | { readonly kind: "no" };

export interface EngineQuestions {
  readonly endpoint: Endpoint;
  readonly key: string | null;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Of the request whose answer goes on. */
  readonly requestId: string;
}

const no: Prepared = { kind: "no" };

/** @throws Error when the engine can't be reached: another one may do */
export async function prepare(question: Question, kept: KeptStream, engine: EngineQuestions): Promise<Prepared> {
  const begun = kept.text;
  // nothing but a role has been said: the same question once more
  if (begun === "" && kept.tokenIds.length === 0) {
    const before = { prompt: kept.told?.prompt ?? 0, completion: 0 };
    const body = continuationBody(question, "", null);
    if (kept.told !== null || !question.countsUsage) return { kind: "continue", body, before: kept.told && before };
    const prompt = await countPrompt(question, engine);
    return prompt === null ? no : { kind: "continue", body, before: { prompt, completion: 0 } };
  }
  if (question.wantsTokenIds) {
    // ids of tokens whose text was held back have left already: such a text has no seam
    if ((await detokenize(question, kept.tokenIds, engine)) !== begun) return no;
  }
  return question.api === "chat"
    ? prepareChat(question, kept, begun, engine)
    : prepareText(question, kept, begun, engine);
}

/** Tokens of a whole answer, for one that has ended but for its count. */
export async function countAnswer(
  question: Question,
  kept: KeptStream,
  engine: EngineQuestions,
): Promise<ToldTokens | null> {
  const told = toldTokens(question, kept);
  if (told !== null) return told;
  const stop = kept.finish?.reason === "stop" ? kept.finish.stopReason : undefined;
  // what ended it was generated too, though it may not be in the text
  const said = kept.text + (typeof stop === "string" && !question.includesStop ? stop : "");
  const end = stop === null || isNumber(stop) ? 1 : 0;
  const prompt = await countPrompt(question, engine);
  const answer = said === "" ? [] : await tokenizePiece(question, said, engine);
  if (prompt === null || answer === null) return null;
  return { prompt, completion: answer.length + end };
}

async function prepareText(
  question: Question,
  kept: KeptStream,
  begun: string,
  engine: EngineQuestions,
): Promise<Prepared> {
  const { prompt } = question;
  const known = toldBefore(question, kept);
  const promptIds = kept.promptTokenIds ?? (typeof prompt === "string" ? null : prompt);
  if (question.wantsTokenIds && promptIds !== null) {
    return limited(question, toldTokens(question, kept), { promptIds, ids: kept.tokenIds }, true);
  }
  if (typeof prompt !== "string") {
    const ids = await tokenizePiece(question, begun, engine);
    if (ids === null) return no;
    const before = known ?? { prompt: prompt?.length ?? 0, completion: ids.length };
    return limited(question, before, { promptIds: prompt ?? [], ids }, known !== null);
  }
  if (known !== null) return limited(question, known, begun, true);
  if (question.maxTokens === null && !question.countsUsage) return limited(question, null, begun, false);
  const [alone, together] = await Promise.all([
    tokenize(tokenizeBody(question, ""), engine),
    tokenize(tokenizeBody(question, begun), engine),
  ]);
  if (alone === null || together === null) return no;
  const completion = Math.max(1, together.length - alone.length);
  return limited(question, { prompt: alone.length, completion }, begun, false);
}

async function prepareChat(
  question: Question,
  kept: KeptStream,
  begun: string,
  engine: EngineQuestions,
): Promise<Prepared> {
  const [alone, together] = await Promise.all([
    tokenize(tokenizeBody(question, ""), engine),
    tokenize(tokenizeBody(question, begun), engine),
  ]);
  if (alone === null || together === null) return no;
  // the first letters of the answer may have become one token with what stands before: two are given away for that
  const shared = sharedLength(alone, together);
  if (shared < alone.length - 2) return no;
  const [wholePrompt, whole] = await Promise.all([
    detokenize(question, alone.slice(shared), engine),
    detokenize(question, together.slice(shared), engine),
  ]);
  if (wholePrompt === null || whole === null || !isSame(whole, wholePrompt + begun)) return no;
  const counted = { prompt: alone.length, completion: Math.max(1, together.length - alone.length) };
  const known = toldBefore(question, kept);
  return limited(question, known ?? counted, begun, known !== null);
}

/** Blanks at the beginning may be lost in a template, or in how a tokenizer spells the first word. */
function isSame(rendered: string, wanted: string): boolean {
  return rendered === wanted || rendered.trimStart() === wanted.trimStart();
}

function sharedLength(a: readonly number[], b: readonly number[]): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}

/** @param told the stream itself has counted, which is exact; else the text was, which may be a token or two off */
function limited(
  question: Question,
  before: ToldTokens | null,
  begun: Parameters<typeof continuationBody>[1],
  told: boolean,
): Prepared {
  const { maxTokens } = question;
  const left = maxTokens === null || before === null ? null : maxTokens - before.completion;
  if (told && left !== null && left <= 0 && before !== null) return { kind: "over", before };
  return {
    kind: "continue",
    body: continuationBody(question, begun, left === null ? null : Math.max(1, left)),
    before,
  };
}

/** Where the stream itself has counted what the client has: not tokens that an engine held back for a stop string. */
function toldBefore(question: Question, kept: KeptStream): ToldTokens | null {
  return question.stops.length > 0 && !question.includesStop ? null : toldTokens(question, kept);
}

function toldTokens(question: Question, kept: KeptStream): ToldTokens | null {
  if (kept.told !== null) return kept.told;
  if (!question.wantsTokenIds) return null;
  const prompt = kept.promptTokenIds?.length ?? (typeof question.prompt === "string" ? null : question.prompt?.length);
  return isNumber(prompt) ? { prompt, completion: kept.tokenIds.length } : null;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

async function countPrompt(question: Question, engine: EngineQuestions): Promise<number | null> {
  if (question.prompt !== null && typeof question.prompt !== "string") return question.prompt.length;
  return (await tokenize(tokenizeBody(question, ""), engine))?.length ?? null;
}

function tokenizePiece(question: Question, text: string, engine: EngineQuestions): Promise<number[] | null> {
  return tokenize(JSON.stringify({ model: question.model, prompt: text, add_special_tokens: false }), engine);
}

async function tokenize(body: string, engine: EngineQuestions): Promise<number[] | null> {
  const answer = await ask("/tokenize", body, engine);
  const tokens = isRecord(answer) ? answer["tokens"] : null;
  return Array.isArray(tokens) && tokens.every(isNumber) ? tokens : null;
}

async function detokenize(
  question: Question,
  tokens: readonly number[],
  engine: EngineQuestions,
): Promise<string | null> {
  if (tokens.length === 0) return "";
  const answer = await ask("/detokenize", JSON.stringify({ model: question.model, tokens }), engine);
  const text = isRecord(answer) ? answer["prompt"] : null;
  return typeof text === "string" ? text : null;
}

/** @returns null when the engine has another answer than the one that was asked for */
async function ask(path: string, body: string, engine: EngineQuestions): Promise<unknown> {
  const { endpoint, key, timeoutMs, clock, requestId } = engine;
  const answer = await askEngine(endpoint, "POST", path, body, key, timeoutMs, clock, { requestId });
  if (answer.status >= 500) throw new Error(`${path} answered ${answer.status}`);
  if (answer.status !== 200) return null;
  try {
    return JSON.parse(answer.body.toString("utf8"));
  } catch {
    return null;
  }
}
