// Recognises a head that differs from an earlier one only where heads always differ: length, date, request id. Clients and
// engines send the same lines over and over; comparing bytes costs a tenth of parsing them, and what was derived from the
// lines once holds again. Anything else than an exact match is left to the parser. Connections that send the same lines share
// the template: what lies once in memory is mostly in the processor's caches, what each has of its own is not.
import { isFieldValueCode, latin1 } from "./bytes.ts";
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
  text: string;
}

/** Bytes to compare with: eight at a time, each as the number that they are in a double, and the rest one by one. */
interface Known {
  readonly bytes: Buffer;
  readonly eights: Float64Array;
}

function known(text: string): Known {
  const bytes = Buffer.from(text, "latin1");
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
  /** The head that was recognised last: often the next one is quite the same. */
  recognised: Head | null = null;
  /** The same for heads that it recognises alike. */
  readonly key: string;

  private constructor(segments: readonly Known[], holes: readonly Hole[], list: HeaderList, head: Head, key: string) {
    this.head = head;
    this.key = key;
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
    const segments: string[] = [];
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
        segments.push(text.slice(from, at));
        holes.push({
          index: index + 1,
          digits: name === "content-length",
          text: value,
        });
        from = stop;
      }
      line = stop + 2;
    }
    segments.push(`${text.slice(from)}\r\n\r\n`);
    // a hole ends with its line, so that nothing else in a head looks like one
    return new HeadTemplate(segments.map(known), holes, list, head, segments.join("\n"));
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
      if (!isText(buf, at, stop, hole.text)) hole.text = latin1(buf, at, stop);
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

/** So many kinds of heads are shared; a fleet of clients has a few. */
const maxShared = 256;

/** The templates that connections share, for as long as one of them has it. */
export class HeadTemplates<Head> {
  readonly #shared = new Map<string, WeakRef<HeadTemplate<Head>>>();

  /**
   * @param made see {@link HeadTemplate.of}
   * @param origin who may share what is derived from a head; "" = everybody
   * @returns what others use already, else the same
   */
  share(made: HeadTemplate<Head>, origin: string): HeadTemplate<Head> {
    const key = `${origin}\n${made.key}`;
    const found = this.#shared.get(key)?.deref();
    if (found !== undefined) return found;
    if (this.#shared.size >= maxShared) this.#forget();
    this.#shared.set(key, new WeakRef(made));
    return made;
  }

  /** What nobody uses any more, else all: whoever has one keeps it. */
  #forget(): void {
    for (const [key, template] of this.#shared) if (template.deref() === undefined) this.#shared.delete(key);
    if (this.#shared.size >= maxShared) this.#shared.clear();
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

function isText(buf: Buffer, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (buf[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

function isBlank(code: number | undefined): boolean {
  return code === 0x20 || code === 0x09;
}
