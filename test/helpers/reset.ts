import type net from "node:net";

/**
 * RST. Where the end of what is written has been asked for already it is a FIN: libuv refuses to reset what it is shutting down,
 * and Node then lets go of the handle without closing it (libuv/libuv#2425).
 */
export function reset(socket: net.Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
