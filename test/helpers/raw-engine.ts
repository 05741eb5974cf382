// An engine made of bytes: a TCP server that reads requests by the letter and lets the test write every byte of the answer,
// cut, delay or reset it. `/health` and `/v1/models` it answers by itself. It must not use the code under test to parse.
import net from "node:net";
import type { TestContext } from "node:test";
import { reset } from "./reset.ts";

/** One request as it stood on the wire. */
export interface RawRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** The head as it came, without its empty line. */
  readonly head: string;
  /** Names and values in order, in the case that was sent. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  readonly connection: RawConnection;
  /** First value of a header; name in lower case. */
  header(name: string): string | undefined;
}

export class RawConnection {
  readonly socket: net.Socket;
  /** Number of the connection since the engine's start, checks not counted. */
  readonly index: number;
  /** Requests that came on it, checks not counted. */
  requests = 0;
  /** Whether the router has left: closed its side or reset. */
  gone = false;

  constructor(socket: net.Socket, index: number) {
    this.socket = socket;
    this.index = index;
  }

  write(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  /** Writes and waits until the system has taken the bytes: the next write is another segment. */
  flushed(bytes: string | Buffer): Promise<void> {
    return new Promise((resolve) => {
      // an error is the test's to see by other signs
      this.socket.write(bytes, () => setImmediate(resolve));
    });
  }

  /** A proper end: FIN after what was written. */
  end(): void {
    this.socket.end();
  }

  /** RST. */
  reset(): void {
    reset(this.socket);
  }
}

export type RawHandler = (request: RawRequest) => void;

export interface RawEngineOptions {
  readonly models?: readonly string[];
  /** Answers each request that no script was given for. Default: a small JSON. */
  readonly handler?: RawHandler;
}

export class RawEngine {
  readonly #server: net.Server;
  /** What `/v1/models` lists. */
  models: readonly string[];
  readonly #sockets = new Set<net.Socket>();
  readonly #scripts: RawHandler[] = [];
  /** Requests other than the router's own checks. */
  readonly requests: RawRequest[] = [];
  /** Connections that carried such requests. */
  readonly connections: RawConnection[] = [];
  /** The router's own checks, by target. */
  readonly checks: RawRequest[] = [];
  /** What happened, in order: `request`, `gone`, and what tests add. */
  readonly events: string[] = [];
  handler: RawHandler;
  /** Status of `/health`. */
  health = 200;
  /** What `/metrics` says; null = it is not found. The router asks for it where an engine is silent. */
  metrics: string | null = null;
  /** Whether checks are answered at all. */
  answersChecks = true;
  port = 0;

  constructor(options: RawEngineOptions = {}) {
    this.models = options.models ?? ["test-model"];
    this.handler = options.handler ?? ((request) => request.connection.write(jsonAnswer({ object: "test" })));
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Handlers of the next requests, one each, before `handler` is used again. */
  script(...handlers: RawHandler[]): void {
    this.#scripts.push(...handlers);
  }

  listen(port = 0): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, "127.0.0.1", () => {
        this.#server.off("error", reject);
        const address = this.#server.address();
        if (typeof address === "object" && address !== null) this.port = address.port;
        resolve();
      });
    });
  }

  /** Connections are refused from now on, and those that are open are reset. */
  kill(): void {
    this.#server.close();
    for (const socket of this.#sockets) reset(socket);
  }

  /** Connections with requests on them that the router has not left. */
  get open(): number {
    return this.connections.filter((connection) => !connection.gone).length;
  }

  #accept(socket: net.Socket): void {
    this.#sockets.add(socket);
    let connection: RawConnection | null = null;
    let held: Buffer<ArrayBufferLike> = Buffer.alloc(0);
    const leave = (): void => {
      if (connection === null || connection.gone) return;
      connection.gone = true;
      this.events.push("gone");
    };
    socket.on("error", leave);
    socket.on("end", leave);
    socket.on("close", () => {
      this.#sockets.delete(socket);
      leave();
    });
    socket.on("data", (data) => {
      held = held.length === 0 ? data : Buffer.concat([held, data]);
      for (;;) {
        const whole = readRequest(held);
        if (whole === null) return;
        if (whole === "malformed") {
          reset(socket);
          return;
        }
        held = held.subarray(whole.end);
        const { method, target, head, headers, body } = whole;
        const header = (name: string): string | undefined =>
          headers.find(([given]) => given.toLowerCase() === name)?.[1];
        const asked = method === "GET" && (target.endsWith("/v1/models") || target.endsWith("/metrics"));
        if (asked || target.endsWith("/health")) {
          const check = new RawConnection(socket, -1);
          this.checks.push({ method, target, head, headers, body, header, connection: check });
          if (this.answersChecks) this.#answerCheck(socket, target);
          continue;
        }
        if (connection === null) {
          connection = new RawConnection(socket, this.connections.length);
          this.connections.push(connection);
        }
        connection.requests++;
        const request: RawRequest = { method, target, head, headers, body, header, connection };
        this.requests.push(request);
        this.events.push("request");
        (this.#scripts.shift() ?? this.handler)(request);
      }
    });
  }

  #answerCheck(socket: net.Socket, target: string): void {
    if (target.endsWith("/health")) {
      socket.end(`HTTP/1.1 ${this.health} Status\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      return;
    }
    if (target.endsWith("/metrics")) {
      const text = this.metrics ?? "";
      const status = this.metrics === null ? "404 Not Found" : "200 OK";
      socket.end(`HTTP/1.1 ${status}\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`);
      return;
    }
    const data = this.models.map((id) => ({
      id,
      object: "model",
      created: 1,
      owned_by: "vllm",
      root: id,
      max_model_len: 2048,
    }));
    socket.end(jsonAnswer({ object: "list", data }, 200, ["connection: close"]));
  }
}

/** A raw engine that listens, and ends with the test. */
export async function startRawEngine(t: TestContext, options: RawEngineOptions = {}): Promise<RawEngine> {
  const engine = new RawEngine(options);
  await engine.listen();
  t.after(() => engine.kill());
  return engine;
}

interface WholeRequest {
  readonly method: string;
  readonly target: string;
  readonly head: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  readonly end: number;
}

/** `malformed` where no length can be made of what came: a network that corrupts can do that to a request. */
function readRequest(bytes: Buffer): WholeRequest | "malformed" | null {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return null;
  const head = bytes.toString("latin1", 0, headEnd);
  const [line = "", ...lines] = head.split("\r\n");
  const headers = lines.map((text) => {
    const colon = text.indexOf(":");
    return [text.slice(0, colon), text.slice(colon + 1).trim()] as const;
  });
  const length = headers.filter(([name]) => name.toLowerCase() === "content-length");
  if (length.length > 1) throw new Error(`the router sent ${length.length} content-length fields`);
  const [, size = "0"] = length[0] ?? [];
  if (!/^\d+$/.test(size)) return "malformed";
  const end = headEnd + 4 + Number(size);
  if (bytes.length < end) return null;
  const [method = "", target = ""] = line.split(" ");
  return { method, target, head, headers, body: Buffer.from(bytes.subarray(headEnd + 4, end)), end };
}

// --- answers

export function jsonAnswer(value: unknown, status = 200, fields: readonly string[] = []): string {
  const text = JSON.stringify(value);
  const extra = fields.map((field) => `${field}\r\n`).join("");
  return `HTTP/1.1 ${status} Status\r\ncontent-type: application/json\r\n${extra}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

/** Head of a chunked event stream, as vLLM sends it. */
export function streamHead(fields: readonly string[] = []): string {
  const extra = fields.map((field) => `${field}\r\n`).join("");
  return `HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n${extra}transfer-encoding: chunked\r\n\r\n`;
}

export function chunk(payload: string | Buffer): Buffer {
  const bytes = Buffer.from(payload);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}

export const lastChunk = "0\r\n\r\n";

/** An event of a chat stream. */
export function event(text: string): string {
  return `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", choices: [{ index: 0, delta: { content: text } }] })}\n\n`;
}

export const done = "data: [DONE]\n\n";

/** A whole stream of these texts, one event a chunk, with `[DONE]`. */
export function wholeStream(...texts: readonly string[]): Buffer {
  const events = texts.map((text) => chunk(event(text)));
  return Buffer.concat([Buffer.from(streamHead()), ...events, chunk(done), Buffer.from(lastChunk)]);
}
