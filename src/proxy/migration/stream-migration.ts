// A stream that goes on elsewhere when its engine fails: from the interruption to the first event of the next engine, and again
// where that one fails too. In the place of the request it owns the attempts that continue an answer. Whatever it can't do
// soundly ends as every interrupted stream does: with an error frame, and never with an end that looks whole.
import { LmstackError } from "../../errors/catalogue.ts";
import type { Endpoint } from "../../fleet/endpoint.ts";
import type { Exchange } from "../../http/exchange.ts";
import type { ResponseHead } from "../../http/response-parser.ts";
import type { MigrationCause, MigrationResult } from "../../observe/catalogue.ts";
import type { ApiName } from "../../api/table.ts";
import type { Usage } from "../../api/usage.ts";
import type { AttemptFailure } from "../failure.ts";
import type { RouterContext } from "../context.ts";
import { isClientsFault } from "../held-answer.ts";
import type { RelayOwner } from "../relay.ts";
import type { Verdict } from "../request-record.ts";
import type { AttemptOutcome } from "../../observe/catalogue.ts";
import type { Selection } from "../select.ts";
import type { KeptStream } from "./kept-stream.ts";
import { countAnswer, prepare, type EngineQuestions, type Prepared } from "./preparation.ts";
import { readQuestion, type Question } from "./question.ts";
import { lengthEvent, Seam, usageEvent } from "./seam.ts";

/** What a request lends to the migration of its stream. */
export interface MigrationHost {
  readonly ctx: RouterContext;
  readonly exchange: Exchange;
  /** The request's body as it went to the first engine. */
  readonly body: string;
  readonly requestId: string;
  /** The router has asked for the usage of the stream, and the client has not. */
  readonly asksForUsage: boolean;
  /** The request has ended: whatever comes is too late. */
  readonly over: boolean;
  select(tried: readonly Endpoint[], nowMs: number): Selection | null;
  /** Sends a body to an endpoint; its answer goes to `owner`. */
  sendOn(selection: Selection, body: string, seam: Seam, owner: RelayOwner, fresh: boolean): void;
  /** The present attempt has answered. */
  answered(head: ResponseHead, stream: boolean, nowMs: number): void;
  endAttempt(outcome: AttemptOutcome, verdict: Verdict): void;
  /** The answer is whole. */
  completed(): void;
  /** The answer is not whole, and the client is told: in the engine's words where there are some. */
  broken(error: LmstackError, frame: Buffer | null): void;
  connected(startedMs: number): void;
  usage(usage: Usage): void;
  migrated(cause: MigrationCause, result: MigrationResult): void;
}

/** Engines that one answer may outlive. */
const maxMigrations = 16;
/** Of one question to an engine's tokenizer. */
const questionMs = 10_000;

/** Whether a stream could go on elsewhere, as far as it and its request tell. */
export function canGoOn(api: ApiName, body: string, kept: KeptStream, ctx: RouterContext): boolean {
  if (kept.problem !== null || (api !== "completions" && api !== "chat")) return false;
  return readQuestion(api, body, ctx.routing.sessionKey) !== null;
}

export class StreamMigration implements RelayOwner {
  readonly #host: MigrationHost;
  readonly #api: Question["api"];
  readonly #kept: KeptStream;
  #question: Question | null | undefined;
  #hasUsage: boolean;
  #cause: MigrationCause = "reset";
  /** What the client is told when nobody can go on. */
  #error: LmstackError | null = null;
  #frame: Buffer | null = null;
  #tried: Endpoint[] = [];
  #tries = 0;
  #migrations = 0;
  #last: { readonly selection: Selection; readonly body: string; readonly seam: Seam } | null = null;

  /** @param hasUsage an engine has told the router the tokens of the answer */
  constructor(host: MigrationHost, api: Question["api"], kept: KeptStream, hasUsage: boolean) {
    this.#hasUsage = hasUsage;
    this.#host = host;
    this.#api = api;
    this.#kept = kept;
  }

  get exchange(): Exchange {
    return this.#host.exchange;
  }

  /** The engine has failed in mid-answer. `from` is not asked again. */
  start(from: Endpoint, cause: MigrationCause, error: LmstackError, frame: Buffer | null): void {
    this.#cause = cause;
    this.#error = error;
    this.#frame = frame;
    this.#tried = [from];
    this.#tries = 0;
    const { ctx } = this.#host;
    const { problem, finish } = this.#kept;
    if (problem !== null) {
      this.#giveUp(problem);
      return;
    }
    this.#question ??= readQuestion(this.#api, this.#host.body, ctx.routing.sessionKey, this.#host.asksForUsage);
    const question = this.#question;
    if (question === null) this.#giveUp("request");
    else if (++this.#migrations > maxMigrations) this.#giveUp("failed");
    else if (finish !== null && (this.#kept.sawUsage || !this.#lacksUsage(question))) this.#finish([]);
    else if (!ctx.migrationRetries.take(ctx.clock.nowMs(), ctx.active.size)) this.#giveUp("no_retry_budget");
    else this.#goOn(question);
  }

  /** Whether somebody waits for the tokens of an answer that has ended: its client, or the router, which was not told them. */
  #lacksUsage({ wantsUsage, countsUsage }: Question): boolean {
    return wantsUsage || (countsUsage && !this.#hasUsage);
  }

  #goOn(question: Question): void {
    this.#next(question).catch((error: unknown) => {
      if (this.#host.over) return;
      const message = error instanceof Error ? error.message : String(error);
      this.#host.broken(new LmstackError("internal_error", message), null);
    });
  }

  /** Chooses an engine that was not tried, asks it what it makes of the answer so far, and sends the rest of the question. */
  async #next(question: Question): Promise<void> {
    const host = this.#host;
    for (;;) {
      const selection = host.select(this.#tried, host.ctx.clock.nowMs());
      if (selection === null) {
        this.#giveUp(this.#tries === 0 ? "no_endpoint" : "failed");
        return;
      }
      this.#tries++;
      let prepared: Prepared;
      try {
        prepared = await this.#prepare(question, selection.endpoint);
      } catch {
        if (host.over) return;
        host.ctx.health.hurry(selection.endpoint);
        this.#tried.push(selection.endpoint);
        if (this.#tries <= host.ctx.config.retries && this.#mayRetry(false)) continue;
        this.#giveUp("failed");
        return;
      }
      if (host.over) return;
      this.#act(question, selection, prepared);
      return;
    }
  }

  async #prepare(question: Question, endpoint: Endpoint): Promise<Prepared> {
    const { ctx, requestId } = this.#host;
    const { clock, keys } = ctx;
    const engine: EngineQuestions = { endpoint, key: keys.engine, timeoutMs: questionMs, clock, requestId };
    if (this.#kept.finish === null) return prepare(question, this.#kept, engine);
    const before = await countAnswer(question, this.#kept, engine);
    return before === null ? { kind: "no" } : { kind: "over", before };
  }

  /** After the first try each one is a retry like others. */
  #mayRetry(free: boolean): boolean {
    const { clock, retryBudget } = this.#host.ctx;
    return free || retryBudget.take(clock.nowMs());
  }

  #act(question: Question, selection: Selection, prepared: Prepared): void {
    if (prepared.kind === "no") this.#giveUp("unconfirmed");
    else if (prepared.kind === "over") {
      const events = this.#kept.finish === null ? [lengthEvent(this.#kept, this.#api)] : [];
      const { prompt, completion } = prepared.before;
      if (question.wantsUsage) events.push(usageEvent(this.#kept, this.#api, prepared.before));
      if (question.countsUsage)
        this.#host.usage({ promptTokens: prompt, completionTokens: completion, cachedTokens: 0 });
      this.#finish(events);
    } else {
      const seam = new Seam(this.#kept, question, prepared.before);
      this.#last = { selection, body: prepared.body, seam };
      this.#host.sendOn(selection, prepared.body, seam, this, false);
    }
  }

  /** All that the answer lacks is its end. */
  #finish(events: readonly object[]): void {
    const { exchange } = this.#host;
    const text = [...events.map((event) => JSON.stringify(event)), "[DONE]"]
      .map((data) => `data: ${data}\n\n`)
      .join("");
    exchange.writePiece(Buffer.from(text));
    exchange.endPieces();
    this.#host.migrated(this.#cause, "finished");
    this.#host.completed();
  }

  #giveUp(result: MigrationResult): void {
    const host = this.#host;
    // only the router misses something: it does without
    if (this.#kept.problem === null && this.#kept.finish !== null && this.#question?.wantsUsage === false) {
      this.#finish([]);
      return;
    }
    host.migrated(this.#cause, result);
    host.broken(this.#error ?? new LmstackError("stream_interrupted", "The engine failed in mid-stream."), this.#frame);
  }

  // --- what the relay of a continuation reports

  keep(): null {
    return null;
  }

  connected(startedMs: number): void {
    this.#host.connected(startedMs);
  }

  commit(head: ResponseHead): void {
    this.#host.migrated(this.#cause, "continued");
    this.#host.answered(head, true, this.#host.ctx.clock.nowMs());
  }

  usage(usage: Usage): void {
    this.#hasUsage = true;
    this.#host.usage(usage);
  }

  responseId(): void {
    // no answer that can be continued has one
  }

  completed(): void {
    this.#host.completed();
  }

  interrupted(error: LmstackError, frame: Buffer | null, cause: MigrationCause): void {
    const from = this.#last?.selection.endpoint;
    this.#host.endAttempt(cause === "timeout" || cause === "stall" ? "timeout" : "interrupted", "failure");
    if (from !== undefined) this.start(from, cause, error, frame);
  }

  failed(failure: AttemptFailure): void {
    const host = this.#host;
    const last = this.#last;
    if (host.over || last === null) return;
    const { ctx } = host;
    const clients = isClientsFault(failure);
    const counts = failure.counts && !clients;
    host.endAttempt(clients ? "rejected" : failure.outcome, counts ? "failure" : "inconclusive");
    const { endpoint } = last.selection;
    if (failure.busyMs > 0) endpoint.busyUntilMs = ctx.clock.nowMs() + failure.busyMs;
    if (counts) ctx.health.hurry(endpoint);
    if (failure.stale) {
      host.sendOn(last.selection, last.body, last.seam, this, true);
      return;
    }
    this.#tried.push(endpoint);
    const question = this.#question;
    // what one engine refuses another one will refuse as well
    const may = !clients && this.#tries <= ctx.config.retries && this.#mayRetry(failure.free);
    if (!may || question === null || question === undefined) this.#giveUp("failed");
    else this.#goOn(question);
  }
}
