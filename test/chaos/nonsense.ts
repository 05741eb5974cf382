// What a port on the internet gets to hear: the corpus of request smuggling, random bytes, and sockets that send a byte now
// and then and never finish their request (slowloris). At a steady rate, so that it is nonsense and not a flood.
import net from "node:net";
import { smugglingCases } from "../http/smuggling-cases.ts";
import { Draw } from "./draw.ts";

export interface NonsenseOptions {
  readonly port: number;
  /** Sockets that never finish a request. */
  readonly sockets: number;
  /** Connections with the corpus or random bytes. */
  readonly perSecond: number;
  readonly seed: number;
}

const dripMs = 1_000;

export class Nonsense {
  readonly #options: NonsenseOptions;
  readonly #draw: Draw;
  readonly #open = new Set<net.Socket>();
  /** Sockets that sit there, the next one to send a byte first, and when it does. */
  readonly #dripping = new Map<net.Socket, number>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #startMs = performance.now();
  #sent = 0;
  /** Connections made in all. */
  connections = 0;

  constructor(options: NonsenseOptions) {
    this.#options = options;
    this.#draw = new Draw(options.seed, "nonsense");
    this.#timers.push(
      setInterval(() => this.#shout(), 5),
      // few at a time: a listening queue is short
      setInterval(() => this.#sit(), 5),
      setInterval(() => this.#drip(), 5),
    );
  }

  /** Sockets that sit there at this moment. */
  get sitting(): number {
    return this.#dripping.size;
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#open) socket.destroy();
  }

  #shout(): void {
    const due = ((performance.now() - this.#startMs) / 1000) * this.#options.perSecond;
    for (; this.#sent < due; this.#sent++) {
      const socket = this.#connect();
      socket.write(this.#words());
      // some wait for an answer, some do not
      const timer = setTimeout(
        () => (this.#draw.chance(0.5) ? socket.resetAndDestroy() : socket.end()),
        this.#draw.below(300),
      );
      socket.once("close", () => clearTimeout(timer));
    }
  }

  #words(): Buffer | string {
    const draw = this.#draw;
    if (draw.chance(0.5)) return Buffer.from(draw.pick(smugglingCases).bytes, "latin1");
    return Buffer.from(Array.from({ length: draw.between(1, 2000) }, () => draw.below(256)));
  }

  /** Those that the router has cut are replaced. */
  #sit(): void {
    for (let i = 0; i < 10 && this.#dripping.size < this.#options.sockets; i++) {
      const socket = this.#connect();
      socket.write("POST /v1/completions HTTP/1.1\r\nhost: a\r\nx-drip: ");
      this.#dripping.set(socket, performance.now() + dripMs);
      socket.once("close", () => this.#dripping.delete(socket));
    }
  }

  /** Each its byte a second, and not all at once: that would hold up the process that measures, too. */
  #drip(): void {
    const now = performance.now();
    for (const [socket, dueMs] of this.#dripping) {
      if (dueMs > now) break;
      // to the end of the line
      this.#dripping.delete(socket);
      this.#dripping.set(socket, now + dripMs);
      socket.write("x");
    }
  }

  #connect(): net.Socket {
    const socket = net.connect({ port: this.#options.port, host: "127.0.0.1", noDelay: true });
    this.connections++;
    this.#open.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.#open.delete(socket));
    socket.resume();
    return socket;
  }
}
