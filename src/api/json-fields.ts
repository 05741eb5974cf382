// Finds top-level fields in the bytes of a JSON object as they arrive, without building the object: bodies are relayed, not
// understood, and a megabyte of prompt is walked once and never copied. Brackets are matched, strings are skipped with native
// search; what is inside nested values is the engine's to judge. Where a key is repeated the last one counts, as in vLLM.
import { LmstackError } from "../errors/catalogue.ts";

/** Where a value stands, in bytes from the start of the body. */
export interface FieldRange {
  start: number;
  end: number;
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

export class JsonFieldScanner {
  readonly #wanted: ReadonlySet<string>;
  readonly #ranges = new Map<string, FieldRange>();
  #state = beforeObject;
  #offset = 0;
  #escaped = false;
  /** null = too long to be one that is looked for. */
  #keyText: string | null = null;
  #keyPieces = "";
  #valueStart = 0;
  #depth = 0;
  /** One bit would do; an array of closing brackets is easier to read. */
  readonly #closers: number[] = [];

  /** @param wanted top-level keys to find */
  constructor(wanted: ReadonlySet<string>) {
    this.#wanted = wanted;
  }

  /** Ranges of the fields found, by key. A string's range includes its quotes. */
  get ranges(): ReadonlyMap<string, FieldRange> {
    return this.#ranges;
  }

  /**
   * Walks the next piece of the body.
   * @throws LmstackError `invalid_json`
   */
  feed(buf: Buffer): void {
    const end = buf.length;
    let at = 0;
    while (at < end) {
      switch (this.#state) {
        case inString:
        case inNestedString:
        case inKey:
          at = this.#string(buf, at, end);
          break;
        case inNested:
          at = this.#nested(buf, at, end);
          break;
        case inScalar:
          at = this.#scalar(buf, at, end);
          break;
        default:
          this.#structure(buf[at] ?? 0, at);
          at++;
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
    throw new LmstackError("invalid_json", `The request body is not valid JSON: it ends at byte ${this.#offset}, inside the object.`);
  }

  #string(buf: Buffer, from: number, end: number): number {
    let at = from;
    if (this.#escaped) {
      this.#escaped = false;
      at++;
    }
    for (;;) {
      const found = at < end ? buf.indexOf(quoteByte, at) : -1;
      const stop = found < 0 ? end : found;
      // the run of backslashes that ends here decides whether the quote counts
      let run = stop;
      while (run > at && buf[run - 1] === backslash) run--;
      const odd = ((stop - run) & 1) === 1;
      if (found < 0) {
        this.#escaped = odd;
        this.#keepKey(buf, from, end);
        return end;
      }
      if (!odd) {
        this.#keepKey(buf, from, found);
        this.#endString(this.#offset + found + 1);
        return found + 1;
      }
      at = found + 1;
    }
  }

  #keepKey(buf: Buffer, from: number, to: number): void {
    if (this.#state === inKey && this.#keyPieces.length <= maxKeyBytes) {
      this.#keyPieces += buf.toString("latin1", from, Math.min(to, from + maxKeyBytes + 1));
    }
  }

  #endString(end: number): void {
    if (this.#state === inNestedString) {
      this.#state = inNested;
    } else if (this.#state === inString) {
      this.#record(end);
      this.#state = afterValue;
    } else {
      this.#keyText = this.#keyPieces.length > maxKeyBytes ? null : decodeKey(this.#keyPieces);
      this.#keyPieces = "";
      this.#state = colon;
    }
  }

  #nested(buf: Buffer, from: number, end: number): number {
    const closers = this.#closers;
    for (let at = from; at < end; at++) {
      const code = buf[at];
      if (code === quoteByte) {
        this.#state = inNestedString;
        return at + 1;
      }
      if (code === 0x7b || code === 0x5b) {
        if (++this.#depth > maxDepth) throw this.#broken(at, `nesting deeper than ${maxDepth}`);
        closers.push(code + 2);
      } else if (code === 0x7d || code === 0x5d) {
        if (closers.pop() !== code) throw this.#broken(at, `unexpected ${JSON.stringify(String.fromCharCode(code))}`);
        if (--this.#depth === 0) {
          this.#record(this.#offset + at + 1);
          this.#state = afterValue;
          return at + 1;
        }
      }
    }
    return end;
  }

  #scalar(buf: Buffer, from: number, end: number): number {
    for (let at = from; at < end; at++) {
      const code = buf[at] ?? 0;
      if (code === 0x2c || code === 0x7d || isSpace(code)) {
        this.#record(this.#offset + at);
        this.#state = afterValue;
        return at;
      }
      if (!isScalarByte(code)) throw this.#broken(at, "unexpected character in a value");
    }
    return end;
  }

  #structure(code: number, at: number): void {
    if (isSpace(code)) return;
    switch (this.#state) {
      case beforeObject:
        if (code !== 0x7b) {
          throw new LmstackError("invalid_json", `The request body is not a JSON object: it begins with ${JSON.stringify(String.fromCharCode(code))}.`);
        }
        this.#state = keyOrEnd;
        return;
      case keyOrEnd:
      case keyExpected:
        if (code === quoteByte) this.#state = inKey;
        else if (code === 0x7d && this.#state === keyOrEnd) this.#state = afterObject;
        else throw this.#broken(at, "a key in double quotes is expected");
        return;
      case colon:
        if (code !== 0x3a) throw this.#broken(at, "a colon is expected");
        this.#state = valueExpected;
        return;
      case valueExpected:
        this.#valueStart = this.#offset + at;
        if (code === quoteByte) this.#state = inString;
        else if (code === 0x7b || code === 0x5b) {
          this.#depth = 1;
          this.#closers.length = 0;
          this.#closers.push(code + 2);
          this.#state = inNested;
        } else if (isScalarByte(code)) this.#state = inScalar;
        else throw this.#broken(at, "a value is expected");
        return;
      case afterValue:
        if (code === 0x2c) this.#state = keyExpected;
        else if (code === 0x7d) this.#state = afterObject;
        else throw this.#broken(at, "a comma or the end of the object is expected");
        return;
      default:
        throw this.#broken(at, "something follows the object");
    }
  }

  #record(end: number): void {
    if (this.#keyText === null || !this.#wanted.has(this.#keyText)) return;
    this.#ranges.set(this.#keyText, { start: this.#valueStart, end });
  }

  #broken(at: number, what: string): LmstackError {
    return new LmstackError("invalid_json", `The request body is not valid JSON: ${what} at byte ${this.#offset + at}.`);
  }
}

/** @param latin1 the key's bytes as they stand between its quotes */
function decodeKey(latin1: string): string {
  if (!/[\\\x80-\xff]/.test(latin1)) return latin1;
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
