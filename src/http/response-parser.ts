// Answers of an engine from bytes, split anywhere. Pure. Besides the payload it reports, for each read, whether the raw
// bytes were whole chunks: then the relay can pass them on as they came instead of framing them anew.
import { ChunkedDecoder, type ChunkSink } from "./chunked-decoder.ts";
import { LastView } from "./bytes.ts";
import { HeadReader, parseWhole } from "./head-reader.ts";
import { HeadTemplate, type HeadShape, type HeadTemplates } from "./head-template.ts";
import { headerValue, keepsConnection, malformed, parseFields, type HeaderList } from "./head.ts";

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderList;
  readonly connection: string;
  /** Bytes of the body; -1 when it is chunked or ends with the connection. */
  readonly contentLength: number;
  readonly chunked: boolean;
  /** Whether the engine keeps the connection open after this answer. */
  readonly keepAlive: boolean;
  /** Lower case, without parameters; "" = none. */
  readonly mediaType: string;
  /** Shared by heads of one connection that differ in date, length, request id and load report only. */
  readonly shape: HeadShape;
}

export interface ResponseSink extends ChunkSink {
  onHead(head: ResponseHead): void;
  /**
   * All of one read's body bytes were reported by `onChunkData`. [start, end) of `buf` are the bytes on the wire, with
   * chunk framing where the body is chunked; `whole` says that they are complete chunks, `last` that they end with the
   * last chunk.
   */
  onRead(buf: Buffer, start: number, end: number, whole: boolean, last: boolean): void;
  onMessageEnd(): void;
}

/** @throws LmstackError `malformed_http` */
function parseResponseHead(text: string): ResponseHead {
  const lineEnd = text.indexOf("\r\n");
  const line = lineEnd < 0 ? text : text.slice(0, lineEnd);
  const match = /^HTTP\/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?$/.exec(line);
  if (match === null) throw malformed("the status line is not VERSION STATUS REASON");
  const fields = parseFields(text, lineEnd < 0 ? text.length : lineEnd + 2);
  const minor = match[1] === "1" ? 1 : 0;
  const contentType = headerValue(fields.list, "content-type") ?? "";
  const semicolon = contentType.indexOf(";");
  return {
    status: Number(match[2]),
    reason: match[3] ?? "",
    headers: fields.list,
    connection: fields.connection,
    contentLength: fields.contentLength,
    chunked: fields.chunked,
    // RFC 9112 section 6.1: chunks in HTTP/1.0 came through somebody who does not know them
    keepAlive: keepsConnection(minor, fields.connection) && !(minor === 0 && fields.chunked),
    mediaType: (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase(),
    shape: { derived: null },
  };
}

/** Values that differ between answers of one engine. Whoever derives something from a shape must not derive it from these. */
const changing = ["date", "content-length", "x-request-id", "endpoint-load-metrics"];

const views = new LastView();

const inHead = 0;
const inLength = 1;
const inChunks = 2;
const untilClose = 3;
const ended = 4;

export class ResponseParser implements ChunkSink {
  readonly #sink: ResponseSink;
  readonly #maxHeadBytes: number;
  readonly #head: HeadReader;
  #state = inHead;
  #remaining = 0;
  #chunks: ChunkedDecoder | null = null;
  #noBody = false;
  readonly #templates: HeadTemplates<ResponseHead>;
  #template: HeadTemplate<ResponseHead> | null = null;
  #parsed = 0;
  /** Offset behind the head that was read last. */
  #next = 0;

  constructor(maxHeadBytes: number, sink: ResponseSink, templates: HeadTemplates<ResponseHead>) {
    this.#maxHeadBytes = maxHeadBytes;
    this.#templates = templates;
    this.#sink = sink;
    this.#head = new HeadReader(maxHeadBytes);
  }

  /** Prepares for the next answer on the connection. `headRequest`: the answer to HEAD has no body. */
  reset(headRequest: boolean): void {
    this.#state = inHead;
    this.#noBody = headRequest;
    this.#chunks = null;
  }

  get finished(): boolean {
    return this.#state === ended;
  }

  /**
   * @returns offset of the first byte that does not belong to the answer
   * @throws LmstackError `malformed_http`, `head_too_large`
   */
  feed(buf: Buffer, start: number, end: number): number {
    let at = start;
    while (this.#state === inHead) {
      if (at >= end) return end;
      const head = this.#recognise(buf, at, end) ?? this.#parse(buf, at, end);
      if (head === null) return end;
      at = this.#next;
      // with the end of an answer its owner may have sent the next request already: what follows here is not its answer
      if (this.#begin(head)) return at;
    }
    if (at >= end) return at;
    switch (this.#state) {
      case inLength: {
        const stop = at + Math.min(this.#remaining, end - at);
        this.#remaining -= stop - at;
        this.#sink.onChunkData(buf, at, stop);
        this.#sink.onRead(buf, at, stop, false, false);
        if (this.#remaining === 0) this.#finish();
        return stop;
      }
      case inChunks: {
        const chunks = this.#chunks;
        if (chunks === null) return at;
        const wasAtBoundary = chunks.atBoundary;
        const stop = chunks.feed(buf, at, end, this);
        this.#sink.onRead(buf, at, stop, wasAtBoundary && chunks.atBoundary && !chunks.sawTrailers, chunks.finished);
        if (chunks.finished) this.#finish();
        return stop;
      }
      case untilClose:
        this.#sink.onChunkData(buf, at, end);
        this.#sink.onRead(buf, at, end, false, false);
        return end;
      default:
        return at;
    }
  }

  /** The connection ended. @returns whether that is a proper end of the answer */
  endOfInput(): boolean {
    if (this.#state !== untilClose) return this.#state === ended;
    this.#finish();
    return true;
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    this.#sink.onChunkData(buf, start, end);
  }

  /** A head like the one before, whole in this read; null leaves it to the parser. */
  #recognise(buf: Buffer, start: number, end: number): ResponseHead | null {
    const template = this.#template;
    if (template === null || this.#head.begun || !template.match(buf, views.of(buf), start, end)) return null;
    if (template.next - start > this.#maxHeadBytes + 4) return null;
    this.#next = template.next;
    const { head, fields } = template;
    const length = template.contentLength < 0 ? head.contentLength : template.contentLength;
    const last = template.recognised;
    if (last !== null && last.headers === fields && last.contentLength === length) return last;
    const { status, reason, connection, chunked, keepAlive, mediaType, shape } = head;
    return (template.recognised = {
      status,
      reason,
      headers: fields,
      connection,
      contentLength: length,
      chunked,
      keepAlive,
      mediaType,
      shape,
    });
  }

  /** @returns null when more bytes are needed */
  #parse(buf: Buffer, start: number, end: number): ResponseHead | null {
    if (!this.#head.feed(buf, start, end)) return null;
    this.#next = this.#head.next;
    const { text } = this.#head;
    const head = parseWhole(text, parseResponseHead);
    // not worth it for a connection that carries one answer
    if (this.#parsed++ > 0) {
      const made = HeadTemplate.of(text, head.headers, changing, head);
      this.#template = made === null ? null : this.#templates.share(made, "");
    }
    return head;
  }

  /** @returns whether the answer ends with its head */
  #begin(head: ResponseHead): boolean {
    if (head.status < 200) {
      // interim answers carry nothing for the client; an upgrade was never asked for
      if (head.status === 101) throw malformed("the engine switched protocols unasked");
      return false;
    }
    const noBody = this.#noBody || head.status === 204 || head.status === 304;
    if (noBody || head.contentLength === 0) {
      this.#sink.onHead(head);
      this.#finish();
      return true;
    }
    if (head.chunked) {
      this.#state = inChunks;
      this.#chunks = new ChunkedDecoder(this.#maxHeadBytes);
      this.#sink.onHead(head);
    } else if (head.contentLength > 0) {
      this.#state = inLength;
      this.#remaining = head.contentLength;
      this.#sink.onHead(head);
    } else {
      this.#state = untilClose;
      this.#sink.onHead(head);
    }
    return false;
  }

  #finish(): void {
    this.#state = ended;
    this.#chunks = null;
    this.#sink.onMessageEnd();
  }
}
