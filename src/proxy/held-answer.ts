// An engine's own error that was held back while another endpoint was tried, and is passed on because none is left: what the
// client sees of it, as an answer or, where the status has left already, as the last event of a stream.
import { retryAfterHeaders, type ErrorShape } from "../api/error-body.ts";
import type { Outcome } from "../errors/catalogue.ts";
import { headerValue, type HeaderList } from "../http/head.ts";
import { ownHead } from "./answer-head.ts";
import type { AttemptFailure, HeldAnswer } from "./failure.ts";

interface LastWord {
  readonly status: number;
  /** Status line and field lines, without framing. */
  readonly head: string;
  readonly body: Buffer;
  readonly outcome: Outcome;
}

/** The answer that the client gets. @param jitter 0 to 1; spreads the next attempts of clients */
export function lastWord(answer: HeldAnswer, failure: AttemptFailure, requestId: string, jitter: number): LastWord {
  const fromStream = answer.head.mediaType === "text/event-stream";
  const busy = failure.outcome === "busy";
  // vLLM's full queue is a 503: to clients and to those who count errors it is the same thing as ours
  const status = busy ? 429 : fromStream ? errorStatus(answer.body) : answer.head.status;
  const headers: HeaderList = fromStream ? ["content-type", "application/json"] : answer.head.headers;
  const extra = status < 500 && !busy ? [] : ["x-should-retry", String(busy)];
  if (busy) extra.push(...delayBeside(headers, jitter));
  return {
    status,
    head: ownHead(status, status === answer.head.status ? answer.head.reason : "", headers, requestId, extra),
    body: fromStream ? firstLine(answer.body) : answer.body,
    outcome: busy ? "queue_full" : status < 500 ? "client_error" : "engine_error",
  };
}

/** The engine's own words as the last event of a stream; null where they are no error object that the API knows. */
export function lastFrame(answer: HeldAnswer, shape: ErrorShape): string | null {
  const words = firstLine(answer.body);
  if (shape === "responses" || !isErrorObject(words)) return null;
  return `${shape === "anthropic" ? "event: error\n" : ""}data: ${words.toString("utf8")}\n\n`;
}

/** A 4xx, also one that only a stream's first event names: another engine would say the same. */
export function isClientsFault(failure: AttemptFailure): boolean {
  const { answer } = failure;
  if (failure.outcome === "rejected") return true;
  if (answer === null || answer.head.mediaType !== "text/event-stream") return false;
  return errorStatus(answer.body) < 500;
}

/** Whether these bytes are JSON with an `error` in it, on one line. */
function isErrorObject(line: Buffer): boolean {
  try {
    const parsed: unknown = JSON.parse(line.toString("utf8"));
    return typeof parsed === "object" && parsed !== null && "error" in parsed;
  } catch {
    return false;
  }
}

/** What makes a busy engine's answer name a delay in both spellings, without all clients coming back at once. */
function delayBeside(headers: HeaderList, jitter: number): string[] {
  const given = headerValue(headers, "retry-after");
  if (given === null) return retryAfterHeaders(jitter);
  const seconds = Number(given);
  const known = headerValue(headers, "retry-after-ms") !== null || !(seconds > 0);
  return known ? [] : ["retry-after-ms", String(Math.round((seconds + jitter) * 1000))];
}

/** Status that an error object names; 500 where it names none. */
function errorStatus(payload: Buffer): number {
  try {
    const parsed: unknown = JSON.parse(firstLine(payload).toString("utf8"));
    const error = typeof parsed === "object" && parsed !== null && "error" in parsed ? parsed.error : null;
    const code = typeof error === "object" && error !== null && "code" in error ? Number(error.code) : Number.NaN;
    return code >= 400 && code <= 599 ? code : 500;
  } catch {
    return 500;
  }
}

function firstLine(payload: Buffer): Buffer {
  const end = payload.indexOf(0x0a);
  return end < 0 ? payload : payload.subarray(0, payload[end - 1] === 0x0d ? end - 1 : end);
}
