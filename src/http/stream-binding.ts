// What Node's own sockets are made of: the handle of libuv, and how it tells the length of a read and the fate of a write. A
// relay of small pieces spends a tenth of its CPU in the stream classes between the two, which it does not need: see
// docs/decisions/0011-past-node-streams.md. Everything here is looked at before it is used; where it is not as expected there
// is no binding, and reads and writes go the documented way.
import type net from "node:net";

/** A write that may be on its way when the call has returned; used again as long as none is. */
export interface WriteRequest {
  oncomplete: ((status: number) => void) | null;
  /** What the system still reads from. */
  held: unknown;
}

/** Results are error numbers of libuv, negative; 0 = taken, if not at once then later. */
export interface StreamHandle {
  onread: ((this: StreamHandle, bytes: ArrayBuffer | undefined) => unknown) | null;
  writeLatin1String(request: WriteRequest, text: string): number;
  writeBuffer(request: WriteRequest, bytes: Buffer): number;
  /** @param chunks each followed by its encoding, `buffer` for bytes */
  writev(request: WriteRequest, chunks: readonly (Buffer | string)[], allBuffers: false): number;
}

export interface StreamBinding {
  readonly WriteWrap: new () => WriteRequest;
  /** Told by the latest call or callback, at the places below. */
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kBytesWritten: number;
  readonly kLastWriteWasAsync: number;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isBinding(value: unknown): value is StreamBinding {
  if (!isObject(value) || typeof value["WriteWrap"] !== "function") return false;
  const { streamBaseState } = value;
  const places = [value["kReadBytesOrError"], value["kBytesWritten"], value["kLastWriteWasAsync"]];
  return (
    streamBaseState instanceof Int32Array &&
    places.every((place) => Number.isInteger(place) && streamBaseState[Number(place)] !== undefined)
  );
}

function isHandle(value: unknown): value is StreamHandle {
  if (!isObject(value) || typeof value["onread"] !== "function") return false;
  return [value["writeLatin1String"], value["writeBuffer"], value["writev"]].every(
    (method) => typeof method === "function",
  );
}

function load(): StreamBinding | null {
  const { binding } = process as { binding?: unknown };
  if (typeof binding !== "function") return null;
  try {
    const loaded: unknown = binding.call(process, "stream_wrap");
    return isBinding(loaded) ? loaded : null;
  } catch {
    return null;
  }
}

/** null = this Node has another one. */
export const streamBinding: StreamBinding | null = load();

/** @returns null = not connected, not plain TCP, or not as expected */
export function handleOf(socket: net.Socket): StreamHandle | null {
  if (socket.connecting || !("_handle" in socket)) return null;
  return isHandle(socket._handle) ? socket._handle : null;
}

/**
 * Has reads reported past the socket, which was made with `onread`: only the end and errors go on to it.
 * @param onBytes the length of a read is told; a buffer that it returns takes the next one
 */
export function readPastSocket(
  socket: net.Socket,
  onBytes: (length: number) => Buffer | undefined,
  binding: StreamBinding | null = streamBinding,
): void {
  const handle = handleOf(socket);
  const onread = handle?.onread;
  if (binding === null || handle === null || !onread) return;
  const { streamBaseState, kReadBytesOrError } = binding;
  handle.onread = (bytes) => {
    const length = streamBaseState[kReadBytesOrError] ?? 0;
    return length > 0 ? onBytes(length) : onread.call(handle, bytes);
  };
}
