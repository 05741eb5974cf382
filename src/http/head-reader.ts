// Collects a head up to its empty line, however the bytes are cut, within a limit. The hot path (a head whole in one
// read) copies nothing. It decides nothing about what the head says, except that a bare LF can't wait for an end that
// never comes.
import { LmstackError } from "../errors/catalogue.ts";
import { ByteAccumulator } from "./bytes.ts";
import { malformed } from "./head.ts";

const headEnd = Buffer.from("\r\n\r\n");

export class HeadReader {
  readonly #maxBytes: number;
  #held: ByteAccumulator | null = null;
  #text = "";
  #next = 0;
  /** Bytes held that were searched for a bare LF. */
  #checked = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether part of a head has arrived. */
  get begun(): boolean {
    return this.#held !== null;
  }

  /** After `feed` returned true: the head as latin1, without its empty line. */
  get text(): string {
    return this.#text;
  }

  /** After `feed` returned true: where in the fed buffer the message goes on. */
  get next(): number {
    return this.#next;
  }

  /**
   * @returns true when the head is whole; false when all bytes were taken and more are needed
   * @throws LmstackError `head_too_large`, or `malformed_http` for a bare LF
   */
  feed(buf: Buffer, start: number, end: number): boolean {
    const held = this.#held;
    if (held === null) {
      let from = start;
      // RFC 9112 2.2: empty lines before a request line are ignored
      while (end - from >= 2 && buf[from] === 0x0d && buf[from + 1] === 0x0a) from += 2;
      const at = buf.indexOf(headEnd, from);
      if (at >= 0 && at + 4 <= end) {
        if (at - from > this.#maxBytes) throw this.#tooLong(buf.subarray(from, at));
        this.#text = buf.toString("latin1", from, at);
        this.#next = at + 4;
        return true;
      }
      if (from === end) return false;
      this.#held = new ByteAccumulator();
      this.#checked = 0;
      this.#held.append(buf, from, end);
      this.#checkPartial(this.#held.view());
      return false;
    }
    const before = held.length;
    if (before === 1 && held.view()[0] === 0x0d && end > start && buf[start] === 0x0a) {
      // the empty line was cut between CR and LF
      this.#held = null;
      return this.feed(buf, start + 1, end);
    }
    const take = Math.min(end, start + this.#maxBytes + 4);
    held.append(buf, start, take);
    const bytes = held.view();
    const at = bytes.indexOf(headEnd, Math.max(0, before - 3));
    if (at < 0) {
      this.#checkPartial(bytes);
      return false;
    }
    if (at > this.#maxBytes) throw this.#tooLong(bytes.subarray(0, at));
    this.#text = bytes.toString("latin1", 0, at);
    this.#next = start + (at + 4 - before);
    this.#held = null;
    return true;
  }

  #checkPartial(bytes: Buffer): void {
    const limit = Math.min(bytes.length, this.#maxBytes);
    if (findBareLf(bytes.subarray(0, limit), this.#checked)) throw malformed("a line ends with a bare LF");
    this.#checked = limit;
    if (bytes.length > this.#maxBytes + 3) throw this.#tooLong(bytes);
  }

  #tooLong(bytes: Buffer): LmstackError {
    if (findBareLf(bytes.subarray(0, this.#maxBytes))) return malformed("a line ends with a bare LF");
    return new LmstackError("head_too_large", `Request line and headers exceed ${this.#maxBytes} bytes.`);
  }
}

/**
 * Parses a head that came whole.
 * @throws LmstackError what `parse` throws; a bare LF is reported before anything else, as it is where a head comes in pieces
 */
export function parseWhole<T>(text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (findBareLf(Buffer.from(text, "latin1"))) throw malformed("a line ends with a bare LF");
    throw error;
  }
}

/** Whether some LF at or after `from` is not preceded by CR. */
function findBareLf(bytes: Buffer, from = 0): boolean {
  for (let at = bytes.indexOf(0x0a, from); at >= 0; at = bytes.indexOf(0x0a, at + 1)) {
    if (at === 0 || bytes[at - 1] !== 0x0d) return true;
  }
  return false;
}
