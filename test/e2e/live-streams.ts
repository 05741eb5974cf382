// Streams that are sent to a server at the same moment, with the times of their events. Each connection is opened before,
// so that what is timed is the server.
import { once } from "node:events";
import net, { type Socket } from "node:net";
import { sumOf } from "../helpers/exposition.ts";
import type { Burst, Timing } from "../engine/fidelity/timing.ts";

let serial = 0;

/** Values of the engine's metrics at one moment, all series of a name added up. */
export async function gauges(origin: string, names: readonly string[]): Promise<number[]> {
  // the server closes connections that are idle for 5 s, maybe in the moment in which one is used again
  const answer = await fetch(`${origin}/metrics`, { headers: { connection: "close" } });
  const text = await answer.text();
  return names.map((name) => sumOf(text, name));
}

/**
 * @param options.watch looks at running and waiting meanwhile: it costs the server something
 * @throws Error when a stream ends otherwise than with `[DONE]`
 */
export async function measureBurst(
  origin: string,
  key: string | null,
  burst: Burst,
  { watch = false }: { readonly watch?: boolean } = {},
): Promise<Timing> {
  const { hostname, port } = new URL(origin);
  const sockets = await Promise.all(
    Array.from({ length: burst.streams }, async () => {
      const socket = net.connect(Number(port), hostname);
      socket.setNoDelay(true);
      await once(socket, "connect");
      return socket;
    }),
  );
  const beganMs = performance.now();
  for (const socket of sockets) sendStream(socket, key, burst);
  let over = false;
  const streams = Promise.all(sockets.map((socket) => eventTimes(socket))).finally(() => (over = true));
  let running = 0;
  let waiting = 0;
  while (watch && !over) {
    const [nowRunning = 0, nowWaiting = 0] = await gauges(origin, [
      "vllm:num_requests_running",
      "vllm:num_requests_waiting",
    ]);
    if (nowRunning < running) continue;
    waiting = nowRunning > running ? nowWaiting : Math.max(waiting, nowWaiting);
    running = nowRunning;
  }
  const times = await streams;
  const firsts = times.map((list) => (list[0] ?? NaN) - beganMs);
  return {
    burst,
    ttftMs: firsts,
    gapsMs: times.flatMap((list) => list.slice(1).map((ms, at) => ms - (list[at] ?? NaN))),
    order: firsts.map((_, at) => at).toSorted((a, b) => (firsts[a] ?? 0) - (firsts[b] ?? 0)),
    running,
    waiting,
  };
}

/** Asks for one stream of the burst on a connection of its own. */
export function sendStream(socket: Socket, key: string | null, burst: Burst, extra: object = {}): void {
  // of ids, so that its length is what it says, and new ones each time, so that nothing is in the cache
  const start = 1000 + (serial++ % 50_000);
  const prompt = Array.from({ length: burst.promptTokens }, (_, at) => 1000 + ((start * 7 + at * 13) % 90_000));
  const body = JSON.stringify({
    model: "tiny",
    prompt,
    max_tokens: burst.maxTokens,
    ignore_eos: true,
    stream: true,
    ...extra,
  });
  const auth = key === null ? "" : `authorization: Bearer ${key}\r\n`;
  const head = `POST /v1/completions HTTP/1.1\r\nhost: engine\r\ncontent-type: application/json\r\n${auth}`;
  socket.write(`${head}content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
}

/** Arrival of each event that carries text, by the monotonic clock, milliseconds. */
export function eventTimes(socket: Socket): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const times: number[] = [];
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      const nowMs = performance.now();
      text += bytes.toString("latin1");
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const frame = text.slice(0, end);
        text = text.slice(end + 2);
        if (frame.includes('"choices":[{')) times.push(nowMs);
        else if (frame.includes("[DONE]")) {
          socket.destroy();
          resolve(times);
        } else if (frame.includes("data:")) reject(new Error(`a stream said: ${frame}`));
      }
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`a stream ended early, after ${times.length} events; ${text}`)));
  });
}
