// Large buffers that are used again. Node gives every read of an accepted socket fresh memory outside of the heap; at a
// megabyte a request that makes a full collection necessary every few dozen requests, which cost more than the relay.
// Whoever gives a buffer back must not look at it any more, nor must the system.

/** Smaller ones are cheaper to allocate than to look for. */
const minPooledBytes = 8 * 1024;
const maxPooledBytes = 16 * 1024 * 1024;

export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  readonly #maxFreeBytes: number;
  #freeBytes = 0;

  /** @param maxFreeBytes memory kept for later at most */
  constructor(maxFreeBytes: number) {
    this.#maxFreeBytes = maxFreeBytes;
  }

  /** Memory that waits for use. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A buffer of at least so many bytes, with anything in it. */
  take(bytes: number): Buffer {
    if (bytes < minPooledBytes) return Buffer.allocUnsafe(bytes);
    const size = sizeClass(bytes);
    const found = this.#free.get(size)?.pop();
    if (found === undefined) return Buffer.allocUnsafeSlow(size);
    this.#freeBytes -= size;
    return found;
  }

  /** Takes back a buffer that {@link take} gave; small ones and those beyond the limit are left to the collector. */
  give(buffer: Buffer): void {
    const size = buffer.length;
    if (size < minPooledBytes || size > maxPooledBytes || this.#freeBytes + size > this.#maxFreeBytes) return;
    const list = this.#free.get(size);
    if (list === undefined) this.#free.set(size, [buffer]);
    else list.push(buffer);
    this.#freeBytes += size;
  }
}

/** The next power of two. */
function sizeClass(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes));
}
