// The HTTP server of one engine: connections, request bodies, keys, routes, faults. On top of node:http; below it are the
// handlers. It must notice a client's leaving (close, reset, half-close) in the same turn and end its work.

import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import { DetailError, notFound } from "./errors.ts";
import { Exchange, httpDate } from "./exchange.ts";
import type { Fault } from "./faults.ts";
import { parseJsonBody } from "./json-body.ts";
import { findRoute } from "./routes.ts";
import { ServerFaults } from "./server-faults.ts";
import type { FoundRoute } from "./routes.ts";
import { simRoute } from "./sim.ts";

const keepAliveMs = 5000;
/** httptools refuses a longer request target. */
const maxTargetBytes = 64 * 1024;

export class EngineServer {
  readonly #app: EngineApp;
  readonly #server: Server;
  readonly #exchanges = new Map<Socket, Set<Exchange>>();
  readonly #faults: ServerFaults;
  #port: number;
  #closed = false;

  constructor(app: EngineApp) {
    this.#app = app;
    this.#faults = new ServerFaults(app, {
      stopListening: () => this.stopListening(),
      listenAgain: () => {
        if (!this.#closed) void this.listen();
      },
      crash: () => this.crash(),
    });
    this.#port = app.options.port;
    this.#server = createServer(
      {
        keepAliveTimeout: keepAliveMs,
        // Idle connections that never sent a whole request stay open, as uvicorn's do.
        headersTimeout: 0,
        requestTimeout: 0,
        maxHeaderSize: 16 * 1024 * 1024,
        requireHostHeader: false,
        noDelay: true,
      },
      (request, response) => this.#accept(request, response),
    );
    // Node would add a second to what uvicorn waits.
    Object.assign(this.#server, { keepAliveTimeoutBuffer: 0 });
    this.#server.maxHeadersCount = 0;
    this.#server.on("connection", (socket: Socket) => this.#connected(socket));
    this.#server.on("clientError", (_error, socket) => this.#malformed(socket as Socket));
    // uvicorn ignores expectations that it does not know.
    this.#server.on("checkExpectation", (request, response) => this.#accept(request, response));
  }

  get port(): number {
    return this.#port;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#port, this.#app.options.host, () => {
        this.#server.off("error", reject);
        this.#port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  /** Refuses new connections. Those that are idle are closed; requests in flight go on. */
  stopListening(): void {
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  /** Destroys every connection. */
  destroyConnections(): void {
    for (const socket of this.#exchanges.keys()) socket.destroy();
  }

  /** Lets what was written leave, then closes; resolves when every socket is gone. */
  async close(): Promise<void> {
    this.#closed = true;
    const closed = new Promise<void>((resolve) => {
      if (this.#server.listening) this.#server.close(() => resolve());
      else resolve();
    });
    for (const socket of this.#exchanges.keys()) socket.destroySoon();
    // A client that does not read would hold its socket for ever.
    const deadline = this.#app.clock.setTimer(500, () => this.destroyConnections());
    await closed;
    deadline.cancel();
  }

  crash(): void {
    this.#closed = true;
    this.#server.close();
    for (const socket of this.#exchanges.keys()) {
      // Node loses the handle of a socket that is to be reset while its end is on its way.
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  /** Puts a fault in force. Those that concern the listener or the process act at once. */
  applyFault(fault: Fault): void {
    this.#faults.apply(fault);
  }

  #connected(socket: Socket): void {
    const exchanges = new Set<Exchange>();
    this.#exchanges.set(socket, exchanges);
    this.#app.connections = this.#exchanges.size;
    const leave = (): void => {
      for (const exchange of exchanges) exchange.disconnect();
    };
    // A half-closed socket counts as gone: uvicorn sends nothing after EOF.
    socket.on("end", () => {
      const busy = exchanges.size > 0;
      leave();
      if (busy) socket.destroy();
    });
    socket.on("close", () => {
      leave();
      this.#exchanges.delete(socket);
      this.#app.connections = this.#exchanges.size;
    });
    socket.on("error", leave);
  }

  #malformed(socket: Socket): void {
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const body = "Invalid HTTP request received.";
    socket.end(
      `HTTP/1.1 400 Bad Request\r\ndate: ${httpDate(this.#app.wallMs())}\r\nserver: uvicorn\r\n` +
        `content-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  }

  /** Another library answers upgrades, in its own style. */
  #refuseWebsocket(socket: Socket): void {
    socket.end(
      `HTTP/1.1 403 Forbidden\r\nDate: ${httpDate(this.#app.wallMs())}\r\nConnection: close\r\n` +
        "Content-Length: 0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
    );
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    if ((request.url ?? "").length >= maxTargetBytes) {
      this.#malformed(request.socket);
      return;
    }
    if (request.headers.upgrade?.toLowerCase() === "websocket") {
      this.#refuseWebsocket(request.socket);
      return;
    }
    const { enableRequestIdHeaders } = this.#app.options;
    const given = request.headers["x-request-id"];
    const exchange = new Exchange(request, response, decodePath(request.url ?? "/"), {
      requestIdHeader: enableRequestIdHeaders ? (typeof given === "string" ? given : randomHex(32)) : null,
      wallMs: () => this.#app.wallMs(),
    });
    const exchanges = this.#exchanges.get(request.socket);
    exchanges?.add(exchange);
    const startMs = this.#app.clock.nowMs();
    response.on("close", () => {
      exchanges?.delete(exchange);
      if (exchange.status === 0) return;
      const sizes = { request: Number(request.headers["content-length"] ?? 0), response: exchange.responseBytes };
      const seconds = (this.#app.clock.nowMs() - startMs) / 1000;
      this.#app.http.record(exchange.handler, exchange.method, exchange.status, sizes, seconds);
    });
    const chunks: Buffer[] = [];
    this.#faults.slowRead(exchange);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      exchange.body = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
      try {
        this.#dispatch(exchange);
      } catch (error) {
        exchange.fail(error);
      }
    });
  }

  #dispatch(exchange: Exchange): void {
    const { path } = exchange;
    const app = this.#app;
    if (app.options.simApi && path.startsWith("/sim/")) {
      if (!simRoute(app, exchange, { apply: (fault) => this.applyFault(fault) })) throw notFound();
      return;
    }
    if (!this.#authorized(exchange)) {
      exchange.unauthorized();
      return;
    }
    const found = findRoute(path, app.options);
    if (found === null) {
      this.#missing(exchange);
      return;
    }
    if (found.route.methods.includes(exchange.method)) exchange.handler = found.template;
    if (!found.route.methods.includes(exchange.method)) {
      this.#wrongMethod(exchange, found.route.methods);
      return;
    }
    if (path.startsWith("/v1/messages")) exchange.family = "anthropic";
    if (this.#faults.takesOver(exchange, found)) return;
    if (found.route.generates) this.#count(exchange);
    const slow = this.#app.faultOf(exchange, "slow_headers");
    if (slow === null) {
      this.#handle(exchange, found);
      return;
    }
    app.clock.setTimer((slow.seconds ?? 1) * 1000, () => {
      try {
        if (!exchange.gone) this.#handle(exchange, found);
      } catch (error) {
        exchange.fail(error);
      }
    });
  }

  #handle(exchange: Exchange, { route, id }: FoundRoute): void {
    const json = route.body === "json";
    const body = json ? parseJsonBody(exchange.header("content-type"), exchange.body) : {};
    route.handle(this.#app, exchange, body, id);
  }

  #authorized(exchange: Exchange): boolean {
    const { apiKeys } = this.#app.options;
    if (apiKeys.length === 0 || exchange.method === "OPTIONS") return true;
    if (!/^\/(v1|inference)(\/|$)/.test(exchange.path)) return true;
    const [scheme = "", key = ""] = (exchange.header("authorization") ?? "").split(" ", 2);
    return scheme.toLowerCase() === "bearer" && apiKeys.includes(key);
  }

  #missing(exchange: Exchange): void {
    const { path } = exchange;
    const bare = path.replace(/\/$/, "");
    if (bare === path || bare === "" || findRoute(bare, this.#app.options) === null) throw notFound();
    const host = exchange.header("host") ?? `${this.#app.options.host}:${this.#port}`;
    exchange.handler = path;
    exchange.redirect(`http://${host}${bare}`);
  }

  #wrongMethod(exchange: Exchange, methods: readonly string[]): void {
    if (exchange.method === "OPTIONS" && exchange.header("access-control-request-method") !== undefined) {
      exchange.refuseCors();
      return;
    }
    throw new DetailError(405, "Method Not Allowed", ["allow", methods.join(", ")]);
  }

  #count(exchange: Exchange): void {
    this.#app.requests++;
    this.#app.inFlight++;
    exchange.response.once("close", () => {
      this.#app.inFlight--;
    });
  }
}

/** The path as routes are matched: without query, percent-decoded. */
function decodePath(url: string): string {
  const start = /^https?:\/\/[^/]*/.exec(url)?.[0].length ?? 0;
  const path = url.slice(start).split("?", 1)[0] ?? "/";
  if (!path.includes("%")) return path === "" ? "/" : path;
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
