// One connection of a client: bytes in, requests out one at a time, answers back in order. It holds the time limits for
// slow senders and readers. It must never answer a pipelined request before the one in front, and never drop the close of
// a connection: the engine works for whoever still listens. Long, since each of these depends on how far the others are.
import type { Socket } from "node:net";
import { LmstackError } from "../errors/catalogue.ts";
import type { Clock } from "../clock.ts";
import { readAccepted } from "./accepted-socket.ts";
import { Exchange, renderHead, type ExchangeHost } from "./exchange.ts";
import { Outlet } from "./outlet.ts";
import { RequestParser, type RequestHead, type RequestSink } from "./request-parser.ts";
import type { HeadTemplates } from "./head-template.ts";
import type { Sweepable, Sweeper } from "./sweeper.ts";
import type { HeaderList } from "./head.ts";

export interface ServerHandler {
  /** A request's head is whole. */
  onRequest(exchange: Exchange): void;
  /** How to tell a client that its bytes are not a request. */
  refusal(error: LmstackError): { status: number; headers: HeaderList; body: string };
}

export interface ConnectionLimits {
  readonly maxHeadBytes: number;
  readonly headMs: number;
  readonly bodyIdleMs: number;
  readonly keepAliveMs: number;
  readonly clientStallMs: number;
}

/** A client may go on sending for so long, and so much, after it was told no, so that it gets to read the answer. */
const lingerMs = 5_000;
const lingerBytes = 128 * 1024 * 1024;
/** At the end of a drain, what a connection that was just made may take until its first byte: its request is on its way. */
const firstWordsMs = 1_000;
/** Pipelined bytes held while a request is answered. */
const maxAheadBytes = 256 * 1024;

const continueLine = "HTTP/1.1 100 Continue\r\n\r\n";

export class ServerConnection implements RequestSink, ExchangeHost, Sweepable {
  readonly encrypted: boolean;
  // side by side, and first: all that is touched for each piece of each stream
  readonly #outlet: Outlet;
  #closed = false;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #limits: ConnectionLimits;
  readonly #handler: ServerHandler;
  readonly #sweeper: Sweeper<ServerConnection>;
  sweepSlot = -1;
  readonly #onClosed: (connection: ServerConnection) => void;
  readonly #parser: RequestParser;
  #exchange: Exchange | null = null;
  #maxBodyBytes = 0;
  #bodyBytes = 0;
  #dropBody = false;
  #ahead: Buffer[] = [];
  #aheadBytes = 0;
  /** The client pipelined more than is held: the connection ends with the present answer. */
  #aheadDropped = false;
  #feeding = false;
  #lingering = false;
  #lingered = 0;
  #draining: boolean;
  #ending = false;
  /** Whether it has carried a request. */
  #asked = false;
  /** Last progress of whatever is awaited; its meaning follows the state. */
  #sinceMs: number;
  readAtMs = 0;
  #lastQueued = 0;
  #stalledSinceMs = -1;
  #remoteAddress: string | null = null;

  constructor(
    accepted: Socket,
    clock: Clock,
    limits: ConnectionLimits,
    handler: ServerHandler,
    sweeper: Sweeper<ServerConnection>,
    draining: boolean,
    encrypted: boolean,
    templates: HeadTemplates<RequestHead>,
    onClosed: (connection: ServerConnection) => void,
  ) {
    const socket = encrypted ? accepted : readAccepted(accepted, this.#onData);
    this.#socket = socket;
    this.#outlet = new Outlet(socket, () => this.#exchange?.onDrain?.());
    this.#clock = clock;
    this.#limits = limits;
    this.#handler = handler;
    this.#sweeper = sweeper;
    this.#draining = draining;
    this.encrypted = encrypted;
    this.#onClosed = onClosed;
    this.#parser = new RequestParser(limits.maxHeadBytes, this, templates);
    this.#sinceMs = clock.nowMs();
    sweeper.add(this);
    if (encrypted) socket.on("data", (chunk: Buffer) => this.#onData(chunk, chunk.length));
    socket.on("end", () => this.#onEnd());
    socket.on("error", () => this.#onClose());
    socket.on("close", () => this.#onClose());
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Asked of the system when it is needed: many a connection never brings a request. */
  get remoteAddress(): string {
    return (this.#remoteAddress ??= this.#socket.remoteAddress ?? "");
  }

  /** The address, and how it is spoken with, are told to engines. */
  get origin(): string {
    return `${this.encrypted ? "https" : "http"} ${this.remoteAddress}`;
  }

  get busy(): boolean {
    return this.#exchange !== null;
  }

  get queuedBytes(): number {
    return this.#outlet.queuedBytes;
  }

  get needsDrain(): boolean {
    return this.#outlet.needsDrain;
  }

  /**
   * The next answer is the last one, and says so. An idle connection is left alone: a client whose request crosses with our
   * end could not know whether it was heard, and must not repeat a POST.
   */
  drain(): void {
    this.#draining = true;
  }

  /** As {@link drain}, and an idle connection ends now; one that has not said anything yet gets a moment for it. */
  closeIdle(): void {
    this.#draining = true;
    this.#ending = true;
    this.#closeUnused(this.#clock.nowMs());
  }

  #closeUnused(nowMs: number): void {
    if (this.#exchange !== null || this.#parser.inHead || this.#lingering) return;
    if (this.#asked || nowMs - this.#sinceMs > firstWordsMs) this.#close();
  }

  destroy(): void {
    this.#outlet.leave();
    this.#onClose();
  }

  // --- what the parser reports

  onHead(head: RequestHead): void {
    this.#asked = true;
    this.#bodyBytes = 0;
    this.#dropBody = false;
    this.#maxBodyBytes = 0;
    const exchange = new Exchange(head, this, this.#sinceMs);
    exchange.bodyComplete = head.contentLength === 0;
    this.#exchange = exchange;
    this.#handler.onRequest(exchange);
  }

  onBody(buf: Buffer, start: number, end: number): void {
    this.#bodyBytes += end - start;
    const exchange = this.#exchange;
    if (exchange === null || this.#dropBody) return;
    const reader = exchange.reader;
    if (reader === null) return;
    if (this.#bodyBytes > this.#maxBodyBytes) {
      this.#dropBody = true;
      reader.onBodyError(tooLarge(this.#maxBodyBytes));
      return;
    }
    reader.onBodyChunk(buf, start, end);
  }

  onMessageEnd(): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    exchange.bodyComplete = true;
    if (!this.#dropBody) exchange.reader?.onBodyEnd();
  }

  // --- what the exchange asks for

  readBody(exchange: Exchange, maxBytes: number): void {
    this.#maxBodyBytes = maxBytes;
    if (exchange.head.contentLength > maxBytes) {
      this.#dropBody = true;
      exchange.reader?.onBodyError(tooLarge(maxBytes));
      return;
    }
    if (exchange.head.expectContinue && exchange.head.contentLength !== 0) this.#outlet.write(continueLine);
  }

  writeBytes(bytes: Buffer | string): boolean {
    return this.#closed || this.#outlet.write(bytes);
  }

  writeSoon(text: string): void {
    if (!this.#closed) this.#outlet.writeSoon(text);
  }

  writeAll(head: string, bytes: Buffer): void {
    if (!this.#closed) this.#outlet.writeAll(head, [bytes]);
  }

  finish(exchange: Exchange, close: boolean, nowMs = this.#clock.nowMs()): void {
    if (exchange !== this.#exchange || this.#closed) return;
    this.#exchange = null;
    this.#sinceMs = nowMs;
    if (close || this.#draining || this.#aheadDropped) {
      if (exchange.bodyComplete) this.#close();
      else this.#linger();
      return;
    }
    // what was pipelined is taken up now, unless we stand in the middle of feeding, which goes on by itself
    if (!this.#feeding && this.#ahead.length > 0) {
      this.readAtMs = nowMs;
      this.#feedAhead();
    }
  }

  cut(): void {
    this.#exchange = null;
    if (this.#closed) return;
    // the answer before this one
    this.#outlet.leave();
    this.#closed = true;
    // A reset: a client must not take it for a proper end. TLS has none and throws when asked for one; there the missing
    // close_notify says the same. Nor can one be made of a socket whose end is on its way: Node would lose its handle.
    if (this.encrypted || this.#socket.writableEnded) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
    this.#leave();
  }

  // --- the socket

  /** @param buf bytes [0, length) were read; only lent */
  readonly #onData = (buf: Buffer, length: number): void => {
    if (this.#closed) return;
    if (this.#lingering) {
      this.#lingered += length;
      if (this.#lingered > lingerBytes) this.#onClose();
      return;
    }
    if (this.#exchange === null || this.#parser.inBody) {
      // a head has its time from its first byte on: one that drips must not live for ever
      this.readAtMs = this.#clock.nowMs();
      if (!this.#parser.inHead) this.#sinceMs = this.readAtMs;
      this.#feed(buf, length, true);
      return;
    }
    if (this.#aheadDropped) return;
    this.#ahead.push(Buffer.from(buf.subarray(0, length)));
    this.#aheadBytes += length;
    if (this.#aheadBytes > maxAheadBytes) {
      // Reading goes on all the same: only so is it seen that the client leaves. RFC 9112 9.3.2: who pipelines must be
      // ready to ask again on another connection.
      this.#aheadDropped = true;
      this.#ahead = [];
    }
  };

  /** @param lent the bytes are not ours: what waits of them has to be copied */
  #feed(chunk: Buffer, length: number, lent: boolean): void {
    this.#feeding = true;
    let at = 0;
    try {
      while (at < length && !this.#closed && !this.#lingering) {
        if (this.#exchange !== null && !this.#parser.inBody) {
          const rest = chunk.subarray(at, length);
          this.#ahead.unshift(lent ? Buffer.from(rest) : rest);
          this.#aheadBytes += length - at;
          break;
        }
        at = this.#parser.feed(chunk, at, length);
      }
    } catch (error) {
      this.#refuse(error instanceof LmstackError ? error : new LmstackError("internal_error", String(error)));
    } finally {
      this.#feeding = false;
    }
  }

  #feedAhead(): void {
    while (
      this.#ahead.length > 0 &&
      !this.#closed &&
      !this.#lingering &&
      (this.#exchange === null || this.#parser.inBody)
    ) {
      const chunk = this.#ahead.shift();
      if (chunk === undefined) break;
      this.#aheadBytes -= chunk.length;
      this.#feed(chunk, chunk.length, false);
    }
  }

  /** The bytes are no request: say so and close. */
  #refuse(error: LmstackError): void {
    const exchange = this.#exchange;
    if (exchange !== null) {
      // in the middle of a body: whoever reads it writes the answer
      this.#dropBody = true;
      if (exchange.reader === null) exchange.cut();
      else exchange.reader.onBodyError(error);
      return;
    }
    const { status, headers, body } = this.#handler.refusal(error);
    let text = renderHead(status, "", headers);
    text += `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n`;
    this.#outlet.writeAll(text, [Buffer.from(body)]);
    this.#linger();
  }

  /**
   * Ends our side and goes on reading for a while: closing with unread bytes makes the system send a reset, which can
   * destroy the answer before the client has read it.
   */
  #linger(): void {
    if (this.#closed) return;
    this.#lingering = true;
    this.#ahead = [];
    this.#sinceMs = this.#clock.nowMs();
    this.#outlet.end();
  }

  #close(): void {
    if (this.#closed) return;
    if (this.#outlet.queuedBytes === 0) {
      this.#outlet.end();
      this.#lingering = true;
      this.#sinceMs = this.#clock.nowMs();
    } else this.#linger();
  }

  #onEnd(): void {
    // A client that closes its side has left: a half-closed one can't be told from a dead one (vLLM does the same).
    // Only an answer that is complete and still on its way is let out first.
    if (this.#exchange === null && this.#outlet.queuedBytes > 0) this.#linger();
    else this.#onClose();
  }

  #onClose(): void {
    if (this.#closed) {
      this.#leave();
      return;
    }
    this.#closed = true;
    this.#socket.destroy();
    this.#leave();
  }

  #leave(): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#ahead = [];
    this.#sweeper.delete(this);
    this.#onClosed(this);
    exchange?.clientGone();
  }

  onSweep(nowMs: number): void {
    const waited = nowMs - this.#sinceMs;
    if ((this.#lingering || this.#exchange === null) && this.#outlet.queuedBytes > 0) {
      // the answer is finished and still on its way to a slow client: no other time runs until it has it
      this.#sinceMs = nowMs;
      this.#checkStall(nowMs);
      return;
    }
    if (this.#lingering) {
      if (waited > lingerMs) this.#onClose();
      return;
    }
    const exchange = this.#exchange;
    if (exchange === null) {
      if (this.#ending) this.#closeUnused(nowMs);
      if (this.#parser.inHead) {
        if (waited > this.#limits.headMs) this.#refuse(slow("the head", this.#limits.headMs));
      } else if (waited > this.#limits.keepAliveMs) this.#close();
      return;
    }
    if (this.#parser.inBody && !this.#dropBody && exchange.reader !== null && waited > this.#limits.bodyIdleMs) {
      this.#dropBody = true;
      exchange.reader.onBodyError(slow("the body", this.#limits.bodyIdleMs));
      return;
    }
    this.#checkStall(nowMs);
  }

  #checkStall(nowMs: number): void {
    const queued = this.#outlet.queuedBytes;
    if (queued === 0 || queued < this.#lastQueued || this.#stalledSinceMs < 0) this.#stalledSinceMs = nowMs;
    this.#lastQueued = queued;
    if (queued > 0 && nowMs - this.#stalledSinceMs > this.#limits.clientStallMs) this.#onClose();
  }
}

function tooLarge(maxBytes: number): LmstackError {
  return new LmstackError(
    "body_too_large",
    `The request body exceeds the limit of ${maxBytes} bytes (--max-body-bytes).`,
  );
}

function slow(what: string, limitMs: number): LmstackError {
  return new LmstackError(
    "request_timeout",
    `${what === "the head" ? "The request's head was" : "The request's body was"} not received within ${limitMs / 1000} s.`,
  );
}
