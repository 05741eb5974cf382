// Byte-level helpers of the wire code: character classes of RFC 9110 and a growing buffer for what arrived in pieces.

const token = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
  token[c.charCodeAt(0)] = 1;

const fieldValue = new Uint8Array(256).fill(1);
fieldValue.fill(0, 0, 0x20);
fieldValue[0x09] = 1;
fieldValue[0x7f] = 0;

/** `tchar` of RFC 9110 section 5.6.2. Codes above 255 do not occur: heads are read as latin1. */
export function isTokenCode(code: number): boolean {
  return token[code] === 1;
}

/** Whether a code may stand in a field value: visible, space, tab or obs-text; no other control character. */
export function isFieldValueCode(code: number): boolean {
  return fieldValue[code] === 1;
}

/** What `toString` calls in the end; Node does not document it, though many rely on it. */
const { latin1Slice } = Buffer.prototype as Buffer & { latin1Slice?: (start: number, end: number) => string };

/** Bytes [start, end) as latin1 text, past the looks of `toString` at encoding and bounds. */
export function latin1(bytes: Buffer, start: number, end: number): string {
  return latin1Slice === undefined ? bytes.toString("latin1", start, end) : latin1Slice.call(bytes, start, end);
}

/** The same latin1 text in one piece: a concatenation is walked again each time that it is written. */
export function flat(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/**
 * A view of a buffer for looks at several bytes at once. It remembers the last one: reads come in the same few buffers.
 */
export class LastView {
  #buffer: Buffer | null = null;
  #view: DataView = new DataView(new ArrayBuffer(0));

  of(buffer: Buffer): DataView {
    if (this.#buffer === buffer) return this.#view;
    this.#buffer = buffer;
    return (this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length));
  }
}

/** Value of a hexadecimal digit, or -1. */
export function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x41 && code <= 0x46) return code - 0x37;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  return -1;
}

/** Bytes that arrived in pieces, kept in one buffer that doubles, so that n pieces cost O(total) and not O(n * total). */
export class ByteAccumulator {
  #buffer: Buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The bytes held; valid until the next call of a method that changes them. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  append(source: Buffer, start: number, end: number): void {
    const needed = this.#length + (end - start);
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2, 512));
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    source.copy(this.#buffer, this.#length, start, end);
    this.#length = needed;
  }

  /** Forgets everything and lets go of the memory. */
  clear(): void {
    this.#length = 0;
    this.#buffer = Buffer.alloc(0);
  }
}
