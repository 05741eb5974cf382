// What went wrong with an attempt, and what that means: whose fault it is, whether another endpoint may be tried, whether the
// breaker counts it. Pure decisions; the loop acts on them.
import type { EngineFailure } from "../http/engine-connection.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import { LmstackError, type ErrorCode } from "../errors/catalogue.ts";
import type { AttemptOutcome, RetryReason } from "../observe/catalogue.ts";

/** An engine's own answer, held back while another endpoint is tried; passed on where none is left. */
export interface HeldAnswer {
  readonly head: ResponseHead;
  readonly body: Buffer;
}

export interface AttemptFailure {
  readonly error: LmstackError;
  readonly outcome: AttemptOutcome;
  readonly retryReason: RetryReason;
  /** The endpoint's breaker counts it. */
  readonly counts: boolean;
  /** A retry is free: nothing was spent on the engine. */
  readonly free: boolean;
  /** The same endpoint on a new connection, at once and uncounted: an idle connection had just been closed. */
  readonly stale: boolean;
  readonly answer: HeldAnswer | null;
  /** How long the endpoint asked to be left alone; 0 = it did not. */
  readonly busyMs: number;
}

function failure(
  code: ErrorCode,
  message: string,
  outcome: AttemptOutcome,
  retryReason: RetryReason,
  extra: Partial<AttemptFailure> = {},
): AttemptFailure {
  const error = new LmstackError(code, message);
  return {
    error,
    outcome,
    retryReason,
    counts: error.definition.countsAgainstEndpoint,
    free: false,
    stale: false,
    answer: null,
    busyMs: 0,
    ...extra,
  };
}

/** The connection failed before the first event. */
export function connectionFailure(what: EngineFailure, endpoint: string): AttemptFailure {
  switch (what.kind) {
    case "local":
      return failure("overloaded", `The router can't open a connection: ${what.detail}.`, "unreachable", "unreachable");
    case "dns":
    case "refused":
    case "tls":
      return failure(
        "engine_unreachable",
        `The engine ${endpoint} can't be reached: ${what.detail}.`,
        "unreachable",
        "unreachable",
        {
          free: true,
        },
      );
    case "connect_timeout":
      return failure(
        "engine_connect_timeout",
        `The engine ${endpoint} did not accept a connection: ${what.detail}.`,
        "timeout",
        "timeout",
      );
    case "bad_response":
      return failure(
        "engine_bad_response",
        `The engine ${endpoint} sent no valid answer: ${what.detail}`,
        "bad_response",
        "bad_response",
      );
    case "reset":
    case "closed":
      if (what.reused && !what.answered) {
        return failure(
          "engine_reset",
          `The engine ${endpoint} had closed the connection.`,
          "reset",
          "stale_connection",
          {
            stale: true,
            counts: false,
          },
        );
      }
      return failure(
        "engine_reset",
        `The engine ${endpoint} closed the connection before it answered.`,
        "reset",
        "reset",
      );
  }
}

/** A time limit passed before the first event. */
export function timeoutFailure(
  code: "engine_first_event_timeout" | "engine_stalled",
  endpoint: string,
  limitMs: number,
): AttemptFailure {
  const what = code === "engine_first_event_timeout" ? "sent no event" : "made no progress";
  return failure(code, `The engine ${endpoint} ${what} for ${limitMs / 1000} s.`, "timeout", "timeout");
}

/** Statuses that may be another endpoint's chance; their bodies are read before anything is decided. */
export function mayRetryStatus(status: number): boolean {
  return status === 429 || status === 500 || status === 502 || status === 503 || status === 504;
}

const queueFull = /currently busy|queue_full|queue is full/i;

/** What an answer that was held back means. */
export function heldFailure(head: ResponseHead, body: Buffer, endpoint: string): AttemptFailure {
  return mayRetryStatus(head.status) ? statusFailure(head, body, endpoint) : unfitFailure(head, body, endpoint);
}

/** An engine answered with a status that {@link mayRetryStatus} names. */
function statusFailure(head: ResponseHead, body: Buffer, endpoint: string): AttemptFailure {
  const answer: HeldAnswer = { head, body };
  const { status } = head;
  if (status === 429 || (status === 503 && queueFull.test(body.toString("latin1", 0, 2048)))) {
    return failure("rate_limited", `The engine ${endpoint} is busy.`, "busy", "busy", {
      answer,
      free: true,
      busyMs: busyFor(head),
    });
  }
  if (status === 500) {
    return failure("engine_unavailable", `The engine ${endpoint} answered 500.`, "server_error", "server_error", {
      answer,
    });
  }
  return failure("engine_unavailable", `The engine ${endpoint} answered ${status}.`, "server_error", "server_error", {
    answer,
    free: status === 503,
  });
}

/** An answer that is no stream, where the client has been promised one by a heartbeat. */
function unfitFailure(head: ResponseHead, body: Buffer, endpoint: string): AttemptFailure {
  const answer: HeldAnswer = { head, body };
  if (head.status < 400) {
    return failure(
      "engine_bad_response",
      `The engine ${endpoint} sent no stream where one was asked for.`,
      "bad_response",
      "bad_response",
    );
  }
  const message = `The engine ${endpoint} answered ${head.status}.`;
  return failure("engine_unavailable", message, "rejected", "server_error", { answer, counts: false });
}

/** The first event of a stream was an error of the engine's. */
export function firstFrameFailure(head: ResponseHead, body: Buffer, endpoint: string): AttemptFailure {
  return failure(
    "engine_unavailable",
    `The engine ${endpoint} failed before its first token.`,
    "server_error",
    "server_error",
    {
      answer: { head, body },
    },
  );
}

const busyDefaultMs = 500;
const busyMaxMs = 10_000;

function busyFor(head: ResponseHead): number {
  for (let i = 0; i < head.headers.length; i += 2) {
    if (head.headers[i] !== "retry-after") continue;
    const seconds = Number(head.headers[i + 1]);
    if (Number.isFinite(seconds) && seconds > 0) return Math.min(busyMaxMs, seconds * 1000);
  }
  return busyDefaultMs;
}
