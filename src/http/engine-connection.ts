// One connection to an engine, carrying one request at a time. Written on sockets because the relay is the product: bytes
// are read into a buffer of our own and handed on in place. It must never half-close (vLLM takes that as the client's
// leaving) and never reuse a connection on which either message is incomplete.
import net from "node:net";
import tls from "node:tls";
import type { Clock } from "../clock.ts";
import type { HeadTemplates } from "./head-template.ts";
import { Outlet } from "./outlet.ts";
import { ResponseParser, type ResponseHead, type ResponseSink } from "./response-parser.ts";
import { readPastSocket } from "./stream-binding.ts";

export interface EngineAddress {
  readonly host: string;
  readonly port: number;
  /** null = plain TCP. */
  readonly tls: { readonly ca: string | null; readonly rejectUnauthorized: boolean } | null;
}

/** A request's body on its way: latin1 text, or pieces that must not be changed until the answer is over. */
export type OutgoingBody = string | readonly Buffer[];

/** `local`: this machine has no port or file descriptor left, which says nothing about the engine. */
export type EngineFailureKind =
  | "local"
  | "dns"
  | "refused"
  | "connect_timeout"
  | "tls"
  | "reset"
  | "closed"
  | "bad_response";

export interface EngineFailure {
  readonly kind: EngineFailureKind;
  /** For people: the system's error, or what was wrong with the bytes. */
  readonly detail: string;
  /** Whether any byte of an answer to this request had arrived. */
  readonly answered: boolean;
  /** Whether the connection had carried an earlier request. */
  readonly reused: boolean;
}

/** What the owner of a request on the connection is told. After `onMessageEnd` or `onFailure` nothing more comes. */
export interface EngineReceiver extends ResponseSink {
  onHead(head: ResponseHead): void;
  onFailure(failure: EngineFailure): void;
  /** The socket took everything: more may be read on the other side. */
  onConnected(): void;
}

/** Takes reads that it recognises, past the parser: the short way of events, which nearly all reads are. */
export interface ReadTaker {
  /**
   * @param buf bytes [0, length) were read, and begin between two chunks
   * @returns false = not recognised and not used: they are parsed as usual
   */
  takeRead(buf: Buffer, length: number): boolean;
}

/** Bytes asked of the system in one read. */
const readBytes = 64 * 1024;
/**
 * Where all connections read to begin with: events are small and worked off at once, and one buffer stays in the processor's
 * cache where a buffer for each of a thousand streams would not.
 */
const sharedBuffer = Buffer.allocUnsafeSlow(readBytes);
/** Node asks for a buffer after each read and, told nothing, stays with the one it has, without finding its memory again. */
const sameBuffer = undefined as unknown as Buffer;
/** A connection that reads more than this at once gets a buffer of its own, so that large answers need not be copied. */
const largeReadBytes = 4 * 1024;
const maxHeadBytes = 64 * 1024;

export class EngineConnection implements ResponseSink {
  // side by side, and first: all that is touched for each read in the middle of a stream
  #taker: ReadTaker | null = null;
  #buffer: Buffer = sharedBuffer;
  /** Reads so far: for those who want to know whether the engine is alive without asking the clock at each. */
  reads = 0;
  /** The next read needs a buffer that nobody uses. */
  #needsBuffer = false;
  #connected = false;
  readonly #socket: net.Socket;
  readonly #outlet: Outlet;
  readonly #clock: Clock;
  readonly #parser: ResponseParser;
  readonly #onClosed: (connection: EngineConnection) => void;
  readonly #onIdle: (connection: EngineConnection) => void;
  #receiver: EngineReceiver | null = null;
  #served = 0;
  #answered = false;
  #keepAlive = false;
  #closed = false;
  #paused = false;
  /** When it became idle, by the clock. */
  idleSinceMs = 0;
  /** When the bytes, or the end, that are being reported came, by the clock; reads that a {@link ReadTaker} takes do not count. */
  readAtMs = 0;

  constructor(
    address: EngineAddress,
    clock: Clock,
    templates: HeadTemplates<ResponseHead>,
    onIdle: (connection: EngineConnection) => void,
    onClosed: (connection: EngineConnection) => void,
  ) {
    this.#clock = clock;
    this.#onIdle = onIdle;
    this.#onClosed = onClosed;
    this.#parser = new ResponseParser(maxHeadBytes, this, templates);
    this.#socket = address.tls === null ? this.#connectPlain(address) : this.#connectTls(address, address.tls);
    this.#outlet = new Outlet(this.#socket, () => undefined);
    this.#socket.on("end", () => this.#onEndOfInput());
    this.#socket.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(classify(error, this.#connected), error.message),
    );
    this.#socket.on("close", () => this.#onEndOfInput());
  }

  get connected(): boolean {
    return this.#connected;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether nothing of the request waits in this process any more. */
  get requestSent(): boolean {
    return this.#closed || this.#outlet.queuedBytes === 0;
  }

  /** Whether an earlier request was answered on it. */
  get reused(): boolean {
    return this.#served > 0;
  }

  /**
   * Sends a request. Head and a small body leave in one write.
   * @param head request line and header fields with the final empty line, latin1
   */
  send(head: string, body: OutgoingBody, headRequest: boolean, receiver: EngineReceiver): void {
    this.#receiver = receiver;
    this.#answered = false;
    this.#parser.reset(headRequest);
    // one-byte strings are the cheapest way from two places into one system call
    if (typeof body === "string") this.#outlet.writeSoon(head + body);
    else this.#outlet.writeAll(head, body);
  }

  /** Stops reading: the client is slow. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** The bytes of the read that is being reported stay in use (queued in another socket): the next read gets a new buffer. */
  keepBuffer(): void {
    this.#needsBuffer = true;
  }

  /** Whether the bytes that are being reported lie in memory that the next read of any connection overwrites. */
  get readsShared(): boolean {
    return this.#buffer === sharedBuffer;
  }

  /**
   * What is read from now on is offered to `taker` first, until it does not recognise something. To be called from within
   * `onRead`, after whole chunks.
   */
  offerReads(taker: ReadTaker): void {
    this.#taker = taker;
  }

  /** Ends the connection at once: the engine sees the client leave. Nothing is reported to the receiver any more. */
  destroy(): void {
    this.#receiver = null;
    this.#close();
  }

  /** Ends the connection because it could not be made in time. */
  failConnect(detail: string): void {
    this.#fail("connect_timeout", detail);
  }

  onHead(head: ResponseHead): void {
    this.#keepAlive =
      head.keepAlive && (head.chunked || head.contentLength >= 0 || head.status === 204 || head.status === 304);
    this.#receiver?.onHead(head);
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    this.#receiver?.onChunkData(buf, start, end);
  }

  onRead(buf: Buffer, start: number, end: number, whole: boolean, last: boolean): void {
    this.#receiver?.onRead(buf, start, end, whole, last);
  }

  onMessageEnd(): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    this.#taker = null;
    this.#served++;
    // An answer before the whole request was taken leaves the rest of the request on the wire: not reusable.
    const reusable = this.#keepAlive && !this.#closed && this.#outlet.queuedBytes === 0;
    if (reusable) {
      if (this.#paused) this.resume();
      this.idleSinceMs = this.readAtMs;
      this.#onIdle(this);
    } else this.#close();
    receiver?.onMessageEnd();
  }

  #connectPlain(address: EngineAddress): net.Socket {
    const socket = net.connect({
      host: address.host,
      port: address.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      onread: {
        buffer: () => this.#nextBuffer() ?? (this.#connected ? sameBuffer : this.#buffer),
        callback: (length: number) => {
          this.#take(length);
          return true;
        },
      },
    });
    socket.once("connect", () => {
      readPastSocket(socket, (length) => {
        this.#take(length);
        return this.#nextBuffer();
      });
      this.#onConnect();
    });
    return socket;
  }

  #take(length: number): void {
    if (length > largeReadBytes && this.#buffer === sharedBuffer) this.#needsBuffer = true;
    this.#onData(this.#buffer, length);
  }

  /** undefined = the same again */
  #nextBuffer(): Buffer | undefined {
    if (!this.#needsBuffer) return undefined;
    this.#needsBuffer = false;
    this.#buffer = Buffer.allocUnsafeSlow(readBytes);
    return this.#buffer;
  }

  #connectTls(address: EngineAddress, options: NonNullable<EngineAddress["tls"]>): net.Socket {
    const socket = tls.connect({
      host: address.host,
      port: address.port,
      rejectUnauthorized: options.rejectUnauthorized,
      ALPNProtocols: ["http/1.1"],
      ...(net.isIP(address.host) === 0 ? { servername: address.host } : {}),
      ...(options.ca === null ? {} : { ca: options.ca }),
    });
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      this.#buffer = chunk;
      this.#onData(chunk, chunk.length);
    });
    socket.once("secureConnect", this.#onConnect);
    return socket;
  }

  readonly #onConnect = (): void => {
    this.#connected = true;
    this.#receiver?.onConnected();
  };

  #onData(buf: Buffer, length: number): void {
    this.reads++;
    const taker = this.#taker;
    if (taker !== null) {
      if (taker.takeRead(buf, length)) return;
      this.#taker = null;
    }
    if (this.#closed) return;
    if (this.#receiver === null) {
      // an idle connection has nothing to say: an answer nobody asked for would be taken for the next one
      this.#close();
      return;
    }
    if (!this.#answered) {
      // an engine that speaks unasked, or of a request before this one: these bytes answer nothing that has been sent
      if (this.#outlet.waits) {
        this.#fail("closed", "bytes before the request had left");
        return;
      }
      this.#answered = true;
    }
    this.readAtMs = this.#clock.nowMs();
    let used: number;
    try {
      used = this.#parser.feed(buf, 0, length);
    } catch (error) {
      this.#fail("bad_response", error instanceof Error ? error.message : String(error));
      return;
    }
    // More than was asked for. A request that was just sent on it, in the same turn, was not what these bytes answer.
    if (used < length) this.#fail("closed", "bytes after the end of the answer");
  }

  #onEndOfInput(): void {
    if (this.#closed) return;
    this.readAtMs = this.#clock.nowMs();
    if (this.#receiver !== null && this.#answered && this.#parser.endOfInput()) {
      this.#close();
      return;
    }
    this.#fail("closed", "the engine closed the connection");
  }

  #fail(kind: EngineFailureKind, detail: string): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    this.#close();
    receiver?.onFailure({ kind, detail, answered: this.#answered, reused: this.#served > 0 });
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#taker = null;
    this.#socket.destroy();
    this.#onClosed(this);
  }
}

function classify(error: NodeJS.ErrnoException, connected: boolean): EngineFailureKind {
  if (connected) return "reset";
  switch (error.code) {
    case "EMFILE":
    case "ENFILE":
    case "EADDRNOTAVAIL":
    case "ENOBUFS":
    case "ENOMEM":
      return "local";
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_FAIL":
      return "dns";
    case "ETIMEDOUT":
      return "connect_timeout";
    default:
      return error.code !== undefined && /^(ERR_TLS|ERR_SSL|CERT|DEPTH|SELF_SIGNED|UNABLE_TO)/.test(error.code)
        ? "tls"
        : "refused";
  }
}
