// Node's own parser as the judge. `node:_http_common` is not documented, but it is the very parser that `node:http`
// uses, in process and without sockets; if it ever goes away, the differential tests must move to a real `node:http`
// server.
import { createRequire } from "node:module";

type Callback = (...args: never[]) => number | void;

interface RawParser {
  initialize(kind: number, resource: object, maxHeaderSize: number, lenientFlags: number): void;
  execute(bytes: Buffer): number | (Error & { code: string; reason: string; bytesParsed: number });
  finish(): undefined | (Error & { code: string });
  [callback: number]: Callback | null;
}

interface ParserClass {
  new (): RawParser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
}

const { HTTPParser } = createRequire(import.meta.url)("node:_http_common") as { HTTPParser: ParserClass };

export interface JudgedMessage {
  /** Requests only: as llhttp numbers them, see {@link methodNumber}. */
  readonly method: number;
  readonly url: string;
  /** Answers only. */
  readonly status: number;
  readonly reason: string;
  readonly major: number;
  readonly minor: number;
  /** Names as they came and values in turn. */
  readonly headers: readonly string[];
  readonly upgrade: boolean;
  readonly keepAlive: boolean;
  readonly body: Buffer[];
  /** Names and values in turn. */
  readonly trailers: string[];
  complete: boolean;
}

/** One connection's worth of bytes. The parser object is used again and again: making one costs more than parsing. */
export class Judge {
  readonly #kind: number;
  readonly #parser = new HTTPParser();
  #messages: JudgedMessage[] = [];
  #headers: string[] = [];
  #url = "";
  #inBody = false;
  #headRequest = false;
  error: string | null = null;

  constructor(kind: "request" | "response") {
    this.#kind = kind === "request" ? HTTPParser.REQUEST : HTTPParser.RESPONSE;
    const parser = this.#parser;
    parser[HTTPParser.kOnHeaders] = (headers: string[], url: string) => {
      // more than fit into one call; the same call brings trailers
      if (this.#inBody) {
        this.#messages.at(-1)?.trailers.push(...headers);
        return;
      }
      this.#headers.push(...headers);
      this.#url += url;
    };
    parser[HTTPParser.kOnHeadersComplete] = (
      major: number,
      minor: number,
      headers: string[] | undefined,
      method: number | undefined,
      url: string | undefined,
      status: number | undefined,
      reason: string | undefined,
      upgrade: boolean,
      keepAlive: boolean,
    ) => {
      this.#inBody = true;
      this.#messages.push({
        method: method ?? -1,
        url: this.#url + (url ?? ""),
        status: status ?? 0,
        reason: reason ?? "",
        major,
        minor,
        headers: [...this.#headers, ...(headers ?? [])],
        upgrade,
        keepAlive,
        body: [],
        trailers: [],
        complete: false,
      });
      this.#headers = [];
      this.#url = "";
      return this.#headRequest ? 1 : 0;
    };
    parser[HTTPParser.kOnBody] = (bytes: Buffer) => {
      this.#messages.at(-1)?.body.push(Buffer.from(bytes));
    };
    parser[HTTPParser.kOnMessageComplete] = () => {
      this.#inBody = false;
      const message = this.#messages.at(-1);
      if (message !== undefined) message.complete = true;
    };
  }

  /** @param headRequest the answer is one to HEAD */
  start(headRequest = false): void {
    this.#messages = [];
    this.#headers = [];
    this.#url = "";
    this.#inBody = false;
    this.#headRequest = headRequest;
    this.error = null;
    this.#parser.initialize(this.#kind, {}, 65536, 0);
  }

  feed(bytes: Buffer): void {
    if (this.error !== null || bytes.length === 0) return;
    const result = this.#parser.execute(bytes);
    if (typeof result !== "number") this.error = `${result.code}: ${result.reason}`;
  }

  /** The connection ends. */
  finish(): void {
    if (this.error !== null) return;
    const result = this.#parser.finish();
    if (result instanceof Error) this.error = result.code;
  }

  get messages(): readonly JudgedMessage[] {
    return this.#messages;
  }

  get complete(): number {
    let count = 0;
    for (const message of this.#messages) if (message.complete) count++;
    return count;
  }
}

const numbers = new Map<string, number>();
const learner = new Judge("request");

/** llhttp's number of a method, learnt by asking it. */
export function methodNumber(method: string): number {
  let known = numbers.get(method);
  if (known === undefined) {
    learner.start();
    learner.feed(Buffer.from(`${method} / HTTP/1.1\r\nhost: a\r\n\r\n`, "latin1"));
    known = learner.messages[0]?.method ?? -2;
    numbers.set(method, known);
  }
  return known;
}

/** All messages in the bytes, for tests that want to know what really stands on a wire. */
export function judgeRequests(bytes: Buffer): {
  readonly messages: readonly JudgedMessage[];
  readonly error: string | null;
} {
  const judge = new Judge("request");
  judge.start();
  judge.feed(bytes);
  return { messages: judge.messages, error: judge.error };
}
