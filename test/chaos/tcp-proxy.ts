// A TCP proxy that delays, drops, cuts and corrupts: what lies between two hosts when a network is unwell. Stands before
// engines and before the router. It knows nothing of HTTP but one thing: it notes the ids of requests whose bytes it has
// corrupted, since nobody can be held to the content of those.
import net from "node:net";
import { reset } from "../helpers/reset.ts";

/** What happens to one connection. Bytes are counted in the direction that is hit. */
export type Mischief =
  | { readonly kind: "pass" }
  /** Every piece is late by so much. */
  | { readonly kind: "delay"; readonly direction: Direction; readonly delayMs: number }
  /** In pieces of so many bytes, each in a packet of its own. */
  | { readonly kind: "trickle"; readonly direction: Direction; readonly pieceBytes: number }
  /** From a byte on nothing comes any more, and the connection stays open. */
  | { readonly kind: "drop"; readonly direction: Direction; readonly afterBytes: number }
  | {
      readonly kind: "cut";
      readonly direction: Direction;
      readonly afterBytes: number;
      readonly ending: "reset" | "end";
    }
  /** One byte is another one. */
  | { readonly kind: "corrupt"; readonly direction: Direction; readonly afterBytes: number; readonly mask: number };

/** `up` is from who connected to the target. */
export type Direction = "up" | "down";

const idPattern = /x-request-id: ?([\w-]{1,128})/gi;

export class ChaosProxy {
  readonly #server: net.Server;
  /** Where new connections lead. */
  targetPort: number;
  readonly #links = new Set<Link>();
  /** What happens to the next connection. */
  draw: () => Mischief;
  /** Ids of requests on connections with a corrupted byte. */
  readonly corrupted = new Set<string>();
  port = 0;

  constructor(targetPort: number, draw: () => Mischief) {
    this.targetPort = targetPort;
    this.draw = draw;
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const link = new Link(socket, this.targetPort, this.draw(), this.corrupted, () => this.#links.delete(link));
      this.#links.add(link);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, "127.0.0.1", () => {
        const address = this.#server.address();
        if (typeof address === "object" && address !== null) this.port = address.port;
        resolve();
      });
    });
  }

  /** Resets the connections that are open: behind half of a body without a length, a proper end would make it a whole one. */
  cutAll(): void {
    for (const link of this.#links) link.cut("reset");
  }

  close(): void {
    this.#server.close();
    this.cutAll();
  }
}

/** One connection through the proxy: two lanes. */
class Link {
  readonly #near: net.Socket;
  readonly #far: net.Socket;
  readonly #onClosed: () => void;
  readonly #timers = new Set<NodeJS.Timeout>();
  #over = false;

  constructor(near: net.Socket, targetPort: number, mischief: Mischief, corrupted: Set<string>, onClosed: () => void) {
    this.#near = near;
    this.#far = net.connect({ port: targetPort, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    this.#onClosed = onClosed;
    const ids = mischief.kind === "corrupt" ? corrupted : null;
    this.#lane(near, this.#far, mischief.kind !== "pass" && mischief.direction === "up" ? mischief : null, ids);
    this.#lane(this.#far, near, mischief.kind !== "pass" && mischief.direction === "down" ? mischief : null, null);
    for (const socket of [near, this.#far]) {
      // a reset goes on as one: it must not look like a proper end on the other side
      socket.on("error", () => this.cut("reset"));
      socket.on("close", () => this.destroy());
    }
  }

  /** @param ids where ids of requests are noted, null = nowhere */
  #lane(
    from: net.Socket,
    to: net.Socket,
    mischief: Exclude<Mischief, { kind: "pass" }> | null,
    ids: Set<string> | null,
  ): void {
    let passed = 0;
    let tail = "";
    /** Pieces that are late, in order. */
    let pending = Promise.resolve();
    const write = (bytes: Buffer): void => {
      if (this.#over || to.writableEnded || bytes.length === 0) return;
      if (to.write(bytes)) return;
      from.pause();
      to.once("drain", () => from.resume());
    };
    from.on("data", (chunk: Buffer) => {
      if (ids !== null) {
        tail = tail.slice(-160) + chunk.toString("latin1");
        for (const [, id = ""] of tail.matchAll(idPattern)) ids.add(id);
      }
      const before = passed;
      passed += chunk.length;
      if (mischief === null) {
        write(chunk);
        return;
      }
      switch (mischief.kind) {
        case "delay":
          pending = this.#late(pending, mischief.delayMs, () => write(chunk));
          return;
        case "trickle":
          pending = this.#late(pending, 0, async () => {
            for (let at = 0; at < chunk.length && !this.#over; at += mischief.pieceBytes) {
              write(chunk.subarray(at, at + mischief.pieceBytes));
              await new Promise<void>((resolve) => setImmediate(resolve));
            }
          });
          return;
        case "drop":
          write(chunk.subarray(0, Math.max(0, mischief.afterBytes - before)));
          return;
        case "cut":
          write(chunk.subarray(0, Math.max(0, mischief.afterBytes - before)));
          if (passed >= mischief.afterBytes) this.cut(mischief.ending);
          return;
        case "corrupt": {
          const at = mischief.afterBytes - before;
          if (at >= 0 && at < chunk.length) {
            const changed = Buffer.from(chunk);
            changed[at] = (changed[at] ?? 0) ^ mischief.mask;
            write(changed);
          } else write(chunk);
        }
      }
    });
    from.on("end", () => {
      void this.#late(pending, 0, () => {
        // what was dropped includes the end
        if (mischief?.kind !== "drop" || passed < mischief.afterBytes) to.end();
      });
    });
  }

  cut(ending: "reset" | "end"): void {
    if (this.#over) return;
    if (ending === "reset") {
      reset(this.#near);
      reset(this.#far);
    } else {
      this.#near.end();
      this.#far.end();
    }
    // a peer that does not end its side in turn must not keep the link
    this.#later(50, () => this.destroy());
  }

  /** Does something behind what is pending, and so much later. */
  async #late(pending: Promise<void>, ms: number, run: () => void | Promise<void>): Promise<void> {
    await pending;
    if (ms > 0) await this.#wait(ms);
    await run();
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.#later(ms, resolve));
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }

  destroy(): void {
    if (this.#over) return;
    this.#over = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#near.destroy();
    this.#far.destroy();
    this.#onClosed();
  }
}
