// Passes an event stream on. Where a read holds whole chunks of whole frames, which is how vLLM sends, the bytes go on as
// they came, in the same turn of the loop; else frames are put into chunks of our own and an incomplete one waits for its
// rest. It must never let a truncated stream end like a whole one.
import { findUsage } from "../api/usage.ts";
import type { RelayRow } from "../api/table.ts";
import { LmstackError } from "../errors/catalogue.ts";
import { latin1 } from "../http/bytes.ts";
import type { EngineConnection, ReadTaker } from "../http/engine-connection.ts";
import { areEventChunks } from "../http/event-chunk.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import { SseScanner, type FrameKind, type FrameSink } from "../http/sse-scanner.ts";
import { firstFrameFailure } from "./failure.ts";
import type { KeptStream } from "./migration/kept-stream.ts";
import { maxTextBytes, passOn, type Relay, type RelayOwner } from "./relay.ts";

const usageText = '"usage"';
const usageKey = Buffer.from(usageText);
/** An engine that was told to stop says so in its last event, as if that were an answer's end. */
const abortText = '"finish_reason":"abort"';
const numberKey = Buffer.from('"sequence_number":');
const responseEnd = /^event: ?response\.(completed|incomplete|failed)\r?\n/;
/** At the start of the event: a text that a model makes may speak of `message_stop`, too. */
const messageEnd = /^(?:event: ?message_stop\r?\n|data: ?\{"type": ?"message_stop")/;

export class StreamRelay implements Relay, FrameSink, ReadTaker {
  // on the way of each frame: taken out of what holds them, side by side, since a thousand streams do not fit into the
  // processor's cache
  /** Takes what passes, so that another engine can go on. */
  #kept: KeptStream | null;
  readonly #exchange: Exchange;
  readonly #owner: RelayOwner;
  readonly #connection: EngineConnection;
  readonly #head: ResponseHead;
  readonly #canChunk: boolean;
  readonly #lastEvent: RelayRow["lastEvent"];
  readonly #endpointId: string;
  readonly #scanner = new SseScanner(this);
  /** The payload of the present read: its first range, and further ones as start, end, start, end, ... */
  #firstStart = 0;
  #firstEnd = 0;
  #ranges: number[] | null = null;
  #prefix: Buffer | null = null;
  #reading = false;
  /** Where the payload of the present read lies; null = none has come. */
  #buffer: Buffer | null = null;
  #committed = false;
  #hasEvent = false;
  #sawLast = false;
  #over = false;
  #terminated = false;
  /** Bytes of complete frames in the present read. */
  #frameBytes = 0;
  /** Where an event begins in them that must not pass, nor what follows: the engine has failed. */
  #cutAt = -1;
  /** That event, where it is an error that may be told. */
  #errorFrame: Buffer | null = null;
  #firstError: Buffer | null = null;
  #askedForResponseId: boolean;
  lastNumber = -1;
  /** Events of these APIs need a look only where they are errors, usage or the end. */
  readonly #mayTake: boolean;

  constructor(owner: RelayOwner, connection: EngineConnection, head: ResponseHead, row: RelayRow, endpointId: string) {
    this.#owner = owner;
    this.#connection = connection;
    this.#head = head;
    this.#exchange = owner.exchange;
    this.#canChunk = owner.exchange.canChunk;
    this.#lastEvent = row.lastEvent;
    this.#endpointId = endpointId;
    this.#askedForResponseId = row.api === "responses";
    this.#mayTake = row.lastEvent === "[DONE]" || row.lastEvent === null;
    this.#kept = owner.keep();
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    if (this.#over) return;
    if (!this.#reading) this.#beginRead();
    this.#buffer = buf;
    if (this.#firstEnd === 0) {
      this.#firstStart = start;
      this.#firstEnd = end;
    } else (this.#ranges ??= []).push(start, end);
    if (!this.#scanner.feed(buf, start, end)) {
      this.#end(new LmstackError("engine_bad_response", "The engine's stream has a frame without end."));
    }
  }

  onFrame(kind: FrameKind, buf: Buffer, start: number, end: number, payloadStart: number): void {
    if (this.#cutAt >= 0) return;
    this.#frameBytes += end - start;
    if (kind === "comment") return;
    if (kind === "error") {
      if (!this.#hasEvent) this.#firstError = Buffer.from(buf.subarray(payloadStart < 0 ? start : payloadStart, end));
      this.#errorFrame = Buffer.from(buf.subarray(start, end));
      this.#cutAt = this.#frameBytes - (end - start);
      return;
    }
    if (this.#lastEvent === "[DONE]" && kind === "data" && !this.#keepText(buf, start, end, payloadStart)) {
      if (!this.#hasEvent) this.#firstError = Buffer.alloc(0);
      this.#cutAt = this.#frameBytes - (end - start);
      return;
    }
    this.#hasEvent = true;
    if (kind === "done") {
      this.#sawLast = true;
      return;
    }
    const lastEvent = this.#lastEvent;
    if (lastEvent !== "message_stop" && lastEvent !== "response") return;
    const frame = buf.subarray(start, end);
    if (lastEvent === "message_stop") {
      if (messageEnd.test(frame.toString("latin1", 0, 40))) this.#sawLast = true;
    } else {
      if (responseEnd.test(frame.toString("latin1", 0, 40))) this.#sawLast = true;
      this.#readNumber(frame);
      if (this.#askedForResponseId) this.#findResponseId(frame);
    }
  }

  onRead(buf: Buffer, start: number, end: number, whole: boolean, last: boolean): void {
    if (this.#over) return;
    if (!this.#reading) this.#beginRead();
    this.#reading = false;
    if (this.#firstError !== null) {
      this.#failFirst(this.#firstError);
      return;
    }
    if (!this.#hasEvent) {
      // only comments so far: the client has no head yet, and they say nothing to it
      this.#drop();
      return;
    }
    const exchange = this.#exchange;
    if (!this.#committed) {
      this.#committed = true;
      this.#owner.commit(this.#head, true, null);
    }
    const raw =
      whole &&
      this.#canChunk &&
      this.#prefix === null &&
      this.#scanner.heldBytes === 0 &&
      this.#cutAt < 0 &&
      !(last && !this.#isWhole());
    if (raw) {
      this.#terminated = last;
      // chunk framing can stand inside an event: only where there is usage is it looked at without
      if (end - start <= maxTextBytes) {
        const text = latin1(buf, start, end);
        if (text.includes(usageText)) this.#readUsage(this.#frames(buf));
        else if (this.#mayTake) this.#connection.offerReads(this);
        if (!exchange.writeText(text) && exchange.needsDrain) this.#connection.pause();
      } else {
        if (buf.subarray(start, end).indexOf(usageKey) >= 0) this.#readUsage(this.#frames(buf));
        passOn(exchange, this.#connection, buf, start, end);
      }
      this.#drop();
      return;
    }
    const frames = this.#frames(buf);
    this.#readUsage(frames);
    if (frames.length > 0) {
      exchange.writePiece(frames);
      if (exchange.needsDrain) this.#connection.pause();
    }
    const cut = this.#cutAt >= 0;
    this.#drop();
    if (cut) this.#end(new LmstackError("stream_interrupted", `The engine ${this.#endpointId} failed in mid-stream.`));
  }

  /**
   * The short way of a read in mid-stream: whole chunks of one event each that mean nothing to a router. It does what `onRead`
   * would do, and touches no state but the exchange's.
   */
  takeRead(buf: Buffer, length: number): boolean {
    if (length > maxTextBytes) return false;
    const kept = this.#kept;
    const plain = kept !== null && kept.keepChunks(buf, length);
    if (!plain) {
      if (!areEventChunks(buf, length)) return false;
      if (kept !== null) {
        if (kept.problem === null) return false;
        this.#kept = null;
      }
    }
    const text = latin1(buf, 0, length);
    if (!plain && (text.includes(usageText) || text.includes(abortText))) return false;
    const exchange = this.#exchange;
    if (!exchange.writeText(text) && exchange.needsDrain) this.#connection.pause();
    return true;
  }

  onMessageEnd(): void {
    if (this.#over) return;
    this.#over = true;
    const exchange = this.#exchange;
    if (!this.#isWhole() || !this.#committed) {
      const error = new LmstackError(
        "stream_interrupted",
        `The engine ${this.#endpointId} ended its stream before the last event.`,
      );
      if (this.#committed) this.#owner.interrupted(error, null, "reset");
      else this.#owner.failed(firstFrameFailure(this.#head, Buffer.alloc(0), this.#endpointId));
      return;
    }
    if (!this.#terminated) exchange.endPieces();
    this.#owner.completed();
  }

  flush(): boolean {
    if (this.#reading && this.#committed && this.#buffer !== null) this.onRead(this.#buffer, 0, 0, false, false);
    return this.#over;
  }

  /** Token usage in complete frames; where several tell it the last one counts. */
  #readUsage(frames: Buffer): void {
    if (this.#lastEvent !== "message_stop") {
      const usage = findUsage(frames);
      if (usage !== null) this.#owner.usage(usage);
      return;
    }
    // Anthropic's events tell prompt and answer apart, and may come in one read
    for (const part of frames.toString("latin1").split("\n\n")) {
      const usage = findUsage(Buffer.from(part, "latin1"));
      if (usage !== null) this.#owner.usage(usage);
    }
  }

  get whole(): boolean {
    return this.#committed && this.#sawLast && this.#isWhole();
  }

  /** Whether the stream may end here. What follows the last event, an empty line too many say, is nothing that is missing. */
  #isWhole(): boolean {
    return this.#sawLast || (this.#lastEvent === null && this.#scanner.heldBytes === 0);
  }

  #beginRead(): void {
    this.#reading = true;
    this.#frameBytes = 0;
    this.#prefix = this.#scanner.heldBytes > 0 ? Buffer.from(this.#scanner.heldView()) : null;
  }

  #drop(): void {
    this.#firstEnd = 0;
    this.#ranges = null;
    this.#prefix = null;
    this.#buffer = null;
  }

  /** Complete frames of the present read, with what was held before it, in memory of their own. */
  #frames(buf: Buffer): Buffer {
    const parts: Buffer[] = this.#prefix === null ? [] : [this.#prefix];
    if (this.#firstEnd > 0) parts.push(buf.subarray(this.#firstStart, this.#firstEnd));
    const ranges = this.#ranges ?? [];
    for (let i = 0; i < ranges.length; i += 2) parts.push(buf.subarray(ranges[i], ranges[i + 1]));
    const all = Buffer.concat(parts);
    const stop = this.#cutAt >= 0 ? this.#cutAt : all.length - this.#scanner.heldBytes;
    return all.subarray(0, stop);
  }

  /** @returns false = the event says that the engine was told to stop, which is no answer's end */
  #keepText(buf: Buffer, start: number, end: number, payloadStart: number): boolean {
    if (this.#kept?.keepPlain(buf, start, end) === true) return true;
    if (buf.toString("latin1", start, end).includes(abortText)) return false;
    this.#kept?.keepEvent(buf, start, end, payloadStart);
    return true;
  }

  #end(error: LmstackError): void {
    this.#over = true;
    this.#connection.destroy();
    const cause = this.#errorFrame !== null ? "error_frame" : this.#cutAt >= 0 ? "abort" : "reset";
    if (this.#committed) this.#owner.interrupted(error, this.#errorFrame, cause);
    else this.#owner.failed(firstFrameFailure(this.#head, Buffer.alloc(0), this.#endpointId));
  }

  #failFirst(payload: Buffer): void {
    this.#over = true;
    this.#connection.destroy();
    this.#owner.failed(firstFrameFailure(this.#head, payload, this.#endpointId));
  }

  /** An error of ours takes the next number. Inside a text the key's quotes would be escaped. */
  #readNumber(frame: Buffer): void {
    const at = frame.lastIndexOf(numberKey);
    if (at < 0) return;
    const number = Number.parseInt(frame.toString("latin1", at + numberKey.length, at + numberKey.length + 16), 10);
    if (number >= 0) this.lastNumber = number;
  }

  #findResponseId(frame: Buffer): void {
    const match = /"id": ?"(resp_[^"]{1,200})"/.exec(frame.toString("latin1", 0, 2048));
    if (match?.[1] === undefined) return;
    this.#askedForResponseId = false;
    this.#owner.responseId(match[1]);
  }
}
