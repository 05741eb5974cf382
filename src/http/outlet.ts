// What leaves by a socket. Most pieces are small and taken by the system at once: those go to the handle itself, past Node's
// streams (see docs/decisions/0011-past-node-streams.md). What the system does not take at once waits in the handle, and what
// comes behind it here, to leave in one go. TLS, and a Node that is not as expected, write by the socket.
import { getSystemErrorName } from "node:util";
import type net from "node:net";
import { departures, type Departing, type Departures } from "./departures.ts";
import { handleOf, streamBinding, type StreamBinding, type StreamHandle, type WriteRequest } from "./stream-binding.ts";

/** With so many bytes waiting a writer had better pause: what Node's streams like to hold. */
const likedBytes = 64 * 1024;
/** Longer ones do not wait for others: what sending them takes is mostly their bytes. */
const soonBytes = 16 * 1024;

export class Outlet implements Departing {
  readonly #socket: net.Socket;
  readonly #binding: StreamBinding | null;
  /** null = by the socket, for good or for now. */
  #handle: StreamHandle | null = null;
  #request: WriteRequest | null = null;
  /** Bytes of writes that are on their way in the handle. */
  #onWay = 0;
  /** What has to wait for those, each piece followed by its encoding. */
  #behind: (Buffer | string)[] = [];
  #behindBytes = 0;
  #owesDrain = false;
  /** A message that leaves with those of others; "" = none. */
  #soon = "";
  readonly #onDrain: () => void;
  readonly #departures: Departures;

  /** @param onDrain everything has been taken, after {@link needsDrain} */
  constructor(
    socket: net.Socket,
    onDrain: () => void,
    binding: StreamBinding | null = streamBinding,
    together: Departures = departures,
  ) {
    this.#socket = socket;
    this.#departures = together;
    this.#onDrain = onDrain;
    this.#binding = "encrypted" in socket ? null : binding;
    socket.on("drain", onDrain);
  }

  /** Bytes that wait in this process; those of a buffer are still read from it. */
  get queuedBytes(): number {
    if (this.#handle === null) return this.#socket.writableLength;
    return this.#onWay + this.#behindBytes + this.#soon.length;
  }

  /** More is waiting than is good: stop producing until the drain. */
  get needsDrain(): boolean {
    if (this.#handle !== null) return this.#owesDrain;
    return this.#socket.writableNeedDrain && this.#socket.writableLength > 0;
  }

  /**
   * @param data latin1 text, or bytes that must not be changed as long as any are queued
   * @returns false = see {@link needsDrain}
   */
  write(data: Buffer | string): boolean {
    if (this.#soon !== "") this.leave();
    const handle = this.#handle ?? this.#open();
    if (handle === null) {
      return typeof data === "string" ? this.#socket.write(data, "latin1") : this.#socket.write(data);
    }
    if (this.#onWay > 0) {
      this.#wait(data);
      return this.#judge();
    }
    const request = (this.#request ??= this.#newRequest());
    const status =
      typeof data === "string" ? handle.writeLatin1String(request, data) : handle.writeBuffer(request, data);
    return this.#wrote(request, status, data);
  }

  /**
   * Sends a whole message, which may wait for the end of this turn to leave with others (see {@link Departures}); whatever is
   * written next leaves behind it.
   * @param text latin1
   */
  writeSoon(text: string): void {
    const handle = this.#handle ?? this.#open();
    const busy = this.#onWay > 0 || this.#soon !== "";
    if (handle === null || busy || text.length > soonBytes || !this.#departures.gathers()) {
      this.write(text);
      return;
    }
    this.#soon = text;
    this.#departures.add(this);
  }

  /** Whether {@link writeSoon} keeps something back. */
  get waits(): boolean {
    return this.#soon !== "";
  }

  /** Sends what {@link writeSoon} has kept back. */
  leave(): void {
    const text = this.#soon;
    this.#soon = "";
    // to a connection that is gone it fails, which the socket is asked about only then: it has long left the processor's cache
    if (text !== "") this.write(text);
  }

  /** Text and bytes in one system call. */
  writeAll(head: string, pieces: readonly Buffer[]): void {
    if (this.#soon !== "") this.leave();
    const handle = this.#handle ?? this.#open();
    if (handle === null) {
      const socket = this.#socket;
      socket.cork();
      socket.write(head, "latin1");
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
      return;
    }
    this.#wait(head);
    for (const piece of pieces) this.#wait(piece);
    if (this.#onWay === 0) this.#writeWaiting(handle);
    else this.#judge();
  }

  /** Ends our side behind all that was written. */
  end(): void {
    this.leave();
    if (this.#handle !== null && this.#behindBytes > 0) this.#writeWaiting(this.#handle);
    this.#socket.end();
  }

  /** From the first moment on at which the socket itself holds nothing, which would be overtaken. */
  #open(): StreamHandle | null {
    if (this.#binding === null || this.#socket.writableLength > 0 || this.#socket.writableEnded) return null;
    return (this.#handle = handleOf(this.#socket));
  }

  #newRequest(): WriteRequest {
    const { WriteWrap } = this.#binding ?? {};
    if (WriteWrap === undefined) throw new Error("no handle is used without a binding");
    return new WriteWrap();
  }

  /** Small texts become one: a stream that nobody reads brings hundreds. */
  #wait(data: Buffer | string): void {
    if (data.length === 0) return;
    const behind = this.#behind;
    const last = behind.length - 2;
    const before = last >= 0 && behind[last + 1] === "latin1" ? behind[last] : undefined;
    if (typeof data === "string" && typeof before === "string") behind[last] = before + data;
    else behind.push(data, typeof data === "string" ? "latin1" : "buffer");
    this.#behindBytes += data.length;
  }

  #writeWaiting(handle: StreamHandle): void {
    const chunks = this.#behind;
    this.#behind = [];
    this.#behindBytes = 0;
    const request = (this.#request ??= this.#newRequest());
    this.#wrote(request, handle.writev(request, chunks, false), chunks);
  }

  /** @param data what the system still reads from, where it has not taken all of it */
  #wrote(request: WriteRequest, status: number, data: unknown): boolean {
    const binding = this.#binding;
    if (status !== 0) {
      this.#fail(status);
      return true;
    }
    if (binding === null || binding.streamBaseState[binding.kLastWriteWasAsync] === 0) return true;
    const bytes = binding.streamBaseState[binding.kBytesWritten] ?? 0;
    this.#request = null;
    this.#onWay += bytes;
    request.held = data;
    request.oncomplete = (late) => {
      request.held = null;
      this.#onWay -= bytes;
      this.#taken(late);
    };
    return this.#judge();
  }

  /** The system has taken what was on its way, or failed to. */
  #taken(status: number): void {
    if (status < 0) this.#fail(status);
    if (this.#socket.destroyed) {
      this.#behind = [];
      this.#behindBytes = 0;
      return;
    }
    if (this.#handle !== null && this.#behindBytes > 0 && this.#onWay === 0) this.#writeWaiting(this.#handle);
    if (this.queuedBytes > 0 || !this.#owesDrain) return;
    this.#owesDrain = false;
    this.#onDrain();
  }

  #judge(): boolean {
    if (this.queuedBytes >= likedBytes) this.#owesDrain = true;
    return !this.#owesDrain;
  }

  /** As the socket would: it is destroyed, and tells why. */
  #fail(status: number): void {
    if (this.#socket.destroyed) return;
    const code = getSystemErrorName(status);
    this.#socket.destroy(Object.assign(new Error(`write ${code}`), { code, errno: status, syscall: "write" }));
  }
}
