// Finds top-level fields in the bytes of a JSON object as they arrive, without building the object: bodies are relayed, not
// understood, and a megabyte of prompt is walked once and never copied. Brackets are matched, strings are skipped with native
// search; what is inside nested values is the engine's to judge. Where a key is repeated the last one counts, as in vLLM.
import { LmstackError } from "../errors/catalogue.ts";

/** Where a value stands, in bytes from the start of the body. */
export interface FieldRange {
  readonly start: number;
  readonly end: number;
}

/** Top-level keys to look for. Made once and used for many bodies. */
export class FieldNames {
  readonly names: readonly string[];
  /** Names as they stand in a body; null = it has to be escaped there. */
  readonly #bytes: readonly (Buffer | null)[];
  /** -1 for each of them. */
  readonly nowhere: readonly number[];

  constructor(names: readonly string[]) {
    this.names = names;
    this.nowhere = names.map(() => -1);
    this.#bytes = names.map((name) => (/["\\]/.test(name) ? null : Buffer.from(name)));
  }

  /** Place of the name that stands in bytes [start, end) as it is; -1 = none does. */
  find(buf: Buffer, start: number, end: number): number {
    const length = end - start;
    for (let i = 0; i < this.#bytes.length; i++) {
      const name = this.#bytes[i];
      if (name === undefined || name === null || name.length !== length) continue;
      let k = 0;
      while (k < length && buf[start + k] === name[k]) k++;
      if (k === length) return i;
    }
    return -1;
  }
}

const beforeObject = 0;
const keyOrEnd = 1;
const keyExpected = 2;
const inKey = 3;
const colon = 4;
const valueExpected = 5;
const inString = 6;
const inNested = 7;
const inNestedString = 8;
const inScalar = 9;
const afterValue = 10;
const afterObject = 11;

const quoteByte = 0x22;
const backslash = 0x5c;
/** Keys that are longer can't be one that is looked for, however it is escaped. */
const maxKeyBytes = 512;
const maxDepth = 1024;
/** So many bytes of a string are looked at one by one before the rest is searched natively. */
const nearBytes = 8;

/** A string goes on behind the piece; its next byte is escaped. */
const openEscaped = -2;
const open = -1;

export class JsonFieldScanner {
  readonly #wanted: FieldNames;
  /** Per wanted name, -1 = not found. */
  readonly #starts: number[];
  readonly #ends: number[];
  #state = beforeObject;
  #offset = 0;
  #escaped = false;
  /** Place of the present key among the wanted ones; -1 = it is none of them. */
  #key = -1;
  /** Bytes, as latin1, of a key that was cut or has escapes. */
  #keyPieces = "";
  #valueStart = 0;
  /** The brackets that close what is open; one bit each would do, an array is easier to read. */
  readonly #closers: number[] = [];

  constructor(wanted: FieldNames) {
    this.#wanted = wanted;
    this.#starts = wanted.nowhere.slice();
    this.#ends = wanted.nowhere.slice();
  }

  /** Where the value of a wanted name stands, a string with its quotes; null = the body has no such key. */
  range(name: string): FieldRange | null {
    const i = this.#wanted.names.indexOf(name);
    const end = this.#ends[i] ?? -1;
    return end < 0 ? null : { start: this.#starts[i] ?? 0, end };
  }

  /**
   * Walks the next piece of the body, bytes [start, end) of `buf`.
   * @throws LmstackError `invalid_json`
   */
  feed(buf: Buffer, start = 0, end = buf.length): void {
    // so that a place in the buffer and this are a place in the body
    this.#offset -= start;
    let at = start;
    while (at < end) {
      switch (this.#state) {
        case inString:
        case inKey:
          at = this.#string(buf, at, end);
          break;
        case inNested:
        case inNestedString:
          at = this.#nested(buf, at, end);
          break;
        case inScalar:
          at = this.#scalar(buf, at, end);
          break;
        default:
          at = this.#structure(buf, at, end);
      }
    }
    this.#offset += end;
  }

  /** @throws LmstackError `invalid_json` when the object is not complete */
  end(): void {
    if (this.#state === afterObject) return;
    if (this.#state === beforeObject) {
      throw new LmstackError("invalid_json", "The request body is empty: a JSON object is expected.");
    }
    throw new LmstackError(
      "invalid_json",
      `The request body is not valid JSON: it ends at byte ${this.#offset}, inside the object.`,
    );
  }

  /** A key, or a string as a value. */
  #string(buf: Buffer, from: number, end: number): number {
    const stop = stringEnd(buf, this.#escaped ? from + 1 : from, end);
    this.#escaped = stop === openEscaped;
    if (this.#state === inKey) this.#readKey(buf, from, stop < 0 ? end : stop, stop >= 0);
    if (stop < 0) return end;
    if (this.#state === inKey) this.#state = colon;
    else {
      this.#record(stop + 1);
      this.#state = afterValue;
    }
    return stop + 1;
  }

  #readKey(buf: Buffer, from: number, to: number, whole: boolean): void {
    if (whole && this.#keyPieces === "") {
      this.#key = this.#wanted.find(buf, from, to);
      if (this.#key >= 0 || !hasEscape(buf, from, to)) return;
    }
    if (this.#keyPieces.length <= maxKeyBytes) {
      this.#keyPieces += buf.toString("latin1", from, Math.min(to, from + maxKeyBytes + 1));
    }
    if (!whole) return;
    this.#key = this.#keyPieces.length > maxKeyBytes ? -1 : this.#wanted.names.indexOf(decodeKey(this.#keyPieces));
    this.#keyPieces = "";
  }

  /** An object or array as a value, with the strings in it. */
  #nested(buf: Buffer, from: number, end: number): number {
    const closers = this.#closers;
    let at = from;
    let quoted = this.#state === inNestedString;
    if (this.#escaped) at++;
    for (;;) {
      if (quoted) {
        const stop = stringEnd(buf, at, end);
        if (stop < 0) {
          this.#escaped = stop === openEscaped;
          this.#state = inNestedString;
          return end;
        }
        quoted = false;
        at = stop + 1;
      }
      this.#escaped = false;
      at = behindNumbers(buf, at, end);
      for (; at < end; at++) {
        const code = buf[at];
        if (code === quoteByte) {
          quoted = true;
          at++;
          break;
        }
        if (code === 0x7b || code === 0x5b) {
          if (closers.push(code + 2) > maxDepth) throw this.#broken(at, `nesting deeper than ${maxDepth}`);
        } else if (code === 0x7d || code === 0x5d) {
          if (closers.pop() !== code) throw this.#broken(at, `unexpected ${JSON.stringify(String.fromCharCode(code))}`);
          if (closers.length === 0) {
            this.#record(at + 1);
            this.#state = afterValue;
            return at + 1;
          }
        }
      }
      if (!quoted) {
        this.#state = inNested;
        return end;
      }
    }
  }

  #scalar(buf: Buffer, from: number, end: number): number {
    for (let at = from; at < end; at++) {
      const code = buf[at] ?? 0;
      if (code === 0x2c || code === 0x7d || isSpace(code)) {
        this.#record(at);
        this.#state = afterValue;
        return at;
      }
      if (!isScalarByte(code)) throw this.#broken(at, "unexpected character in a value");
    }
    return end;
  }

  /** What stands between keys and values. */
  #structure(buf: Buffer, from: number, end: number): number {
    for (let at = from; at < end; at++) {
      const code = buf[at] ?? 0;
      if (isSpace(code)) continue;
      switch (this.#state) {
        case beforeObject:
          if (code !== 0x7b) {
            throw new LmstackError(
              "invalid_json",
              `The request body is not a JSON object: it begins with ${JSON.stringify(String.fromCharCode(code))}.`,
            );
          }
          this.#state = keyOrEnd;
          break;
        case keyOrEnd:
        case keyExpected:
          if (code === quoteByte) {
            this.#state = inKey;
            return at + 1;
          }
          if (code !== 0x7d || this.#state !== keyOrEnd) throw this.#broken(at, "a key in double quotes is expected");
          this.#state = afterObject;
          break;
        case colon:
          if (code !== 0x3a) throw this.#broken(at, "a colon is expected");
          this.#state = valueExpected;
          break;
        case valueExpected:
          this.#valueStart = this.#offset + at;
          if (code === quoteByte) this.#state = inString;
          else if (code === 0x7b || code === 0x5b) {
            this.#closers.push(code + 2);
            this.#state = inNested;
          } else if (isScalarByte(code)) this.#state = inScalar;
          else throw this.#broken(at, "a value is expected");
          return at + 1;
        case afterValue:
          if (code === 0x2c) this.#state = keyExpected;
          else if (code === 0x7d) this.#state = afterObject;
          else throw this.#broken(at, "a comma or the end of the object is expected");
          break;
        default:
          throw this.#broken(at, "something follows the object");
      }
    }
    return end;
  }

  /** The present value ends before byte `at` of the present piece. */
  #record(at: number): void {
    if (this.#key < 0) return;
    this.#starts[this.#key] = this.#valueStart;
    this.#ends[this.#key] = this.#offset + at;
  }

  #broken(at: number, what: string): LmstackError {
    return new LmstackError(
      "invalid_json",
      `The request body is not valid JSON: ${what} at byte ${this.#offset + at}.`,
    );
  }
}

/** Offset of the quote that ends a string; below 0 where it goes on behind `end`. */
export function stringEnd(buf: Buffer, from: number, end: number): number {
  let at = from;
  for (;;) {
    // most strings are short, and so are the stretches between escapes of a prompt: a call into native code costs more
    // than looking at some dozen bytes
    const near = Math.min(end, at + nearBytes);
    while (at < near) {
      const code = buf[at];
      if (code === quoteByte) return at;
      at += code === backslash ? 2 : 1;
    }
    if (at >= end) return at > end ? openEscaped : open;
    const next = buf.indexOf(quoteByte, at);
    const found = next < end ? next : -1;
    const stop = found < 0 ? end : found;
    // the run of backslashes that ends here decides whether the quote counts
    let run = stop;
    while (run > at && buf[run - 1] === backslash) run--;
    const odd = ((stop - run) & 1) === 1;
    if (found < 0) return odd ? openEscaped : open;
    if (!odd) return found;
    at = found + 1;
  }
}

/** Shorter lists are looked at byte by byte. */
const longListBytes = 4096;

/**
 * Where a list of numbers begins, its end, found without a look at each of its bytes: a prompt of 100,000 token ids has
 * 600,000 of them. Else where it was asked for.
 */
export function behindNumbers(buf: Buffer, at: number, end: number): number {
  const first = buf[at] ?? 0;
  if (end - at < longListBytes || first < 0x30 || first > 0x39) return at;
  const stop = buf.indexOf(0x5d, at);
  if (stop < at + longListBytes || stop >= end) return at;
  const inside = buf.subarray(at, stop);
  return [quoteByte, 0x5b, 0x7b, 0x7d].some((byte) => inside.includes(byte)) ? at : stop;
}

function hasEscape(buf: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (buf[i] === backslash) return true;
  return false;
}

/** @param latin1 the key's bytes as they stand between its quotes */
function decodeKey(latin1: string): string {
  const text = Buffer.from(latin1, "latin1").toString("utf8");
  if (!text.includes("\\")) return text;
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text;
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/** Characters of numbers and of true, false, null, NaN, Infinity (Python's JSON reads the last two). */
function isScalarByte(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x41 && code <= 0x5a) ||
    code === 0x2d ||
    code === 0x2b ||
    code === 0x2e
  );
}
