// Finds the frames of a server-sent event stream in the bytes that pass, without rebuilding them, and notices the few that
// mean something to a router: errors, the end marker, token usage. One pass, line by line; the bytes of a frame that is not
// complete at the end of a read are kept, everything else stays where it is.
import { ByteAccumulator } from "./bytes.ts";

export type FrameKind = "comment" | "data" | "error" | "done";

export interface FrameSink {
  /**
   * A complete frame, with its empty line: bytes [start, end) of `buf`. The buffer is only lent.
   * @param payloadStart offset of the first `data:` value; -1 = the frame has none
   */
  onFrame(kind: FrameKind, buf: Buffer, start: number, end: number, payloadStart: number): void;
}

const lf = 0x0a;
const cr = 0x0d;
/** A frame that does not end within this is not an event stream of any API that we know. */
export const maxFrameBytes = 32 * 1024 * 1024;

const doneBytes = Buffer.from("[DONE]");
const errorKey = Buffer.from('"error"');
const eventError = Buffer.from("error");

export class SseScanner {
  readonly #sink: FrameSink;
  /** null = nothing: the usual case, and one object less to look at for each of a thousand streams. */
  #held: ByteAccumulator | null = null;
  #scanned = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Bytes of a frame whose end has not come yet. */
  get heldBytes(): number {
    return this.#held === null ? 0 : this.#held.length;
  }

  /** Those bytes; valid until the next `feed`. */
  heldView(): Buffer {
    return this.#held === null ? Buffer.alloc(0) : this.#held.view();
  }

  /** @returns false when a frame is longer than any that we know */
  feed(buf: Buffer, start: number, end: number): boolean {
    const held = this.#held;
    if (held === null) {
      const rest = this.#scan(buf, start, start, end);
      if (rest < end) this.#hold(buf, rest, end);
      return end - rest <= maxFrameBytes;
    }
    held.append(buf, start, end);
    const view = held.view();
    const rest = this.#scan(view, 0, this.#scanned, view.length);
    if (rest === view.length) this.#held = null;
    else if (rest > 0) this.#hold(view, rest, view.length);
    else this.#scanned = lineStart(view, this.#scanned);
    return view.length - rest <= maxFrameBytes;
  }

  #hold(buf: Buffer, start: number, end: number): void {
    const held = new ByteAccumulator();
    held.append(buf, start, end);
    this.#held = held;
    this.#scanned = lineStart(held.view(), 0);
  }

  /** @returns offset behind the last complete frame */
  #scan(buf: Buffer, from: number, lineFrom: number, end: number): number {
    let frameStart = from;
    let line = lineFrom;
    for (;;) {
      // most reads end with a frame: then nothing behind it, which is an older read's, is searched
      if (line >= end) return frameStart;
      const at = buf.indexOf(lf, line);
      if (at < 0 || at >= end) return frameStart;
      const lineEnd = at > line && buf[at - 1] === cr ? at - 1 : at;
      if (lineEnd === line) {
        if (line > frameStart) this.#report(buf, frameStart, at + 1);
        // a lone empty line between frames belongs to the next one as far as relaying goes
        if (line > frameStart) frameStart = at + 1;
      }
      line = at + 1;
    }
  }

  #report(buf: Buffer, start: number, end: number): void {
    let kind: FrameKind = "comment";
    let payload = -1;
    let at = start;
    while (at < end) {
      const first = buf[at];
      if (first === 0x64 /* d */ && startsWith(buf, at, dataField)) {
        payload = valueStart(buf, at + 5);
        if (kind === "comment") kind = "data";
        break;
      }
      if (first === 0x65 /* e */ && startsWith(buf, at, eventField)) {
        const value = valueStart(buf, at + 6);
        if (startsWith(buf, value, eventError) && isLineEnd(buf[value + 5])) kind = "error";
      }
      const next = buf.indexOf(lf, at);
      if (next < 0) break;
      at = next + 1;
    }
    if (payload >= 0 && kind === "data") {
      const code = buf[payload];
      if (code === 0x5b && startsWith(buf, payload, doneBytes) && isLineEnd(buf[payload + 6])) kind = "done";
      else if (code === 0x7b && isErrorObject(buf, payload + 1, end)) kind = "error";
    }
    this.#sink.onFrame(kind, buf, start, end, payload);
  }
}

const dataField = Buffer.from("data:");
const eventField = Buffer.from("event:");

function startsWith(buf: Buffer, at: number, what: Buffer): boolean {
  for (let i = 0; i < what.length; i++) if (buf[at + i] !== what[i]) return false;
  return true;
}

function valueStart(buf: Buffer, at: number): number {
  return buf[at] === 0x20 ? at + 1 : at;
}

function isLineEnd(code: number | undefined): boolean {
  return code === lf || code === cr;
}

/** Whether the object's first key is `error`, as engines write it. */
function isErrorObject(buf: Buffer, at: number, end: number): boolean {
  let i = at;
  while (i < end && (buf[i] === 0x20 || buf[i] === 0x09)) i++;
  if (!startsWith(buf, i, errorKey)) return false;
  i += errorKey.length;
  while (i < end && buf[i] === 0x20) i++;
  if (buf[i] !== 0x3a) return false;
  i++;
  while (i < end && buf[i] === 0x20) i++;
  return buf[i] !== 0x6e; // "error": null is no error
}

/** Offset of the last line that is not complete, at or after `from`. */
function lineStart(buf: Buffer, from: number): number {
  const at = buf.lastIndexOf(lf);
  return at < from ? from : at + 1;
}
