// A request body as it lies in memory: one buffer of the pool, filled as bytes arrive. What is added is copied, because it
// is only lent; what is handed out is not.
import type { BufferPool } from "../http/buffer-pool.ts";
import { latin1 } from "../http/bytes.ts";
import type { OutgoingBody } from "../http/engine-connection.ts";

/** A length that a client only announces gets no more memory than this at once. */
const maxAnnouncedBytes = 1024 * 1024;
const firstBytes = 4 * 1024;
/** One that is whole at once and no longer than this is kept as latin1 text: it leaves as text, with the head. */
const maxTextBytes = 8 * 1024;

const quoteByte = 0x22;
const backslash = 0x5c;
const beyondAscii = /[\x80-\xff]/;

/** Bytes [start, end) of a body, and what stands there instead. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly bytes: Buffer;
}

export class Body {
  readonly #pool: BufferPool;
  #buffer: Buffer | null = null;
  #text: string | null = null;
  #length = 0;
  readonly #expected: number;

  /** @param expectedBytes its length where that is known; below 0 = unknown */
  constructor(pool: BufferPool, expectedBytes: number) {
    this.#pool = pool;
    this.#expected = expectedBytes;
  }

  get length(): number {
    return this.#length;
  }

  /** Takes a copy of bytes [start, end). */
  add(bytes: Buffer, start = 0, end = bytes.length): void {
    const length = end - start;
    if (this.#length === 0 && length === this.#expected && length <= maxTextBytes) {
      this.#text = latin1(bytes, start, end);
      this.#length = length;
      return;
    }
    this.#settle();
    const needed = this.#length + length;
    let buffer = this.#buffer;
    if (buffer === null || needed > buffer.length) {
      buffer = this.#grow(needed);
      this.#buffer = buffer;
    }
    bytes.copy(buffer, this.#length, start, end);
    this.#length = needed;
  }

  #grow(needed: number): Buffer {
    const before = this.#buffer;
    if (before === null) {
      const announced = Math.min(this.#expected, maxAnnouncedBytes);
      return this.#pool.take(Math.max(needed, announced < 0 ? firstBytes : announced));
    }
    const grown = this.#pool.take(Math.max(needed, before.length * 2));
    before.copy(grown, 0, 0, this.#length);
    this.#pool.give(before);
    return grown;
  }

  /** Brings what is kept as text into a buffer. */
  #settle(): void {
    if (this.#text === null) return;
    this.#buffer = Buffer.from(this.#text, "latin1");
    this.#text = null;
  }

  /** All of it as it leaves towards an engine. */
  outgoing(): OutgoingBody {
    if (this.#text !== null) return this.#text;
    return this.#length === 0 ? [] : [this.whole()];
  }

  /** All of it. */
  whole(): Buffer {
    return this.slice(0, this.#length);
  }

  /** Bytes [start, end), in place. */
  slice(start: number, end: number): Buffer {
    this.#settle();
    return this.#buffer === null ? Buffer.alloc(0) : this.#buffer.subarray(start, end);
  }

  /** Bytes [start, end) as text. */
  text(start: number, end: number): string {
    if (this.#text !== null) {
      const text = this.#text.slice(start, end);
      return beyondAscii.test(text) ? Buffer.from(text, "latin1").toString("utf8") : text;
    }
    return this.#buffer === null ? "" : this.#buffer.toString("utf8", start, end);
  }

  /** Bytes [start, end) as the text of a JSON string, where that is plain ASCII without escapes; null = it is something else. */
  plainString(start: number, end: number): string | null {
    const from = start + 1;
    const to = end - 1;
    if (to < from || this.#byte(start) !== quoteByte || this.#byte(to) !== quoteByte) return null;
    for (let i = from; i < to; i++) {
      const byte = this.#byte(i);
      if (byte < 0x20 || byte > 0x7e || byte === quoteByte || byte === backslash) return null;
    }
    if (this.#text !== null) return this.#text.slice(from, to);
    return this.#buffer === null ? null : latin1(this.#buffer, from, to);
  }

  #byte(at: number): number {
    return this.#text === null ? (this.#buffer?.[at] ?? 0) : this.#text.charCodeAt(at);
  }

  /** Its pieces with some bytes replaced; the body itself stays as it is. @param edits apart from each other */
  edited(edits: readonly Edit[]): Buffer[] {
    const pieces: Buffer[] = [];
    let at = 0;
    for (const { start, end, bytes } of edits.toSorted((a, b) => a.start - b.start)) {
      pieces.push(this.slice(at, start), bytes);
      at = end;
    }
    pieces.push(this.slice(at, this.#length));
    return pieces.filter((piece) => piece.length > 0);
  }

  /**
   * Forgets the bytes.
   * @param unused nothing that was handed out is used any more: the memory may be used again
   */
  release(unused: boolean): void {
    if (unused && this.#buffer !== null) this.#pool.give(this.#buffer);
    this.#buffer = null;
    this.#text = null;
    this.#length = 0;
  }
}
