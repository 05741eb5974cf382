// What leaves by a socket. Most pieces are small and taken by the system at once: those go to the handle itself, past Node's
// streams (see docs/decisions/0011-past-node-streams.md). What the system does not take at once waits in the handle, and is
// counted here. TLS, and a Node that is not as expected, write by the socket.
import { getSystemErrorName } from "node:util";
import type net from "node:net";
import { handleOf, streamBinding, type StreamBinding, type StreamHandle, type WriteRequest } from "./stream-binding.ts";

/** With so many bytes waiting a writer had better pause: what Node's streams like to hold. */
const likedBytes = 64 * 1024;

export class Outlet {
  readonly #socket: net.Socket;
  readonly #binding: StreamBinding | null;
  /** null = by the socket, for good or for now. */
  #handle: StreamHandle | null = null;
  #request: WriteRequest | null = null;
  /** Bytes of writes that are on their way in the handle. */
  #pending = 0;
  #owesDrain = false;
  readonly #onDrain: () => void;

  /** @param onDrain everything has been taken, after {@link needsDrain} */
  constructor(socket: net.Socket, onDrain: () => void, binding: StreamBinding | null = streamBinding) {
    this.#socket = socket;
    this.#onDrain = onDrain;
    this.#binding = "encrypted" in socket ? null : binding;
    socket.on("drain", onDrain);
  }

  /** Bytes that wait in this process; those of a buffer are still read from it. */
  get queuedBytes(): number {
    return this.#handle === null ? this.#socket.writableLength : this.#pending;
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
    const handle = this.#handle ?? this.#open();
    if (handle === null) {
      return typeof data === "string" ? this.#socket.write(data, "latin1") : this.#socket.write(data);
    }
    const request = (this.#request ??= this.#newRequest());
    const status =
      typeof data === "string" ? handle.writeLatin1String(request, data) : handle.writeBuffer(request, data);
    return this.#wrote(request, status, data);
  }

  /** Text and bytes in one system call. */
  writeAll(head: string, pieces: readonly Buffer[]): void {
    const handle = this.#handle ?? this.#open();
    if (handle === null) {
      const socket = this.#socket;
      socket.cork();
      socket.write(head, "latin1");
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
      return;
    }
    const request = (this.#request ??= this.#newRequest());
    const chunks: (Buffer | string)[] = [head, "latin1"];
    for (const piece of pieces) chunks.push(piece, "buffer");
    this.#wrote(request, handle.writev(request, chunks, false), chunks);
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

  #wrote(request: WriteRequest, status: number, data: unknown): boolean {
    const binding = this.#binding;
    if (status !== 0) {
      this.#fail(status);
      return true;
    }
    if (binding === null || binding.streamBaseState[binding.kLastWriteWasAsync] === 0) return true;
    const bytes = binding.streamBaseState[binding.kBytesWritten] ?? 0;
    this.#request = null;
    this.#pending += bytes;
    if (this.#pending >= likedBytes) this.#owesDrain = true;
    request.held = data;
    request.oncomplete = (late) => {
      request.held = null;
      this.#pending -= bytes;
      if (late < 0) this.#fail(late);
      if (this.#pending > 0 || !this.#owesDrain) return;
      this.#owesDrain = false;
      if (!this.#socket.destroyed) this.#onDrain();
    };
    return !this.#owesDrain;
  }

  /** As the socket would: it is destroyed, and tells why. */
  #fail(status: number): void {
    if (this.#socket.destroyed) return;
    const code = getSystemErrorName(status);
    this.#socket.destroy(Object.assign(new Error(`write ${code}`), { code, errno: status, syscall: "write" }));
  }
}
