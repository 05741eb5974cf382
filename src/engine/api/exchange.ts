// One request and its response: what was sent, and how to answer as uvicorn does (lower-case header names in a fixed
// order, one event per chunk and write). Between node:http and the routes. Nothing else may touch the response.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { STATUS_CODES } from "node:http";
import { ApiError, DetailError, errorBody } from "./errors.ts";
import type { ErrorFamily } from "./errors.ts";
import type { RequestFault } from "./faults.ts";
import { EventStream } from "./event-stream.ts";

export interface ExchangeOptions {
  readonly requestIdHeader: string | null;
  readonly wallMs: () => number;
}

let dateSecond = 0;
let dateText = "";

/** The `date` header; formatted once a second. */
export function httpDate(wallMs: number): string {
  const second = Math.floor(wallMs / 1000);
  if (second !== dateSecond || dateText === "") {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}

export class Exchange {
  readonly method: string;
  /** Decoded path without query. */
  readonly path: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  body: Buffer = Buffer.alloc(0);
  family: ErrorFamily = "openai";
  /** Fault to act out on this exchange, if any. */
  fault: RequestFault | null = null;
  /** The route's template; `none` for no route, as the HTTP metrics name it. */
  handler = "none";
  status = 0;
  responseBytes = 0;
  /** Takes this request's sequences out of the engine; set while it generates. */
  release: (() => void) | null = null;
  readonly #options: ExchangeOptions;
  #gone = false;
  #onGone: (() => void)[] = [];
  #ended = false;
  #muted = false;

  constructor(request: IncomingMessage, response: ServerResponse, path: string, options: ExchangeOptions) {
    this.request = request;
    this.response = response;
    this.socket = request.socket;
    this.method = request.method ?? "GET";
    this.path = path;
    this.#options = options;
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** True once the client left or the connection was cut. */
  get gone(): boolean {
    return this.#gone;
  }

  /** True once a response was begun or the client left: nobody may answer any more. */
  get answered(): boolean {
    return this.#ended || this.#gone;
  }

  /** Calls `fn` in the turn in which the client disconnects; at once if it already did. */
  onGone(fn: () => void): void {
    if (this.#gone) fn();
    else this.#onGone.push(fn);
  }

  /** The client closed, reset or half-closed its connection. */
  disconnect(): void {
    if (this.#gone) return;
    this.#gone = true;
    const listeners = this.#onGone;
    this.#onGone = [];
    for (const listener of listeners) listener();
  }

  json(status: number, value: unknown, first: readonly string[] = []): void {
    this.send(status, "application/json", JSON.stringify(value), first);
  }

  /** A whole response. `first` holds header pairs that stand before content-length, as `allow` does. */
  send(status: number, contentType: string | null, body: string | Buffer, first: readonly string[] = []): void {
    if (this.answered) return;
    this.#ended = true;
    const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : body;
    const headers = ["date", httpDate(this.#options.wallMs()), "server", "uvicorn", ...first];
    headers.push("content-length", String(bytes.length));
    if (contentType !== null) headers.push("content-type", contentType);
    this.#finishHead(status, headers);
    if (this.fault?.cutBody(this, bytes) === true) return;
    this.response.end(bytes);
  }

  /** Status line and headers of a stream leave at once, before the first token exists. */
  openStream(contentType = "text/event-stream; charset=utf-8"): EventStream {
    if (this.#muted) return new EventStream(this, true);
    this.#ended = true;
    const headers = ["date", httpDate(this.#options.wallMs()), "server", "uvicorn", "content-type", contentType];
    this.#finishHead(200, headers, true);
    this.response.flushHeaders();
    return new EventStream(this);
  }

  fail(error: unknown): void {
    if (error instanceof ApiError) {
      this.send(error.status, "application/json", errorBody(error, this.family));
    } else if (error instanceof DetailError) {
      this.send(error.status, "application/json", JSON.stringify({ detail: error.message }), error.headers);
    } else {
      const message = error instanceof Error ? error.message : String(error);
      this.fail(new ApiError(500, "InternalServerError", message));
    }
  }

  /** API-key refusals come from a layer outside of the one that adds `vary`. */
  unauthorized(): void {
    if (this.answered) return;
    this.#ended = true;
    const body = '{"error":"Unauthorized"}';
    const headers = ["date", httpDate(this.#options.wallMs()), "server", "uvicorn"];
    headers.push("content-length", String(body.length), "content-type", "application/json");
    this.#writeHead(401, headers);
    this.response.end(body);
  }

  /** The request runs, but no byte of an answer ever leaves. */
  mute(): void {
    this.#ended = true;
    this.#muted = true;
  }

  redirect(location: string): void {
    if (this.answered) return;
    this.#ended = true;
    const headers = ["date", httpDate(this.#options.wallMs()), "server", "uvicorn", "content-length", "0"];
    headers.push("location", location);
    this.#finishHead(307, headers);
    this.response.end();
  }

  refuseCors(): void {
    if (this.answered) return;
    this.#ended = true;
    const body = "Disallowed CORS origin";
    const headers = ["date", httpDate(this.#options.wallMs()), "server", "uvicorn", "vary"];
    headers.push(
      "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
    );
    headers.push("access-control-allow-methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY");
    headers.push("access-control-max-age", "600");
    const asked = this.header("access-control-request-headers");
    if (asked !== undefined) headers.push("access-control-allow-headers", asked);
    headers.push("content-length", String(body.length), "content-type", "text/plain; charset=utf-8");
    if (this.#options.requestIdHeader !== null) headers.push("x-request-id", this.#options.requestIdHeader);
    this.#writeHead(400, headers);
    this.response.end(body);
  }

  #finishHead(status: number, headers: string[], chunked = false): void {
    headers.push("vary", "Origin");
    if (this.#options.requestIdHeader !== null) headers.push("x-request-id", this.#options.requestIdHeader);
    this.#writeHead(status, headers, chunked);
  }

  #writeHead(status: number, headers: string[], chunked = false): void {
    const { response } = this;
    this.status = status;
    const length = headers.indexOf("content-length");
    if (length >= 0) this.responseBytes = Number(headers[length + 1]);
    response.sendDate = false;
    // uvicorn never keeps a connection of HTTP/1.0.
    if (this.request.httpVersionMinor === 0) response.shouldKeepAlive = false;
    if (response.shouldKeepAlive) {
      // Node would announce keep-alive; uvicorn does not.
      response.removeHeader("connection");
    } else {
      headers.push("connection", "close");
    }
    if (chunked) headers.push("transfer-encoding", "chunked");
    response.writeHead(status, STATUS_CODES[status] ?? "", headers);
  }
}
