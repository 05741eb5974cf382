// A request body as it lies in memory: one buffer of the pool, filled as bytes arrive. What is added is copied, because it
// is only lent; what is handed out is not.
import type { BufferPool } from "../http/buffer-pool.ts";

/** A length that a client only announces gets no more memory than this at once. */
const maxAnnouncedBytes = 1024 * 1024;
const firstBytes = 4 * 1024;

export class Body {
  readonly #pool: BufferPool;
  #buffer: Buffer | null = null;
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

  /** Takes a copy of the bytes. */
  add(bytes: Buffer): void {
    const needed = this.#length + bytes.length;
    let buffer = this.#buffer;
    if (buffer === null || needed > buffer.length) {
      buffer = this.#grow(needed);
      this.#buffer = buffer;
    }
    bytes.copy(buffer, this.#length);
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

  /** All of it. */
  whole(): Buffer {
    return this.slice(0, this.#length);
  }

  /** Bytes [start, end), in place. */
  slice(start: number, end: number): Buffer {
    return this.#buffer === null ? Buffer.alloc(0) : this.#buffer.subarray(start, end);
  }

  /** Bytes [start, end) as text. */
  text(start: number, end: number): string {
    return this.#buffer === null ? "" : this.#buffer.toString("utf8", start, end);
  }

  /** Its pieces with bytes [start, end) replaced; the body itself stays as it is. */
  splice(start: number, end: number, replacement: Buffer): Buffer[] {
    return [this.slice(0, start), replacement, this.slice(end, this.#length)].filter((piece) => piece.length > 0);
  }

  /**
   * Forgets the bytes.
   * @param unused nothing that was handed out is used any more: the memory may be used again
   */
  release(unused: boolean): void {
    if (unused && this.#buffer !== null) this.#pool.give(this.#buffer);
    this.#buffer = null;
    this.#length = 0;
  }
}
