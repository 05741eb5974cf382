// One request of a client and the answer to it, as the rooms behind the server see them. It knows framing towards the
// client and nothing about engines. Exactly one of `end`, `cut` or the client's leaving finishes it.
import { headerValue, type HeaderList } from "./head.ts";
import type { LmstackError } from "../errors/catalogue.ts";
import type { RequestHead } from "./request-parser.ts";

/** Who reads the request's body. */
export interface BodyReader {
  /** Bytes [start, end) of `buf`, which are only lent: what is kept of them has to be copied. */
  onBodyChunk(buf: Buffer, start: number, end: number): void;
  onBodyEnd(): void;
  /** The body can't be had: too slow, malformed or too large. Nothing more comes. */
  onBodyError(error: LmstackError): void;
}

/** What the connection offers to its exchange. */
export interface ExchangeHost {
  readonly remoteAddress: string;
  readonly encrypted: boolean;
  readonly draining: boolean;
  /** When the bytes that are being worked off came, by the clock. */
  readonly readAtMs: number;
  readBody(exchange: Exchange, maxBytes: number): void;
  /** @returns false when the socket has taken less than it likes to hold: see `needsDrain` */
  writeBytes(bytes: Buffer | string): boolean;
  /** A message that is whole, as latin1 text: it may leave with others at the end of this turn of the event loop. */
  writeSoon(text: string): void;
  /** The same for text and bytes in one go. */
  writeAll(head: string, bytes: Buffer): void;
  /** Whether bytes are still queued in our process. */
  readonly queuedBytes: number;
  readonly needsDrain: boolean;
  /** @param nowMs by the clock */
  finish(exchange: Exchange, close: boolean, nowMs: number | undefined): void;
  cut(): void;
}

const lastChunk = Buffer.from("0\r\n\r\n");
const crlf = Buffer.from("\r\n");

/** One chunk of the chunked coding, in memory of its own. */
function asChunk(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${payload.length.toString(16)}\r\n`, "latin1"), payload, crlf]);
}

/** Head and first bytes leave as one string up to here. */
const smallBytes = 8 * 1024;

const reasons: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  417: "Expectation Failed",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/**
 * Status line and field lines, each with its line end.
 * @param reason "" = the usual one
 * @param headers name and value in turn
 */
export function renderHead(status: number, reason: string, headers: HeaderList): string {
  let text = `HTTP/1.1 ${status} ${reason === "" ? (reasons[status] ?? "Status") : reason}\r\n`;
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return text;
}

function noContent(head: string): boolean {
  return head.startsWith("204", 9);
}

export class Exchange {
  readonly head: RequestHead;
  readonly receivedAtMs: number;
  readonly #host: ExchangeHost;
  #body: BodyReader | null = null;
  #headSent = false;
  #finished = false;
  #pendingHead: string | null = null;
  /** The request's body has been read to its end. */
  bodyComplete = false;
  /** Called once when the client has left before the answer was finished. */
  onClientGone: (() => void) | null = null;
  /** Called when everything queued has been taken, after `needsDrain` was true. */
  onDrain: (() => void) | null = null;

  constructor(head: RequestHead, host: ExchangeHost, receivedAtMs: number) {
    this.head = head;
    this.#host = host;
    this.receivedAtMs = receivedAtMs;
  }

  get remoteAddress(): string {
    return this.#host.remoteAddress;
  }

  get encrypted(): boolean {
    return this.#host.encrypted;
  }

  /** When the bytes that are being reported came, by the clock. */
  get readAtMs(): number {
    return this.#host.readAtMs;
  }

  /** Whether any byte of the answer has left or is about to. */
  get started(): boolean {
    return this.#headSent;
  }

  get finished(): boolean {
    return this.#finished;
  }

  get reader(): BodyReader | null {
    return this.#body;
  }

  header(name: string): string | null {
    return headerValue(this.head.headers, name);
  }

  /** Whether the body of an answer may be chunked: HTTP/1.0 has no such thing. */
  get canChunk(): boolean {
    return this.head.minor === 1;
  }

  /** Asks for the body; without this call it is read and dropped. */
  readBody(reader: BodyReader, maxBytes: number): void {
    this.#body = reader;
    this.#host.readBody(this, maxBytes);
  }

  /**
   * Begins an answer: the head leaves with the first bytes of the body, or at `flush`.
   * @param head status line and field lines, see {@link renderHead}; framing and `connection` are added here
   * @param length bytes of the body; null = chunked, or until the end of the connection for HTTP/1.0
   */
  begin(head: string, length: number | null): void {
    this.#closeAfter = this.#closes(length);
    let text = "";
    // RFC 9110 8.6: none in a 204
    if (length !== null) text = length === 0 && noContent(head) ? "" : `content-length: ${length}\r\n`;
    else if (this.canChunk) text = "transfer-encoding: chunked\r\n";
    if (this.#closeAfter) text += "connection: close\r\n";
    else if (this.head.minor === 0) text += "connection: keep-alive\r\n";
    this.#pendingHead = `${head}${text}\r\n`;
    this.#headSent = true;
  }

  #closeAfter = false;

  #closes(length: number | null): boolean {
    return !this.head.keepAlive || this.#host.draining || !this.bodyComplete || (length === null && !this.canChunk);
  }

  /** Sends raw bytes of the body, framed already where the body is chunked. Queued bytes keep referring to `bytes`. */
  write(bytes: Buffer): void {
    const head = this.#pendingHead;
    if (head === null) {
      this.#host.writeBytes(bytes);
      return;
    }
    this.#pendingHead = null;
    if (bytes.length <= smallBytes) {
      // one-byte strings are the cheapest way from two places into one system call
      this.#host.writeBytes(head + bytes.toString("latin1"));
      return;
    }
    this.#host.writeAll(head, bytes);
  }

  /**
   * The same for latin1 text; short ones leave cheaper so, and refer to nothing.
   * @returns true = `needsDrain` need not be asked
   */
  writeText(text: string): boolean {
    const head = this.#pendingHead;
    if (head === null) return this.#host.writeBytes(text);
    this.#pendingHead = null;
    return this.#host.writeBytes(head + text);
  }

  /** Sends all of a body, as short latin1 text; with the answers of others, where there are many. */
  writeWhole(text: string): void {
    this.#host.writeSoon((this.#pendingHead ?? "") + text);
    this.#pendingHead = null;
  }

  /** Sends a piece of a body of unknown length and frames it: as a chunk, or as it is where there are none. */
  writePiece(payload: Buffer): void {
    this.write(this.canChunk ? asChunk(payload) : payload);
  }

  /** The proper end of such a body; for HTTP/1.0 it is the connection's. */
  endPieces(): void {
    if (this.canChunk) this.write(lastChunk);
  }

  /** Sends the head without waiting for the body. */
  flush(): void {
    if (this.#pendingHead === null) return;
    const head = this.#pendingHead;
    this.#pendingHead = null;
    this.#host.writeBytes(head);
  }

  /** Bytes that wait in this process for the client to read. */
  get queuedBytes(): number {
    return this.#host.queuedBytes;
  }

  /** True after a write when the client is slow: stop producing until `onDrain`. */
  get needsDrain(): boolean {
    return this.#host.needsDrain;
  }

  /** The answer is complete. @param nowMs by the clock, where it has been read */
  end(nowMs?: number): void {
    if (this.#finished) return;
    this.flush();
    this.#finished = true;
    this.#host.finish(this, this.#closeAfter, nowMs);
  }

  /** A whole answer in one call. */
  answer(status: number, headers: HeaderList, body: Buffer | string): void {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    this.begin(renderHead(status, "", headers), bytes.length);
    if (this.head.method !== "HEAD" && bytes.length > 0) this.write(bytes);
    this.end();
  }

  /** Ends the connection without a proper end of the answer: the client must see that it was cut. */
  cut(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#host.cut();
  }

  /** For the connection: the client has left. */
  clientGone(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.onClientGone?.();
  }
}
