// The chunked transfer coding of RFC 9112 section 7.1, incremental and strict: CRLF only, no white space, extensions only as
// plain tokens (quoted strings are where readers disagree), trailers checked and dropped. It works in place: payload is
// reported as ranges of the buffer that was fed.
import { hexDigit, isFieldValueCode, isTokenCode } from "./bytes.ts";
import { malformed } from "./head.ts";

const size = 0;
const extension = 1;
const sizeLf = 2;
const data = 3;
const dataCr = 4;
const dataLf = 5;
const trailerStart = 6;
const trailerName = 7;
const trailerValue = 8;
const trailerLf = 9;
const endLf = 10;
const done = 11;

export interface ChunkSink {
  /** A piece of payload: bytes [start, end) of the buffer that is being fed. */
  onChunkData(buf: Buffer, start: number, end: number): void;
}

export class ChunkedDecoder {
  #state = size;
  #digits = 0;
  #remaining = 0;
  #overhead = 0;
  #extensionValue = false;
  #extensionLength = 0;
  #trailers = false;
  readonly #maxOverheadBytes: number;

  /** @param maxOverheadBytes bound on one chunk line with its extensions, and on all trailers */
  constructor(maxOverheadBytes: number) {
    this.#maxOverheadBytes = maxOverheadBytes;
  }

  get finished(): boolean {
    return this.#state === done;
  }

  /** True between two chunks: what was fed so far is whole chunks (or nothing). */
  get atBoundary(): boolean {
    return (this.#state === size && this.#digits === 0) || this.#state === done;
  }

  /** Whether trailer fields were seen. */
  get sawTrailers(): boolean {
    return this.#trailers;
  }

  /**
   * @returns offset of the first byte that does not belong to the body; `end` unless the last chunk was seen
   * @throws LmstackError `malformed_http`
   */
  feed(buf: Buffer, start: number, end: number, sink: ChunkSink): number {
    let at = start;
    while (at < end) {
      if (this.#state === data) {
        const take = Math.min(this.#remaining, end - at);
        this.#remaining -= take;
        // the state moves first: the sink may ask where we are
        if (this.#remaining === 0) this.#state = dataCr;
        sink.onChunkData(buf, at, at + take);
        at += take;
        continue;
      }
      if (this.#state === done) return at;
      if (this.#state === size && this.#digits === 0) {
        const next = wholeChunk(buf, at, end);
        if (next >= 0) {
          sink.onChunkData(buf, dataStart(buf, at), next - 2);
          at = next;
          continue;
        }
      }
      this.#step(buf[at] ?? 0);
      at++;
    }
    return at;
  }

  #step(code: number): void {
    switch (this.#state) {
      case size: {
        const digit = hexDigit(code);
        if (digit >= 0) {
          if (++this.#digits > 13) throw malformed("chunk size is too large");
          this.#remaining = this.#remaining * 16 + digit;
          return;
        }
        if (this.#digits === 0) throw malformed("chunk size is not a hexadecimal number");
        this.#digits = 0;
        this.#overhead = 0;
        if (code === 0x0d) this.#state = sizeLf;
        else if (code === 0x3b) {
          this.#state = extension;
          this.#extensionValue = false;
          this.#extensionLength = 0;
        } else throw malformed("chunk size is not followed by CRLF");
        return;
      }
      case extension:
        this.#count();
        if (isTokenCode(code)) this.#extensionLength++;
        else if (this.#extensionLength === 0) throw malformed("empty chunk extension");
        else if (code === 0x0d) this.#state = sizeLf;
        else if (code === 0x3d && !this.#extensionValue) {
          this.#extensionValue = true;
          this.#extensionLength = 0;
        } else if (code === 0x3b) {
          this.#extensionValue = false;
          this.#extensionLength = 0;
        } else throw malformed("chunk extension is not a plain token");
        return;
      case sizeLf:
        if (code !== 0x0a) throw malformed("chunk size line ends with a bare CR");
        this.#state = this.#remaining === 0 ? trailerStart : data;
        this.#overhead = 0;
        return;
      case dataCr:
        if (code !== 0x0d) throw malformed("chunk data is longer than its size");
        this.#state = dataLf;
        return;
      case dataLf:
        if (code !== 0x0a) throw malformed("chunk data ends with a bare CR");
        this.#state = size;
        return;
      case trailerStart:
        if (code === 0x0d) this.#state = endLf;
        else if (isTokenCode(code)) {
          this.#state = trailerName;
          this.#trailers = true;
          this.#count();
        } else throw malformed("trailer field name is not a token");
        return;
      case trailerName:
        this.#count();
        if (code === 0x3a) this.#state = trailerValue;
        else if (!isTokenCode(code)) throw malformed("trailer field name is not a token");
        return;
      case trailerValue:
        this.#count();
        if (code === 0x0d) this.#state = trailerLf;
        else if (!isFieldValueCode(code)) throw malformed("control character in a trailer field");
        return;
      case trailerLf:
        if (code !== 0x0a) throw malformed("trailer line ends with a bare CR");
        this.#state = trailerStart;
        return;
      default: // endLf
        if (code !== 0x0a) throw malformed("the last chunk ends with a bare CR");
        this.#state = done;
    }
  }

  #count(): void {
    if (++this.#overhead > this.#maxOverheadBytes) throw malformed("chunk extensions or trailers are too long");
  }
}

/**
 * The common case, one look at a time instead of one byte: a chunk that is whole in the buffer, without extensions, and not
 * the last.
 * @returns offset behind it, or -1 for all other cases
 */
function wholeChunk(buf: Buffer, start: number, end: number): number {
  let at = start;
  let length = 0;
  for (let digit = hexDigit(buf[at] ?? 0); digit >= 0; digit = hexDigit(buf[at] ?? 0)) {
    // six digits are more than one read holds
    if (at++ - start >= 6) return -1;
    length = length * 16 + digit;
  }
  if (length === 0 || buf[at] !== 0x0d || buf[at + 1] !== 0x0a) return -1;
  const stop = at + 2 + length;
  return stop + 2 <= end && buf[stop] === 0x0d && buf[stop + 1] === 0x0a ? stop + 2 : -1;
}

/** Where the data of a chunk begins whose size line is known to be good. */
function dataStart(buf: Buffer, start: number): number {
  let at = start;
  while (buf[at] !== 0x0a) at++;
  return at + 1;
}
