// Gives an accepted socket a read buffer of ours, as `net.connect({ onread })` does for the other direction. Node offers that
// for accepted sockets too, but only to whoever constructs the socket: so a second one is made on the same handle. The
// `handle` option is what Node's own cluster and TLS code use; where it is not as expected the first socket is used, with
// reads that cost more. See docs/decisions/0006-read-buffers.md.
import net from "node:net";
import { readPastSocket } from "./stream-binding.ts";

/**
 * One buffer for all clients: a read is worked off before the next one, and what is kept of it is copied. Large, so that a
 * body of a megabyte takes few system calls.
 */
const sharedBuffer = Buffer.allocUnsafeSlow(256 * 1024);

/** @param buffer bytes [0, length) were read; they are only lent */
export type OnRead = (buffer: Buffer, length: number) => void;

/**
 * Starts reading.
 * @param accepted a paused socket that nobody listens to
 * @returns the socket to use from now on
 */
export function readAccepted(accepted: net.Socket, onRead: OnRead): net.Socket {
  const socket = rebuilt(accepted, onRead);
  if (socket !== null) return socket;
  accepted.on("data", (chunk: Buffer) => onRead(chunk, chunk.length));
  return accepted;
}

function rebuilt(accepted: net.Socket, onRead: OnRead): net.Socket | null {
  if (!("_handle" in accepted)) return null;
  const handle = accepted._handle;
  if (typeof handle !== "object" || handle === null || !("useUserBuffer" in handle)) return null;
  const onread: net.OnReadOpts = {
    buffer: sharedBuffer,
    callback: (length) => {
      onRead(sharedBuffer, length);
      return true;
    },
  };
  const socket = new net.Socket(
    Object.assign<net.SocketConstructorOpts, object>({ allowHalfOpen: true, onread }, { handle }),
  );
  // the first one must not close what it no longer owns
  accepted._handle = null;
  socket.resume();
  readPastSocket(socket, (length) => {
    onRead(sharedBuffer, length);
    return undefined;
  });
  return socket;
}
