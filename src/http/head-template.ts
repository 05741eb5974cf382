// Recognises a head that differs from an earlier one on the same connection only where heads always differ: length, date,
// request id. Clients and engines send the same lines over and over; comparing bytes costs a tenth of parsing them, and
// what was derived from the lines once holds again. Anything else than an exact match is left to the parser.
import { isFieldValueCode } from "./bytes.ts";
import type { HeaderList } from "./head.ts";

/** A slot for what a reader of heads derives from one: shared by all heads that a template recognised. */
export interface HeadShape {
  derived: unknown;
}

/** Where a value may differ. */
interface Hole {
  /** Place of the value in the list of fields. */
  readonly index: number;
  readonly digits: boolean;
  /** The value seen last: most of them repeat, the date for a second. */
  bytes: Known;
  text: string;
}

/** Bytes to compare with: eight at a time, each as the number that they are in a double, and the rest one by one. */
interface Known {
  readonly bytes: Buffer;
  readonly eights: Float64Array;
}

function known(bytes: Buffer): Known {
  const eights = new Float64Array(bytes.length >> 3);
  for (let i = 0; i < eights.length; i++) eights[i] = bytes.readDoubleLE(i * 8);
  return { bytes, eights };
}

/** Longer values are no ids or dates; the parser, with its limit, takes them. */
const maxValueBytes = 256;
/** As many digits as a length that is exact in a double may safely have. */
const maxDigits = 15;

export class HeadTemplate<Head> {
  readonly #segments: readonly Known[];
  readonly #holes: readonly Hole[];
  #next = 0;
  #contentLength = -1;
  #fields: HeaderList;

  /** The head that it was made from. */
  readonly head: Head;

  private constructor(segments: readonly Known[], holes: readonly Hole[], list: HeaderList, head: Head) {
    this.head = head;
    this.#segments = segments;
    this.#holes = holes;
    this.#fields = list;
  }

  /**
   * @param text the head as latin1 without its empty line, already parsed
   * @param list its fields
   * @param changing names whose values may differ, lower case
   * @param head what the parser made of it
   * @returns null when the head is not of a kind that can be recognised safely
   */
  static of<Head>(text: string, list: HeaderList, changing: readonly string[], head: Head): HeadTemplate<Head> | null {
    const segments: Known[] = [];
    const holes: Hole[] = [];
    let from = 0;
    let line = text.indexOf("\r\n") + 2;
    if (line < 2) return null;
    for (let index = 0; index < list.length; index += 2) {
      const name = list[index] ?? "";
      const value = list[index + 1] ?? "";
      const lineEnd = text.indexOf("\r\n", line);
      const stop = lineEnd < 0 ? text.length : lineEnd;
      if (changing.includes(name)) {
        const at = text.indexOf(value, line + name.length + 1);
        if (value === "" || at < 0 || at + value.length !== stop) return null;
        segments.push(known(Buffer.from(text.slice(from, at), "latin1")));
        holes.push({
          index: index + 1,
          digits: name === "content-length",
          bytes: known(Buffer.from(value, "latin1")),
          text: value,
        });
        from = stop;
      }
      line = stop + 2;
    }
    segments.push(known(Buffer.from(`${text.slice(from)}\r\n\r\n`, "latin1")));
    return new HeadTemplate(segments, holes, list, head);
  }

  /** After a match: offset behind the head. */
  get next(): number {
    return this.#next;
  }

  /** After a match: Content-Length; -1 = there is none. */
  get contentLength(): number {
    return this.#contentLength;
  }

  /** After a match: the fields with the values of this head. */
  get fields(): HeaderList {
    return this.#fields;
  }

  /** Whether bytes [start, end) begin with a head of this shape. @param view of the same bytes */
  match(buf: Buffer, view: DataView, start: number, end: number): boolean {
    let at = start;
    let fields: string[] | null = null;
    this.#contentLength = -1;
    const holes = this.#holes;
    for (let i = 0; i <= holes.length; i++) {
      const segment = this.#segments[i];
      if (segment === undefined || !standsAt(buf, view, at, end, segment)) return false;
      at += segment.bytes.length;
      const hole = holes[i];
      if (hole === undefined) break;
      const stop = hole.digits ? this.#digits(buf, at, end) : valueEnd(buf, at, end);
      if (stop < 0) return false;
      if (stop - at !== hole.text.length || !standsAt(buf, view, at, stop, hole.bytes)) {
        hole.bytes = known(Buffer.from(buf.subarray(at, stop)));
        hole.text = hole.bytes.bytes.toString("latin1");
      }
      if (hole.text !== this.#fields[hole.index]) (fields ??= [...this.#fields])[hole.index] = hole.text;
      at = stop;
    }
    this.#next = at;
    // a list that was handed out is never changed; the next head mostly has the same values
    if (fields !== null) this.#fields = fields;
    return true;
  }

  #digits(buf: Buffer, start: number, end: number): number {
    let at = start;
    let value = 0;
    for (; at < end; at++) {
      const digit = (buf[at] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (at === start || at - start > maxDigits || at >= end) return -1;
    this.#contentLength = value;
    return at;
  }
}

/** End of a field value that stands without white space around it; -1 = it is none, or is too long. */
function valueEnd(buf: Buffer, start: number, end: number): number {
  const limit = Math.min(end, start + maxValueBytes);
  let at = start;
  while (at < limit && isFieldValueCode(buf[at] ?? 0)) at++;
  if (at === start || at >= limit) return -1;
  return isBlank(buf[start]) || isBlank(buf[at - 1]) ? -1 : at;
}

/**
 * For the hundred bytes of a head a call into native code costs more than this. Different bytes are different numbers, for
 * there is no zero in a head; that bytes which are no number never equal themselves only leaves such a head to the parser.
 */
function standsAt(buf: Buffer, view: DataView, at: number, end: number, { bytes, eights }: Known): boolean {
  const { length } = bytes;
  if (end - at < length) return false;
  const { length: many } = eights;
  for (let i = 0; i < many; i++) if (view.getFloat64(at + i * 8, true) !== eights[i]) return false;
  for (let i = many * 8; i < length; i++) if (buf[at + i] !== bytes[i]) return false;
  return true;
}

function isBlank(code: number | undefined): boolean {
  return code === 0x20 || code === 0x09;
}
