// Passes any answer on that is no event stream: JSON, audio, text. Bytes and framing go on as they came where the client can
// take them. A cut answer is cut towards the client too, never padded and never ended as if it were whole.
import { LmstackError } from "../errors/catalogue.ts";
import { findUsage, findUsageInText } from "../api/usage.ts";
import type { RelayRow } from "../api/table.ts";
import type { EngineConnection } from "../http/engine-connection.ts";
import { latin1 } from "../http/bytes.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import { firstFrameFailure } from "./failure.ts";
import { maxTextBytes, passOn, type Relay, type RelayOwner } from "./relay.ts";

/** A stored response names itself in its first bytes. */
const maxIdAt = 2048;
/** `usage` stands near the end of a JSON answer; so much of it is kept while a long one passes. */
const tailBytes = 8 * 1024;
/**
 * What an engine writes that was told to stop: half an answer with a good status. Without its first quote, of which JSON is
 * full: a search looks for the first byte first.
 */
const abortText = 'finish_reason":"abort"';
const abortKey = Buffer.from(abortText);

export class PlainRelay implements Relay {
  readonly #owner: RelayOwner;
  readonly #connection: EngineConnection;
  readonly #head: ResponseHead;
  readonly #row: RelayRow;
  readonly #json: boolean;
  #committed = false;
  #over = false;
  readonly #endpointId: string;
  readonly #generated: boolean;
  #tail: Buffer | null = null;
  #bytes = 0;

  constructor(owner: RelayOwner, connection: EngineConnection, head: ResponseHead, row: RelayRow, endpointId: string) {
    this.#owner = owner;
    this.#connection = connection;
    this.#head = head;
    this.#row = row;
    this.#json = head.status === 200 && head.mediaType === "application/json";
    this.#generated = this.#json && (row.api === "completions" || row.api === "chat");
    this.#endpointId = endpointId;
  }

  /** Only its framing says where such an answer ends. */
  readonly whole = false;

  /** Pieces of a read go on as they come. */
  flush(): boolean {
    return false;
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    if (this.#over) return;
    const length = end - start;
    if (length <= maxTextBytes && length === this.#head.contentLength) {
      this.#passWhole(buf, start, end);
      return;
    }
    const bytes = buf.subarray(start, end);
    if (this.#generated && this.#bytes + length === this.#head.contentLength && this.#wasAborted(bytes)) {
      this.#abort();
      return;
    }
    this.#commit();
    this.#pass(buf, start, end, bytes);
    // after it has left: the client need not wait for what only the books want
    if (this.#json) this.#look(bytes);
    this.#bytes += bytes.length;
  }

  /** A short answer that is whole in one read, as most are: it is searched as the text as which it goes on. */
  #passWhole(buf: Buffer, start: number, end: number): void {
    const text = latin1(buf, start, end);
    if (this.#generated && text.includes(abortText)) {
      this.#abort();
      return;
    }
    this.#committed = true;
    this.#owner.commit(this.#head, false, end - start, this.#connection.readAtMs, text);
    if (!this.#json) return;
    if (this.#row.api === "responses") this.#findId(text);
    const usage = findUsageInText(text, buf, start, end);
    if (usage !== null) this.#owner.usage(usage);
  }

  #abort(): void {
    this.#over = true;
    this.#connection.destroy();
    const message = `The engine ${this.#endpointId} was told to stop in mid-answer.`;
    // the last piece has not passed: what the client has is visibly cut
    if (this.#committed) this.#owner.interrupted(new LmstackError("stream_interrupted", message), null, "abort");
    else this.#owner.failed(firstFrameFailure(this.#head, Buffer.alloc(0), this.#endpointId));
  }

  #pass(buf: Buffer, start: number, end: number, bytes: Buffer): void {
    const { exchange } = this.#owner;
    if (this.#head.chunked) {
      // HTTP/1.0 knows no chunks; else the raw chunks go on in `onRead`
      if (!exchange.canChunk) passOn(exchange, this.#connection, buf, start, end);
    } else if (this.#head.contentLength >= 0 || !exchange.canChunk) passOn(exchange, this.#connection, buf, start, end);
    else {
      exchange.writePiece(bytes);
      if (exchange.needsDrain) this.#connection.pause();
    }
  }

  onRead(buf: Buffer, start: number, end: number): void {
    if (!this.#head.chunked || !this.#owner.exchange.canChunk || start === end) return;
    this.#commit();
    passOn(this.#owner.exchange, this.#connection, buf, start, end);
  }

  onMessageEnd(): void {
    if (this.#over) return;
    this.#commit();
    const { exchange } = this.#owner;
    if (this.#tail !== null) {
      const usage = findUsage(this.#tail);
      if (usage !== null) this.#owner.usage(usage);
    }
    const untilClose = !this.#head.chunked && this.#head.contentLength < 0;
    if (untilClose && this.#length() === null) exchange.endPieces();
    this.#owner.completed(this.#connection.readAtMs);
  }

  #commit(): void {
    if (this.#committed) return;
    this.#committed = true;
    this.#owner.commit(this.#head, false, this.#length(), this.#connection.readAtMs);
  }

  /** @param last what completes the answer */
  #wasAborted(last: Buffer): boolean {
    if (last.includes(abortKey)) return true;
    return this.#tail !== null && Buffer.concat([this.#tail, last]).includes(abortKey);
  }

  /** Length of the answer to the client; null = framed by chunks or by the end of the connection. */
  #length(): number | null {
    if (this.#head.contentLength >= 0) return this.#head.contentLength;
    return this.#head.status === 204 || this.#head.status === 304 ? 0 : null;
  }

  #findId(text: string): void {
    const match = /"id": ?"(resp_[^"]{1,200})"/.exec(text.slice(0, maxIdAt));
    if (match?.[1] !== undefined) this.#owner.responseId(match[1]);
  }

  #look(view: Buffer): void {
    if (this.#bytes === 0 && this.#row.api === "responses") this.#findId(view.toString("latin1", 0, maxIdAt));
    if (this.#bytes + view.length === this.#head.contentLength && this.#bytes === 0) {
      const usage = findUsage(view);
      if (usage !== null) this.#owner.usage(usage);
      return;
    }
    const joined = this.#tail === null ? view : Buffer.concat([this.#tail, view]);
    this.#tail = Buffer.from(joined.subarray(Math.max(0, joined.length - tailBytes)));
  }
}
