// What a request's client is given, apart from what a relay passes on: the head, heartbeats, and the ends that are no good ones,
// each as the client can take it at that moment: an answer, an event of a stream that has begun, or a cut.
import { engineErrorFrame, errorAnswer, errorFrame, type ErrorShape } from "../api/error-body.ts";
import type { LmstackError, Outcome } from "../errors/catalogue.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import { answerHead } from "./answer-head.ts";
import type { Attempt } from "./attempt.ts";
import type { RouterContext } from "./context.ts";
import { explanationLine } from "./explanation.ts";
import type { AttemptFailure, HeldAnswer } from "./failure.ts";
import { isClientsFault, lastFrame, lastWord } from "./held-answer.ts";
import type { RequestPlan } from "./request-plan.ts";
import type { RequestRecord } from "./request-record.ts";

const ping = Buffer.from(": ping\n\n");

export class ClientSide {
  readonly exchange: Exchange;
  readonly #errors: ErrorShape;
  readonly #ctx: RouterContext;
  readonly #record: RequestRecord;
  readonly #passesReport: boolean;
  /** What the client has been given is an event stream. */
  #streams = false;
  #lastSentMs = 0;
  /** Number of the last event that the client has, where the API numbers them. */
  lastNumber = -1;

  constructor(ctx: RouterContext, exchange: Exchange, plan: RequestPlan, record: RequestRecord) {
    this.#ctx = ctx;
    this.exchange = exchange;
    this.#errors = plan.row.errors;
    this.#passesReport = plan.passesReport;
    this.#record = record;
  }

  get streams(): boolean {
    return this.#streams;
  }

  /** An answer begins, if it has not with a heartbeat. */
  begin(head: ResponseHead, stream: boolean, length: number | null, nowMs: number): void {
    this.#streams = stream;
    if (this.exchange.started) return;
    const text = answerHead(head, this.#record.requestId, stream, this.#passesReport);
    this.exchange.begin(text + this.#timing(nowMs) + this.#explanation(), length);
  }

  /** The stream pauses for a reason of the router's: heartbeats are counted from here. */
  paused(nowMs: number): void {
    this.#lastSentMs = nowMs;
  }

  /**
   * A comment into a stream that is silent.
   * @param attempt the present one; null = none, though the stream has begun
   * @returns whether the head had to leave for it: retries go on inside the stream until the first event
   */
  heartbeat(attempt: Attempt | null, nowMs: number, everyMs: number): boolean {
    if (everyMs <= 0 || !(this.#streams || attempt?.streaming === true)) return false;
    const { exchange } = this;
    // before the first event nothing that the engine says passes on, its own comments neither
    const heard = attempt?.committed === true ? attempt.lastReadMs : (attempt?.startedMs ?? 0);
    if (nowMs - Math.max(this.#lastSentMs, heard) < everyMs || exchange.queuedBytes > 0) return false;
    const begins = !exchange.started;
    if (begins) {
      const head = attempt?.head ?? null;
      if (head === null) return false;
      this.begin(head, true, null, nowMs);
    }
    exchange.writePiece(ping);
    this.#lastSentMs = nowMs;
    return begins;
  }

  /** Ends with an error, in its own words or in those of an event that an engine has sent. */
  fail(error: LmstackError, frame: Buffer | null): void {
    const { exchange } = this;
    const { requestId } = this.#record;
    if (this.#streams) {
      const number = this.lastNumber + 1;
      const engines = frame === null ? null : engineErrorFrame(frame, this.#errors, number);
      this.#lastEvent(engines ?? Buffer.from(errorFrame(error, this.#errors, requestId, number)));
    } else if (exchange.started) exchange.cut();
    else {
      const { status, headers, body } = errorAnswer(error, this.#errors, requestId, this.#ctx.random());
      const timing = this.#ctx.config.serverTiming
        ? ["server-timing", this.#record.serverTiming(this.#ctx.clock.nowMs())]
        : [];
      exchange.answer(status, [...headers, ...timing], body);
    }
  }

  /**
   * Ends with an engine's own error, which was held back.
   * @returns null = these words can't be said in a stream
   */
  passHeld(answer: HeldAnswer, failure: AttemptFailure): { outcome: Outcome; status: number } | null {
    if (this.#streams) {
      const frame = lastFrame(answer, this.#errors);
      if (frame === null) return null;
      this.#lastEvent(Buffer.from(frame));
      return { outcome: isClientsFault(failure) ? "client_error" : failure.error.definition.outcome, status: 200 };
    }
    const { status, head, body, outcome } = lastWord(answer, failure, this.#record.requestId, this.#ctx.random());
    this.exchange.begin(head + this.#timing(this.#ctx.clock.nowMs()), body.length);
    this.exchange.write(body);
    this.exchange.end();
    return { outcome, status };
  }

  /** Why the request went where it went; "" where nobody asked. */
  #explanation(): string {
    const { explanation } = this.#record;
    return explanation === null ? "" : explanationLine(explanation);
  }

  /** The field line of `Server-Timing`; "" = none is wanted. */
  #timing(nowMs: number): string {
    return this.#ctx.config.serverTiming ? `server-timing: ${this.#record.serverTiming(nowMs)}\r\n` : "";
  }

  #lastEvent(frame: Buffer): void {
    const { exchange } = this;
    exchange.writePiece(frame);
    exchange.endPieces();
    exchange.end();
  }
}
