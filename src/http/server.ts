// The listening side: accepts clients on TCP or TLS and keeps their connections, so that a drain can end them.
import net from "node:net";
import tls from "node:tls";
import type { Clock } from "../clock.ts";
import { HeadTemplates } from "./head-template.ts";
import type { RequestHead } from "./request-parser.ts";
import { ServerConnection, type ConnectionLimits, type ServerHandler } from "./server-connection.ts";
import { Sweeper } from "./sweeper.ts";

export interface ServerTls {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

/** How late a slow client may be noticed. */
const sweepMs = 500;

export class HttpServer {
  readonly #server: net.Server;
  readonly #clock: Clock;
  readonly #limits: ConnectionLimits;
  readonly #handler: ServerHandler;
  readonly #sweeper: Sweeper<ServerConnection>;
  readonly #templates = new HeadTemplates<RequestHead>();
  readonly #connections = new Set<ServerConnection>();
  readonly #encrypted: boolean;
  #draining = false;
  #onEmpty: (() => void) | null = null;

  constructor(clock: Clock, limits: ConnectionLimits, handler: ServerHandler, serverTls: ServerTls | null) {
    this.#clock = clock;
    this.#limits = limits;
    this.#handler = handler;
    this.#sweeper = new Sweeper<ServerConnection>(clock, sweepMs);
    this.#encrypted = serverTls !== null;
    // half-open, because after an error the answer must go out while the client is still sending
    const options = { allowHalfOpen: true, noDelay: true };
    const plain = { ...options, pauseOnConnect: true };
    this.#server =
      serverTls === null
        ? net.createServer(plain, this.#accept)
        : tls.createServer(
            { ...options, ...serverTls, ALPNProtocols: ["http/1.1"], handshakeTimeout: limits.headMs },
            this.#accept,
          );
  }

  get connections(): number {
    return this.#connections.size;
  }

  /**
   * @param where a port of an address, or a listening socket that the process has inherited
   * @returns the port in use, also where 0 was asked for
   * @throws the system's error (`EADDRINUSE`, `EACCES`, ...)
   */
  listen(where: { readonly port: number; readonly host: string } | { readonly fd: number }): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ ...where, backlog: 4096 }, () => {
        this.#server.off("error", reject);
        // e.g. EMFILE while accepting: the clients affected see a refused connection, the others go on
        this.#server.on("error", () => undefined);
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** Descriptor of the listening socket, for a process that is to inherit it; null = it has none (any more). */
  get fd(): number | null {
    const server: object = this.#server;
    const handle: unknown = "_handle" in server ? server._handle : null;
    const fd: unknown = typeof handle === "object" && handle !== null && "fd" in handle ? handle.fd : null;
    return typeof fd === "number" && fd >= 0 ? fd : null;
  }

  /** As {@link drain}, and accepts no more: somebody else does, on the same socket. */
  retire(): void {
    this.#server.close();
    this.drain();
  }

  /** Takes over a new certificate for the connections to come. */
  setTls(serverTls: ServerTls): void {
    if (this.#server instanceof tls.Server) this.#server.setSecureContext(serverTls);
  }

  /**
   * Answers carry `connection: close` from now on. New connections are still accepted, and idle ones stay until
   * {@link close}: who asks again on one of them is answered, and moves on afterwards.
   */
  drain(): void {
    this.#draining = true;
    for (const connection of this.#connections) connection.drain();
  }

  /** Accepts no more, idle connections end. Resolves when the last connection has ended. */
  close(): Promise<void> {
    this.#server.close();
    this.#sweeper.stop();
    for (const connection of this.#connections) connection.closeIdle();
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  /** Ends all connections at once. */
  destroy(): void {
    this.#server.close();
    this.#sweeper.stop();
    for (const connection of this.#connections) connection.destroy();
  }

  readonly #accept = (socket: net.Socket): void => {
    const connection = new ServerConnection(
      socket,
      this.#clock,
      this.#limits,
      this.#handler,
      this.#sweeper,
      this.#draining,
      this.#encrypted,
      this.#templates,
      this.#forget,
    );
    this.#connections.add(connection);
  };

  readonly #forget = (connection: ServerConnection): void => {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onEmpty?.();
  };
}
