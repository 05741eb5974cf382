// What the parsers report for some bytes, as plain values that can be compared. Every piece is fed in the middle of a
// larger buffer whose surroundings would matter if they were read, and is wiped afterwards: a parser that looks beyond
// its range, or keeps a reference where it must copy, gives another trace.
import { LmstackError } from "../../src/errors/catalogue.ts";
import { ChunkedDecoder } from "../../src/http/chunked-decoder.ts";
import { HeadTemplates } from "../../src/http/head-template.ts";
import { RequestParser, type RequestHead, type RequestSink } from "../../src/http/request-parser.ts";
import { ResponseParser, type ResponseHead, type ResponseSink } from "../../src/http/response-parser.ts";
import { SseScanner, type FrameKind } from "../../src/http/sse-scanner.ts";

export interface Complaint {
  readonly code: string;
  readonly message: string;
}

export interface TracedRequest {
  readonly head: RequestHead;
  readonly body: Buffer;
  /** Offset of the first byte behind it; -1 = its end was not seen. */
  readonly end: number;
}

export interface RequestTrace {
  readonly requests: readonly TracedRequest[];
  readonly error: Complaint | null;
}

const padding = Buffer.from("\r\n\r\n0\r\n\r\n\n\ndata: x\n\nGET / HTTP/1.1\r\n");

/** Calls `use` with the piece in surroundings, and wipes all of it afterwards. */
function lend<T>(piece: Buffer, use: (buf: Buffer, start: number, end: number) => T): T {
  const buf = Buffer.concat([padding, piece, padding]);
  const result = use(buf, padding.length, padding.length + piece.length);
  buf.fill(0xaa);
  return result;
}

/** The bytes cut at these offsets; offsets out of range and repeated ones do no harm. */
export function cut(bytes: Buffer, offsets: readonly number[]): Buffer[] {
  const sorted = [...new Set(offsets.filter((at) => at > 0 && at < bytes.length))].sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const at of [...sorted, bytes.length]) {
    pieces.push(bytes.subarray(from, at));
    from = at;
  }
  return pieces;
}

/** Byte by byte. */
export function crumbs(bytes: Buffer): Buffer[] {
  return cut(
    bytes,
    Array.from({ length: bytes.length }, (_, i) => i),
  );
}

export function complaint(error: unknown): Complaint {
  if (error instanceof LmstackError) return { code: error.code, message: error.message };
  throw error;
}

export function traceRequests(pieces: readonly Buffer[], maxHeadBytes = 65536): RequestTrace {
  const requests: { head: RequestHead; body: Buffer[]; end: number }[] = [];
  let ended = false;
  const sink: RequestSink = {
    origin: "",
    onHead: (head) => requests.push({ head, body: [], end: -1 }),
    onBody: (buf, start, end) => requests.at(-1)?.body.push(Buffer.from(buf.subarray(start, end))),
    onMessageEnd: () => (ended = true),
  };
  const parser = new RequestParser(maxHeadBytes, sink, new HeadTemplates());
  let error: Complaint | null = null;
  let offset = 0;
  for (const piece of pieces) {
    error = lend(piece, (buf, start, end) => {
      try {
        for (let at = start; at < end;) {
          at = parser.feed(buf, at, end);
          const last = requests.at(-1);
          if (ended && last !== undefined) last.end = offset + at - start;
          ended = false;
        }
        return null;
      } catch (caught) {
        return complaint(caught);
      }
    });
    if (error !== null) break;
    offset += piece.length;
  }
  return { requests: requests.map(({ head, body, end }) => ({ head, body: Buffer.concat(body), end })), error };
}

export interface ResponseTrace {
  readonly head: ResponseHead | null;
  readonly body: Buffer;
  /** Offset of the first byte behind it; -1 = its end was not seen. */
  readonly end: number;
  /** The end of the connection was (or would be) a proper end. */
  readonly whole: boolean;
  readonly error: Complaint | null;
  /** What each read's `onRead` said: bytes on the wire, whether whole chunks, whether with the last one. */
  readonly reads: readonly { readonly wire: Buffer; readonly whole: boolean; readonly last: boolean }[];
}

/**
 * One answer of an engine. `closed`: the connection ends after the bytes; `before`: an answer that came twice before on
 * the same connection, since a parser may read what it knows in another way.
 */
export function traceResponse(
  pieces: readonly Buffer[],
  { headRequest = false, closed = false, before = null as Buffer | null } = {},
): ResponseTrace {
  let head: ResponseHead | null = null;
  const body: Buffer[] = [];
  const reads: { wire: Buffer; whole: boolean; last: boolean }[] = [];
  const sink: ResponseSink = {
    onHead: (told) => (head = told),
    onChunkData: (buf, start, end) => void body.push(Buffer.from(buf.subarray(start, end))),
    onRead: (buf, start, end, whole, last) =>
      void reads.push({ wire: Buffer.from(buf.subarray(start, end)), whole, last }),
    onMessageEnd: () => undefined,
  };
  const parser = new ResponseParser(65536, sink, new HeadTemplates());
  if (before !== null) {
    for (let i = 0; i < 2; i++) {
      parser.reset(false);
      lend(before, (buf, start, stop) => parser.feed(buf, start, stop));
    }
    head = null;
    body.length = 0;
    reads.length = 0;
  }
  parser.reset(headRequest);
  let error: Complaint | null = null;
  let offset = 0;
  let end = -1;
  for (const piece of pieces) {
    error = lend(piece, (buf, start, stop) => {
      try {
        const at = parser.feed(buf, start, stop);
        if (parser.finished && end < 0) end = offset + at - start;
        return null;
      } catch (caught) {
        return complaint(caught);
      }
    });
    if (error !== null || end >= 0) break;
    offset += piece.length;
  }
  const whole = error === null && (closed ? parser.endOfInput() : parser.finished);
  return { head, body: Buffer.concat(body), end, whole, error, reads };
}

export interface ChunkTrace {
  readonly payload: Buffer;
  readonly end: number;
  readonly finished: boolean;
  readonly sawTrailers: boolean;
  readonly error: Complaint | null;
}

export function traceChunks(pieces: readonly Buffer[], maxOverheadBytes = 65536): ChunkTrace {
  const payload: Buffer[] = [];
  const decoder = new ChunkedDecoder(maxOverheadBytes);
  const sink = {
    onChunkData: (buf: Buffer, start: number, end: number) => void payload.push(Buffer.from(buf.subarray(start, end))),
  };
  let offset = 0;
  let error: Complaint | null = null;
  for (const piece of pieces) {
    const used = lend(piece, (buf, start, end) => {
      try {
        return decoder.feed(buf, start, end, sink) - start;
      } catch (caught) {
        error = complaint(caught);
        return 0;
      }
    });
    offset += used;
    if (error !== null || used < piece.length) break;
  }
  if (error !== null) offset = -1;
  return {
    payload: Buffer.concat(payload),
    end: offset,
    finished: decoder.finished,
    sawTrailers: decoder.sawTrailers,
    error,
  };
}

export interface TracedFrame {
  readonly kind: FrameKind;
  readonly bytes: string;
  /** From the first `data:` value on; null = the frame has none. */
  readonly payload: string | null;
}

export function traceFrames(pieces: readonly Buffer[]): { frames: TracedFrame[]; held: string } {
  const frames: TracedFrame[] = [];
  const scanner = new SseScanner({
    onFrame(kind, buf, start, end, payloadStart) {
      const payload = payloadStart < 0 ? null : buf.toString("latin1", payloadStart, end);
      frames.push({ kind, bytes: buf.toString("latin1", start, end), payload });
    },
  });
  for (const piece of pieces) lend(piece, (buf, start, end) => scanner.feed(buf, start, end));
  return { frames, held: scanner.heldView().toString("latin1") };
}
