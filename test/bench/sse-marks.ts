// How the fake engine and the stream client speak about time: every SSE frame carries its send time, read from the
// monotonic clock that all processes of one machine share. Kept in one file so that writer and reader cannot drift
// apart. It must stay cheap: both ends run it 30,000 times a second on the core that they share.
import { performance } from "node:perf_hooks"; // the global is a getter

/** What stands before the send time in a frame; 20 decimal digits follow, nanoseconds of CLOCK_MONOTONIC. */
export const SENT_MARK = Buffer.from('"sent":"', "latin1");

/** Digits of the send time, zero-padded so that a frame's length never changes. */
export const SENT_DIGITS = 20;

const DIGIT_0 = 0x30;

/** From the clock of this process to CLOCK_MONOTONIC, which is asked once: a bigint for each frame would cost more than it. */
const originNs = Number(process.hrtime.bigint()) - performance.now() * 1e6;

/** CLOCK_MONOTONIC in nanoseconds; exact below 2^53 ns, which is 104 days of uptime, afterwards within 2 ns. */
export function monotonicNs(): number {
  return originNs + performance.now() * 1e6;
}

/** Reads the send time whose digits begin at `at`, in nanoseconds. */
export function readSentNs(chunk: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + SENT_DIGITS; i++) value = value * 10 + ((chunk[i] ?? DIGIT_0) - DIGIT_0);
  return value;
}

/** A chunked SSE frame of 230 bytes of event: the size of a real vLLM chat chunk. */
export class SentFrame {
  #bytes: Buffer;
  readonly #at: number;

  constructor(id: string) {
    const head =
      `data: {"id":"chatcmpl-${id}","object":"chat.completion.chunk","created":1795419549,"model":"bench",` +
      `"choices":[{"index":0,"delta":{"content":" tok"},"logprobs":null,"finish_reason":null}],"sent":"`;
    const tail = '"}\n\n';
    const size = `${(head.length + SENT_DIGITS + tail.length).toString(16)}\r\n`;
    this.#bytes = Buffer.from(`${size}${head}${"0".repeat(SENT_DIGITS)}${tail}\r\n`, "latin1");
    this.#at = size.length + head.length;
  }

  /** The frame, about to be written: it has the present time, until the next call. */
  now(): Buffer {
    const bytes = this.#bytes;
    let rest = Math.round(monotonicNs());
    for (let i = this.#at + SENT_DIGITS - 1; rest > 0; i--) {
      const more = Math.floor(rest / 10);
      bytes[i] = DIGIT_0 + rest - more * 10;
      rest = more;
    }
    return bytes;
  }

  /** The bytes that were given out are still read from: the next frame gets others. */
  keep(): void {
    this.#bytes = Buffer.from(this.#bytes);
  }
}
