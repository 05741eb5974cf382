// Takes the event that tells the usage out of a stream, where the router has asked for it and the client has not
// (`--inject-stream-usage`). It stands before the relay, which sees the stream as the client would have got it; everything but
// that one event passes in its own bytes. It must never hold back what belongs to the answer.
import { findUsage } from "../api/usage.ts";
import { SseScanner, type FrameKind, type FrameSink } from "../http/sse-scanner.ts";
import type { Relay, RelayOwner } from "./relay.ts";

const usageKey = Buffer.from('"usage"');
const noChoices = /"choices": ?\[\]/;
const lf = 0x0a;

export class UsageFilter implements Relay, FrameSink {
  readonly #owner: RelayOwner;
  readonly #relay: Relay;
  readonly #scanner = new SseScanner(this);
  /** Of the present read: where its payload lies, as start, end, start, end, ... */
  #buffer: Buffer | null = null;
  readonly #ranges: number[] = [];
  /** Frames that go on. */
  #frames: Buffer[] = [];

  constructor(owner: RelayOwner, relay: Relay) {
    this.#owner = owner;
    this.#relay = relay;
  }

  get whole(): boolean {
    return this.#relay.whole;
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    this.#buffer = buf;
    this.#ranges.push(start, end);
  }

  onRead(buf: Buffer, start: number, end: number, whole: boolean, last: boolean): void {
    if (!this.#isPlain(buf, start, end)) {
      this.#sift();
      return;
    }
    const ranges = this.#ranges;
    for (let i = 0; i < ranges.length; i += 2) this.#relay.onChunkData(buf, ranges[i] ?? 0, ranges[i + 1] ?? 0);
    this.#forget();
    this.#relay.onRead(buf, start, end, whole, last);
  }

  onFrame(kind: FrameKind, buf: Buffer, start: number, end: number, payloadStart: number): void {
    const frame = buf.subarray(start, end);
    if (
      kind === "data" &&
      payloadStart >= 0 &&
      frame.indexOf(usageKey) >= 0 &&
      noChoices.test(frame.toString("latin1"))
    ) {
      const usage = findUsage(frame);
      if (usage !== null) {
        this.#owner.usage(usage);
        return;
      }
    }
    this.#frames.push(Buffer.from(frame));
  }

  onMessageEnd(): void {
    // half a frame: the relay decides what that means
    if (this.#scanner.heldBytes > 0) this.#frames.push(Buffer.from(this.#scanner.heldView()));
    this.#pass();
    this.#relay.onMessageEnd();
  }

  flush(): boolean {
    this.#sift();
    return this.#relay.flush();
  }

  /** Whether a read can go on as it is: whole frames in each chunk, and none that tells usage. */
  #isPlain(buf: Buffer, start: number, end: number): boolean {
    if (this.#scanner.heldBytes > 0) return false;
    for (let i = 1; i < this.#ranges.length; i += 2) {
      const at = this.#ranges[i] ?? 0;
      if (buf[at - 1] !== lf || buf[at - 2] !== lf) return false;
    }
    const found = buf.indexOf(usageKey, start);
    return found < 0 || found >= end;
  }

  /** Frame by frame. */
  #sift(): void {
    const buf = this.#buffer;
    const ranges = this.#ranges;
    let bounded = true;
    for (let i = 0; buf !== null && bounded && i < ranges.length; i += 2)
      bounded = this.#scanner.feed(buf, ranges[i] ?? 0, ranges[i + 1] ?? 0);
    this.#forget();
    // a frame without end: the relay refuses it
    if (!bounded) this.#frames.push(Buffer.from(this.#scanner.heldView()));
    this.#pass();
  }

  #pass(): void {
    if (this.#frames.length === 0) return;
    const bytes = Buffer.concat(this.#frames);
    this.#frames = [];
    this.#relay.onChunkData(bytes, 0, bytes.length);
    this.#relay.onRead(bytes, 0, bytes.length, false, false);
  }

  #forget(): void {
    this.#buffer = null;
    this.#ranges.length = 0;
  }
}
