// Thousands of open streams whose readers have stopped reading, from engines that would send for ever: how much the router
// holds for them.
import net from "node:net";
import { rawRequest } from "../helpers/http-client.ts";
import { chunk, event, RawEngine, streamHead } from "../helpers/raw-engine.ts";
import { RouterProcess } from "./router-process.ts";

/** What one stream whose reader has stopped may cost, at the most: see docs/soak.md. */
export const stalledStreamBytes = 256 * 1024;

/** Faster, and the kernel would make its buffers as large as it may: 2,000 connections would use up its share for sockets. */
const pourMs = 200;
const pourBytes = 16 * 1024;

export interface StalledResult {
  readonly streams: number;
  readonly idleMb: number;
  readonly residentMb: number;
  /** Bytes that the engine got rid of, kernel buffers of the connections among them. */
  readonly takenMb: number;
}

export async function runStalled(streams: number, tell: (line: string) => void): Promise<StalledResult> {
  let taken = 0;
  const frame = chunk(event("x".repeat(pourBytes)));
  const pouring = new Set<net.Socket>();
  const timer = setInterval(() => {
    for (const socket of pouring) if (!socket.writableNeedDrain) socket.write(frame, () => (taken += frame.length));
  }, pourMs);
  const engine = new RawEngine({
    models: ["m"],
    handler: ({ connection: { socket } }) => {
      socket.write(streamHead());
      pouring.add(socket);
      socket.once("close", () => pouring.delete(socket));
    },
  });
  await engine.listen();
  const router = await RouterProcess.start(["--static-backends", engine.url, "--client-stall-timeout-seconds", "3600"]);
  const sockets: net.Socket[] = [];
  try {
    await known(router);
    const idle = await router.sample();
    const body = JSON.stringify({ model: "m", prompt: "Hello", stream: true, max_tokens: 1_000_000 });
    for (let i = 0; i < streams; i++) {
      const socket = net.connect({ port: router.port, host: "127.0.0.1" });
      socket.on("error", () => undefined);
      socket.pause();
      socket.write(rawRequest("POST", "/v1/completions", body));
      sockets.push(socket);
      // a listening queue is short
      if (i % 50 === 49) await new Promise<void>((resolve) => setTimeout(resolve, 20));
    }
    // until the engine can get rid of no more on any of them, and the router holds no more
    let still = 0;
    for (let most = 0; still < 3;) {
      await new Promise<void>((resolve) => setTimeout(resolve, 1_000));
      const { residentMb } = await router.sample();
      const blocked = [...pouring].filter((socket) => socket.writableNeedDrain).length;
      still = blocked === streams && residentMb <= most + 1 ? still + 1 : 0;
      most = Math.max(most, residentMb);
      tell(
        `${engine.open} streams, ${blocked} of them full, the engine got rid of ${Math.round(taken / 1e6)} MB, resident ${Math.round(residentMb)} MB`,
      );
    }
    const { residentMb } = await router.sample();
    return { streams: engine.open, idleMb: idle.residentMb, residentMb, takenMb: taken / 1e6 };
  } finally {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
    router.close();
    engine.kill();
  }
}

async function known(router: RouterProcess): Promise<void> {
  for (const began = performance.now(); performance.now() - began < 20_000;) {
    const answer = await fetch(`${router.url}/engines`, { headers: { connection: "close" } });
    const list = (await answer.json()) as { state: string }[];
    if (list.every(({ state }) => state === "ready")) return;
  }
  throw new Error(`the engines are not known: ${router.lastWords}`);
}
