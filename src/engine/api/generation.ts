// Runs the choices of one request through the core and turns tokens into pieces of text. Shared by every generating
// route; the routes only differ in how they word a piece. It must release its sequences on every way out.

import type { EngineCore, SequenceProgress } from "../core/index.ts";
import { cacheKeyOf } from "../kv-events/block-key.ts";
import { Filler } from "../text/filler.ts";
import { StopScanner } from "../text/stop.ts";
import type { Vocabulary } from "../text/vocabulary.ts";
import type { EngineApp } from "./app.ts";
import { ApiError, badRequest, engineDead, promptTooLong, promptTooManyCharacters, queueFull } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { externalTokens } from "./kv-transfer.ts";
import type { Sampling } from "./sampling.ts";
import type { ResolvedOptions } from "../options.ts";

export interface Prompt {
  readonly tokens: readonly number[];
  /** What was tokenized; for echo and for the seed. */
  readonly text: string;
  /** What the answer must be, for structured output; then it ends. */
  readonly script?: string;
  /** The beginning of the answer that the prompt ends with, where a chat says so; for scripts. */
  readonly begun?: string;
}

export interface Finish {
  readonly reason: "stop" | "length" | "abort" | "error";
  /** The matched stop string or token id; null for the end-of-sequence token and for everything else. */
  readonly stopReason: string | number | null;
}

/** One of the texts that a request asked for. */
export class Choice {
  readonly index: number;
  readonly prompt: Prompt;
  readonly scanner: StopScanner;
  readonly decoder: ReturnType<Vocabulary["decoder"]>;
  readonly tokenIds: number[] = [];
  finish: Finish | null = null;
  cachedTokens = 0;
  createdTokens = 0;
  /** KV blocks that it held at its last token. */
  blocks: readonly number[] = [];

  constructor(index: number, prompt: Prompt, scanner: StopScanner, vocabulary: Vocabulary) {
    this.decoder = vocabulary.decoder();
    this.index = index;
    this.prompt = prompt;
    this.scanner = scanner;
  }
}

/** Told about every token of every choice; pieces may be empty. */
export interface GenerationSink {
  /** `token` is null for an end that brought no token. */
  piece(choice: Choice, text: string, token: number | null, finish: Finish | null): void;
  /** All choices have ended. `failed` is true when the engine died under them. */
  done(choices: readonly Choice[], failed: boolean): void;
}

/** Throws what vLLM answers to a prompt that does not fit, before anything is tokenized or streamed. */
export function checkCharacters(app: EngineApp, text: string): void {
  const { maxModelLen } = app.core;
  // What the tokenizer's Python binding says to a lone surrogate.
  if (!text.isWellFormed()) {
    throw badRequest("TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]");
  }
  if (text.length > maxModelLen * 128) throw promptTooManyCharacters(maxModelLen, text.length);
}

export function checkPrompts(app: EngineApp, prompts: readonly Prompt[]): void {
  for (const prompt of prompts)
    if (prompt.tokens.length >= app.core.maxModelLen) throw promptTooLong(app.core.maxModelLen);
}

/**
 * Throws the 503 of a full queue. One limit counts running and waiting sequences, the other the prompts of those that have no
 * first token yet.
 */
export function checkQueue(app: EngineApp): void {
  if (app.dead) throw engineDead();
  if (app.draining) throw new ApiError(500, "InternalServerError", "cannot schedule new futures after shutdown");
  const { maxNumQueuedReqs, maxNumQueuedTokens } = app.options;
  const sum = (value: (core: EngineCore) => number): number =>
    app.ranks.reduce((total, { core }) => total + value(core), 0);
  const full = maxNumQueuedReqs !== null && sum((core) => core.running + core.waiting) >= maxNumQueuedReqs;
  if (full || app.faults.hit("queue_full") !== null) app.rejected.requests++;
  else if (maxNumQueuedTokens !== null && sum((core) => core.queuedTokens) >= maxNumQueuedTokens) app.rejected.tokens++;
  else return;
  throw queueFull();
}

function scriptOf(prompt: Prompt, { text, script }: ResolvedOptions): { script?: string } {
  if (prompt.script !== undefined) return { script: prompt.script };
  const begun = prompt.begun ?? "";
  const asked = begun === "" ? prompt.text : prompt.text.slice(0, -begun.length);
  const line = script.find(({ pattern, tool }) => tool === null && pattern.test(asked));
  const answer = line?.answer ?? (text === "echo" ? asked : null);
  if (answer === null) return {};
  return { script: answer.startsWith(begun) ? answer.slice(begun.length) : answer };
}

export class Generation {
  readonly choices: readonly Choice[];
  readonly #app: EngineApp;
  readonly #sink: GenerationSink;
  readonly #sampling: Sampling;
  readonly #ids: string[] = [];
  readonly #name: string;
  #core: EngineCore;
  #open: number;
  #failed = false;
  readonly #left = new Map<Prompt, number>();
  readonly prompts: readonly Prompt[];

  /** `name` is the request's id as the client sees it; inside it has the number of its prompt behind it. */
  constructor(app: EngineApp, prompts: readonly Prompt[], sampling: Sampling, sink: GenerationSink, name = "") {
    this.#app = app;
    this.#name = name;
    this.#core = app.core;
    this.#sink = sink;
    this.#sampling = sampling;
    const { vocabulary } = app.options;
    const choices: Choice[] = [];
    for (const prompt of prompts) {
      for (let copy = 0; copy < sampling.n; copy++) {
        choices.push(
          new Choice(choices.length, prompt, new StopScanner(sampling.stop, sampling.includeStop), vocabulary),
        );
      }
    }
    this.choices = choices;
    this.prompts = prompts;
    this.#open = choices.length;
  }

  get open(): boolean {
    return this.#open > 0;
  }

  /** Hands all choices to the engine. The client's leaving ends them in the same turn. */
  start(exchange: Exchange): void {
    const app = this.#app;
    exchange.release = () => this.release();
    app.gate.pass(() => {
      if (!this.open) return;
      this.#core = app.pick(exchange.header("x-data-parallel-rank"));
      for (const choice of this.choices) this.#submit(choice);
    });
    const names = this.#name === "" ? [] : this.prompts.map((_, at) => `${this.#name}-${at}`);
    for (const name of names) app.abortable.set(name, this.#abort);
    exchange.response.once("close", () => {
      for (const name of names) if (app.abortable.get(name) === this.#abort) app.abortable.delete(name);
    });
    exchange.onGone(() => {
      if (!this.open) return;
      app.aborted++;
      this.release();
    });
  }

  readonly #abort = (): void => {
    for (const id of this.#ids) this.#core.abort(id, "abort");
  };

  /** Takes what still runs out of the engine without a word to the sink. */
  release(): void {
    this.#open = 0;
    for (const id of this.#ids) this.#core.abort(id, "cancelled");
  }

  #submit(choice: Choice): void {
    const { adapters } = this.#app;
    const core = this.#core;
    const { prompt } = choice;
    const adapter = adapters.has(this.#sampling.model) ? this.#sampling.model : null;
    if (adapter !== null) adapters.move(adapter, null, "waiting");
    const room = core.maxModelLen - prompt.tokens.length;
    const maxTokens = Math.max(1, Math.min(this.#sampling.maxTokens ?? room, room));
    const id = String(this.#app.nextSerial());
    this.#ids.push(id);
    const { cacheSalt } = this.#sampling;
    core.submit(
      {
        id,
        promptTokens: prompt.tokens,
        maxTokens,
        priority: this.#sampling.priority,
        cacheKey: cacheKeyOf(adapters.find(adapter), cacheSalt),
        adapter,
        externalTokens: externalTokens(this.#app, this.#sampling.kvTransferParams, prompt.tokens.length),
        nextToken: this.#source(choice),
      },
      {
        onToken: (token, index, progress) => {
          if (adapter !== null && index === 0) adapters.move(adapter, "waiting", "running");
          return this.#token(choice, token, index + 1, maxTokens, progress);
        },
        onFinish: (result) => {
          if (adapter !== null) adapters.move(adapter, result.generatedTokens === 0 ? "waiting" : "running", null);
          if (result.reason !== "cancelled") this.#promptEnded(choice);
          if (result.reason === "abort" || result.reason === "error") this.#ended(choice, result.reason);
        },
      },
    );
  }

  #source(choice: Choice): () => number {
    const { options } = this.#app;
    const { prompt } = choice;
    const { forcedToken, seed, minTokens, ignoreEos } = this.#sampling;
    if (forcedToken !== null) return () => forcedToken;
    return new Filler({
      prompt: prompt.text,
      requestSeed: seed,
      choice: choice.index,
      serverSeed: options.seed,
      vocabulary: options.vocabulary,
      minTokens,
      // A structured answer is over when its grammar is.
      ignoreEos: ignoreEos && prompt.script === undefined,
      ...scriptOf(prompt, options),
    }).next;
  }

  /** Returns true when the token ends the choice by a stop condition. */
  #token(choice: Choice, token: number, count: number, maxTokens: number, progress: SequenceProgress): boolean {
    if (count === 1) {
      choice.cachedTokens = progress.cachedTokens;
      choice.createdTokens = progress.createdTokens;
    }
    if (this.#sampling.kvTransferParams !== null) choice.blocks = progress.blocks.slice();
    choice.tokenIds.push(token);
    const { scanner } = choice;
    const mayStop = count > this.#sampling.minTokens;
    let finish: Finish | null = null;
    let text: string;
    if (
      token === this.#app.options.vocabulary.endOfSequence &&
      !(this.#sampling.ignoreEos && choice.prompt.script === undefined)
    ) {
      finish = { reason: "stop", stopReason: null };
      text = scanner.rest();
    } else if (mayStop && this.#sampling.stopTokenIds.includes(token)) {
      finish = { reason: "stop", stopReason: token };
      text = scanner.rest();
    } else {
      text = scanner.push(choice.decoder.push(token), mayStop);
      if (scanner.matched !== null) finish = { reason: "stop", stopReason: scanner.matched };
      else if (count >= maxTokens) {
        finish = { reason: "length", stopReason: null };
        text += scanner.rest();
      }
    }
    choice.finish = finish;
    this.#sink.piece(choice, text, token, finish);
    if (finish !== null) this.#closed();
    return finish?.reason === "stop";
  }

  /** The counters of a prompt are written when the last of its choices has ended. */
  #promptEnded(choice: Choice): void {
    const left = (this.#left.get(choice.prompt) ?? this.#sampling.n) - 1;
    this.#left.set(choice.prompt, left);
    if (left > 0) return;
    const own = this.choices.filter(({ prompt }) => prompt === choice.prompt);
    const recorder = this.#app.ranks.find(({ core }) => core === this.#core)?.metrics;
    recorder?.promptDone(own.length, Math.max(...own.map(({ tokenIds }) => tokenIds.length)));
  }

  #ended(choice: Choice, reason: "abort" | "error"): void {
    if (this.#open === 0 || choice.finish !== null) return;
    choice.finish = { reason, stopReason: null };
    if (reason === "error") this.#failed = true;
    else this.#sink.piece(choice, choice.scanner.rest(), null, choice.finish);
    this.#closed();
  }

  #closed(): void {
    if (this.#open === 0) return;
    this.#open--;
    if (this.#open === 0) this.#sink.done(this.choices, this.#failed);
  }
}

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly createdTokens: number;
}

/** Token counts of a whole request; prompts count once however many choices they have. */
export function usageOf(choices: readonly Choice[]): Usage {
  const prompts = new Set(choices.map((choice) => choice.prompt));
  let promptTokens = 0;
  for (const prompt of prompts) promptTokens += prompt.tokens.length;
  return {
    promptTokens,
    completionTokens: choices.reduce((sum, choice) => sum + choice.tokenIds.length, 0),
    cachedTokens: choices[0]?.cachedTokens ?? 0,
    createdTokens: choices[0]?.createdTokens ?? 0,
  };
}
