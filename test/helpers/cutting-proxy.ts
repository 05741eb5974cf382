// A TCP proxy in front of an engine that cuts answers of generating requests after so many bytes, as a process that dies does.
// The cuts are a list that several proxies may share: whichever gets the next such request takes the next cut.
import net, { type AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** Bytes of an answer, its head included, that still pass; null = all of it. */
export type Cut = { readonly bytes: number; readonly how: "reset" | "end" | "silence" } | null;

export interface CuttingProxy {
  readonly url: string;
  readonly port: number;
  /** Generating requests that came, and their bodies. */
  readonly bodies: string[];
}

const generating = /^POST \/v1\/(?:chat\/)?completions /;

/** @param cuts taken from the front; none left = nothing is cut */
export async function startCuttingProxy(t: TestContext, enginePort: number, cuts: Cut[]): Promise<CuttingProxy> {
  const sockets = new Set<net.Socket>();
  const bodies: string[] = [];
  const server = net.createServer((client) => {
    const engine = net.connect(enginePort, "127.0.0.1");
    let left = Number.POSITIVE_INFINITY;
    let how: "reset" | "end" | "silence" = "reset";
    for (const socket of [client, engine]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        engine.destroy();
      });
    }
    client.on("data", (data) => {
      const text = data.toString("utf8");
      if (generating.test(text)) {
        const cut = cuts.shift() ?? null;
        left = cut === null ? Number.POSITIVE_INFINITY : cut.bytes;
        how = cut?.how ?? "reset";
        bodies.push(text.slice(text.indexOf("\r\n\r\n") + 4));
      }
      engine.write(data);
    });
    engine.on("data", (data) => {
      if (left <= 0) return;
      const piece = data.subarray(0, Math.min(left, data.length));
      left -= piece.length;
      client.write(piece, () => {
        if (left > 0 || how === "silence") return;
        if (how === "end") client.end();
        else client.resetAndDestroy();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, bodies };
}
