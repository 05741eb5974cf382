// Requests from bytes, one after the other, split anywhere. Pure: no socket, no time. It stops after each message, so
// that a pipelined request waits until the one before it is answered.
import { ChunkedDecoder, type ChunkSink } from "./chunked-decoder.ts";
import { isTokenCode, LastView } from "./bytes.ts";
import { HeadReader, parseWhole } from "./head-reader.ts";
import { HeadTemplate, type HeadShape, type HeadTemplates } from "./head-template.ts";
import { keepsConnection, malformed, parseFields, quote, type HeaderList } from "./head.ts";
import { LmstackError } from "../errors/catalogue.ts";

export interface RequestHead {
  readonly method: string;
  /** Origin form, `/path?query`; a request in absolute form is brought to it. `*` only with OPTIONS. */
  readonly target: string;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minor: 0 | 1;
  readonly headers: HeaderList;
  readonly host: string | null;
  /** Bytes of the body; -1 when it is chunked. */
  readonly contentLength: number;
  /** Whether the client wants to keep the connection. */
  readonly keepAlive: boolean;
  /** Value of `Connection`, lower case: the fields it names are hop-by-hop. */
  readonly connection: string;
  readonly expectContinue: boolean;
  /** Shared by heads of one origin that differ in Content-Length and X-Request-Id only. */
  readonly shape: HeadShape;
}

export interface RequestSink {
  /** Whose requests they are, as far as it matters to what is derived from their heads. */
  readonly origin: string;
  onHead(head: RequestHead): void;
  /** Payload bytes [start, end) of `buf`, which belongs to the parser's caller. */
  onBody(buf: Buffer, start: number, end: number): void;
  onMessageEnd(): void;
}

// What llhttp knows is far more; these are the ones with a meaning here, and an unknown method is refused early.
const methods = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]);

/**
 * @param text head as latin1 without its empty line
 * @throws LmstackError `malformed_http`, `expectation_failed`
 */
function parseRequestHead(text: string): RequestHead {
  const lineEnd = text.indexOf("\r\n");
  const line = lineEnd < 0 ? text : text.slice(0, lineEnd);
  const space = line.indexOf(" ");
  if (space <= 0) throw malformed("the request line is not METHOD TARGET VERSION");
  for (let i = 0; i < space; i++) {
    if (!isTokenCode(line.charCodeAt(i))) throw malformed("the method is not a token");
  }
  const method = line.slice(0, space);
  if (!methods.has(method)) throw malformed(`method ${quote(method)} is not known here`);
  const second = line.indexOf(" ", space + 1);
  if (second < 0) throw malformed("the request line is not METHOD TARGET VERSION");
  const version = line.slice(second + 1);
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") throw malformed(`version ${quote(version)} is not HTTP/1.1`);
  const minor = version === "HTTP/1.1" ? 1 : 0;
  for (let i = space + 1; i < second; i++) {
    const code = line.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || code === 0x23)
      throw malformed("the target has a character that must be escaped");
  }
  const fields = parseFields(text, lineEnd < 0 ? text.length : lineEnd + 2);
  const authority = { host: fields.host };
  const target = originForm(method, line.slice(space + 1, second), authority);
  if (minor === 1 && fields.host === null) throw malformed("HTTP/1.1 needs a Host");
  if (fields.host !== null && !isHost(fields.host)) throw malformed(`Host ${quote(fields.host)} is not a host`);
  if (minor === 0 && fields.chunked) throw malformed("Transfer-Encoding in HTTP/1.0");
  let expectContinue = false;
  if (fields.expect !== null && minor === 1) {
    if (fields.expect.toLowerCase() !== "100-continue") {
      throw new LmstackError(
        "expectation_failed",
        `Expect: ${quote(fields.expect)} can't be met; only 100-continue can.`,
      );
    }
    expectContinue = true;
  }
  return {
    method,
    target,
    minor,
    headers: fields.list,
    host: authority.host,
    contentLength: fields.chunked ? -1 : Math.max(0, fields.contentLength),
    keepAlive: keepsConnection(minor, fields.connection),
    connection: fields.connection,
    expectContinue,
    shape: { derived: null },
  };
}

/** Values that differ between requests of one client on one connection. */
const changing = ["content-length", "x-request-id"];

const absolute = /^https?:\/\/([^/?]+)(.*)$/i;

function originForm(method: string, target: string, authority: { host: string | null }): string {
  if (target.charCodeAt(0) === 0x2f) return target;
  if (target === "*" && method === "OPTIONS") return target;
  const match = absolute.exec(target);
  if (match === null) throw malformed(`target ${quote(target)} is neither a path nor an http URL`);
  const [, named = "", rest = ""] = match;
  if (!isHost(named)) throw malformed(`target ${quote(target)} names no host`);
  authority.host = named;
  return rest.startsWith("/") ? rest : `/${rest}`;
}

// RFC 3986 section 3.2.2 without the comma, which would make it a list: so no user information, path, query or white
// space
const hostPattern = /^[A-Za-z0-9\-._~%!$&'()*+;=:[\]]*$/;

function isHost(value: string): boolean {
  return hostPattern.test(value);
}

const views = new LastView();

const inHead = 0;
const inLength = 1;
const inChunks = 2;
const broken = 3;

export class RequestParser implements ChunkSink {
  readonly #sink: RequestSink;
  readonly #maxHeadBytes: number;
  #head: HeadReader;
  #state = inHead;
  #remaining = 0;
  #chunks: ChunkedDecoder | null = null;
  readonly #templates: HeadTemplates<RequestHead>;
  #template: HeadTemplate<RequestHead> | null = null;
  #parsed = 0;
  /** Offset behind the head that was read last. */
  #next = 0;

  constructor(maxHeadBytes: number, sink: RequestSink, templates: HeadTemplates<RequestHead>) {
    this.#maxHeadBytes = maxHeadBytes;
    this.#templates = templates;
    this.#sink = sink;
    this.#head = new HeadReader(maxHeadBytes);
  }

  /** Part of a head has arrived and the rest is awaited. */
  get inHead(): boolean {
    return this.#state === inHead && this.#head.begun;
  }

  /** A head was reported and its body is not complete. */
  get inBody(): boolean {
    return this.#state === inLength || this.#state === inChunks;
  }

  /**
   * @returns offset of the first byte not used; below `end` only when a message ended
   * @throws LmstackError when the bytes are not HTTP; the parser can't be used afterwards
   */
  feed(buf: Buffer, start: number, end: number): number {
    try {
      return this.#feed(buf, start, end);
    } catch (error) {
      this.#state = broken;
      throw error;
    }
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    this.#sink.onBody(buf, start, end);
  }

  #feed(buf: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#state === inHead) {
      const head = this.#recognise(buf, at, end) ?? this.#parse(buf, at, end);
      if (head === null) return end;
      at = this.#next;
      if (head.contentLength < 0) {
        this.#state = inChunks;
        this.#chunks = new ChunkedDecoder(this.#maxHeadBytes);
      } else {
        this.#state = inLength;
        this.#remaining = head.contentLength;
      }
      this.#sink.onHead(head);
      if (this.#remaining === 0 && this.#state === inLength) {
        this.#end();
        return at;
      }
    }
    if (at >= end) return end;
    if (this.#state === inLength) {
      const take = Math.min(this.#remaining, end - at);
      this.#remaining -= take;
      this.#sink.onBody(buf, at, at + take);
      at += take;
      if (this.#remaining === 0) this.#end();
      return at;
    }
    if (this.#state === inChunks && this.#chunks !== null) {
      at = this.#chunks.feed(buf, at, end, this);
      if (this.#chunks.finished) this.#end();
      return at;
    }
    throw malformed("bytes after an error");
  }

  /** A head like the one before, whole in this read; null leaves it to the parser. */
  #recognise(buf: Buffer, start: number, end: number): RequestHead | null {
    const template = this.#template;
    if (template === null || this.#head.begun || !template.match(buf, views.of(buf), start, end)) return null;
    if (template.next - start > this.#maxHeadBytes + 4) return null;
    this.#next = template.next;
    const { head, fields } = template;
    const length = template.contentLength < 0 ? head.contentLength : template.contentLength;
    const last = template.recognised;
    if (last !== null && last.headers === fields && last.contentLength === length) return last;
    const { method, target, minor, host, keepAlive, connection, expectContinue, shape } = head;
    return (template.recognised = {
      method,
      target,
      minor,
      headers: fields,
      host,
      contentLength: length,
      keepAlive,
      connection,
      expectContinue,
      shape,
    });
  }

  /** @returns null when more bytes are needed */
  #parse(buf: Buffer, start: number, end: number): RequestHead | null {
    if (!this.#head.feed(buf, start, end)) return null;
    this.#next = this.#head.next;
    const { text } = this.#head;
    const head = parseWhole(text, parseRequestHead);
    // not worth it for a connection that carries one request
    if (this.#parsed++ > 0) {
      const made = HeadTemplate.of(text, head.headers, changing, head);
      this.#template = made === null ? null : this.#templates.share(made, this.#sink.origin);
    }
    return head;
  }

  #end(): void {
    this.#state = inHead;
    this.#chunks = null;
    this.#remaining = 0;
    this.#sink.onMessageEnd();
  }
}
