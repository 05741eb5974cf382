// A small client for the router's own questions to an engine (`/health`, `/v1/models`, probe requests): over the same pool
// and parser as the relay, with a time limit and a bound on the answer.
import type { Clock, Timer } from "../clock.ts";
import type { EngineConnection, EngineFailure, EngineReceiver } from "../http/engine-connection.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import type { Endpoint } from "./endpoint.ts";

export interface EngineAnswer {
  readonly status: number;
  readonly body: Buffer;
}

export interface QuestionOptions {
  /**
   * On a connection that is kept, for questions that belong to a request: a check must not fail because an idle one had just
   * been closed, a question is asked once more.
   */
  readonly reuse?: boolean;
  /** Of the request that it is asked for: it is to be found in the engine's log with it. */
  readonly requestId?: string;
}

const maxAnswerBytes = 16 * 1024 * 1024;

/**
 * Asks an engine.
 * @param key engine API key, or null
 * @throws Error saying what went wrong, for people
 */
export async function askEngine(
  endpoint: Endpoint,
  method: "GET" | "POST",
  path: string,
  json: string | null,
  key: string | null,
  timeoutMs: number,
  clock: Clock,
  { reuse = false, requestId }: QuestionOptions = {},
): Promise<EngineAnswer> {
  const body = json === null ? [] : [Buffer.from(json)];
  const head =
    `${method} ${endpoint.basePath}${path} HTTP/1.1\r\nhost: ${endpoint.authority}\r\nuser-agent: lmstack\r\naccept: */*\r\n` +
    (key === null ? "" : `authorization: Bearer ${key}\r\n`) +
    (requestId === undefined ? "" : `x-request-id: ${requestId}\r\n`) +
    (body[0] === undefined ? "" : `content-type: application/json\r\ncontent-length: ${body[0].length}\r\n`);
  const ask = (fresh: boolean): Promise<EngineAnswer> =>
    new Promise((resolve, reject) => {
      const question = new Question(endpoint, timeoutMs, clock, fresh, resolve, reject);
      question.send(fresh ? `${head}connection: close\r\n\r\n` : `${head}\r\n`, body);
    });
  if (!reuse) return await ask(true);
  try {
    return await ask(false);
  } catch (error) {
    if (error instanceof StaleConnectionError) return await ask(true);
    throw error;
  }
}

/** An idle connection that the engine had just closed. */
class StaleConnectionError extends Error {}

class Question implements EngineReceiver {
  readonly #resolve: (answer: EngineAnswer) => void;
  readonly #reject: (error: Error) => void;
  readonly #connection: EngineConnection;
  readonly #timer: Timer;
  readonly #closes: boolean;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #status = 0;

  constructor(
    endpoint: Endpoint,
    timeoutMs: number,
    clock: Clock,
    fresh: boolean,
    resolve: (answer: EngineAnswer) => void,
    reject: (error: Error) => void,
  ) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#closes = fresh;
    this.#connection = endpoint.pool.acquire(fresh);
    this.#timer = clock.setTimer(timeoutMs, () => this.#fail(`no answer within ${timeoutMs / 1000} s`));
  }

  send(head: string, body: readonly Buffer[]): void {
    this.#connection.send(head, body, false, this);
  }

  onConnected(): void {}

  onHead(head: ResponseHead): void {
    this.#status = head.status;
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    if (this.#bytes > maxAnswerBytes) this.#fail(`the answer is longer than ${maxAnswerBytes} bytes`);
    else this.#pieces.push(Buffer.from(buf.subarray(start, end)));
  }

  onRead(): void {}

  onMessageEnd(): void {
    this.#timer.cancel();
    // RFC 9112 9.6: who has sent `close` sends nothing more there, also where the engine would keep the connection
    if (this.#closes) this.#connection.destroy();
    this.#resolve({ status: this.#status, body: Buffer.concat(this.#pieces) });
  }

  onFailure(failure: EngineFailure): void {
    this.#timer.cancel();
    const stale = failure.reused && !failure.answered;
    this.#reject(stale ? new StaleConnectionError(failure.detail) : new Error(failure.detail));
  }

  #fail(reason: string): void {
    this.#timer.cancel();
    this.#connection.destroy();
    this.#reject(new Error(reason));
  }
}
