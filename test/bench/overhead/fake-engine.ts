// Four engines that cost next to nothing: what stands behind every candidate, so that the difference between two runs
// is the candidate. Raw sockets, no JSON parsed; the answers have vLLM's head, framing and sizes. It shares a core with
// the load generator, so every microsecond here is a request that the candidate is not given.
//
// Started as a process of its own: `node fake-engine.ts [--engines 4] [--frame-ms 20]`; says its ports by IPC, or on
// standard output where there is none.
import net from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { parseArgs } from "node:util";
import { RequestScanner } from "./request-scanner.ts";
import type { ScannedRequest } from "./request-scanner.ts";
import { Outlet } from "../../../src/http/outlet.ts";
import { SentFrame } from "../sse-marks.ts";

const ANSWER_BYTES = 560;
const MODELS = JSON.stringify({
  object: "list",
  data: [
    { id: "bench", object: "model", created: 1_795_419_549, owned_by: "vllm", root: "bench", max_model_len: 32_768 },
  ],
});
const COMPLETION = completionOf(ANSWER_BYTES);
const FRAME = new SentFrame("a58afe54332767be");
const STREAM_END = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/** A chat completion of exactly `bytes` bytes. */
function completionOf(bytes: number): string {
  const shape = (content: string): string =>
    JSON.stringify({
      id: "chatcmpl-a58afe54332767be",
      object: "chat.completion",
      created: 1_795_419_549,
      model: "bench",
      choices: [{ index: 0, message: { role: "assistant", content }, logprobs: null, finish_reason: "length" }],
      usage: { prompt_tokens: 60, total_tokens: 124, completion_tokens: 64, prompt_tokens_details: null },
      prompt_logprobs: null,
      kv_transfer_params: null,
    });
  return shape("word ".repeat(bytes).slice(0, bytes - shape("").length));
}

let date = new Date().toUTCString();
setInterval(() => (date = new Date().toUTCString()), 1000).unref();

function jsonAnswer(body: string, status = "200 OK"): string {
  const length = Buffer.byteLength(body);
  return `HTTP/1.1 ${status}\r\ndate: ${date}\r\nserver: uvicorn\r\ncontent-length: ${length}\r\ncontent-type: application/json\r\n\r\n${body}`;
}

function streamHead(): string {
  return `HTTP/1.1 200 OK\r\ndate: ${date}\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n`;
}

interface OpenStream {
  readonly outlet: Outlet;
  framesLeft: number;
}

/** One engine: all its streams get a frame in the same step, as the sequences of a real engine's batch do. */
class FakeEngine {
  readonly #frameMs: number;
  readonly #streams = new Map<Socket, OpenStream>();
  #nextStepMs: number;
  readonly server: net.Server;

  constructor(frameMs: number, phaseMs: number) {
    this.#frameMs = frameMs;
    this.#nextStepMs = performance.now() + phaseMs;
    this.server = net.createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#scheduleStep();
  }

  #accept(socket: Socket): void {
    const outlet = new Outlet(socket, () => undefined);
    const scanner = new RequestScanner((request) => this.#answer(socket, outlet, request));
    socket.on("data", (chunk: Buffer) => scanner.push(chunk));
    socket.on("error", () => socket.destroy()); // a client that leaves is part of the load, not a failure
    socket.on("close", () => this.#streams.delete(socket));
  }

  #answer(socket: Socket, outlet: Outlet, request: ScannedRequest): void {
    if (request.method === "POST" && request.stream) {
      outlet.write(streamHead());
      this.#streams.set(socket, { outlet, framesLeft: request.frames > 0 ? request.frames : Number.POSITIVE_INFINITY });
    } else if (request.method === "POST") outlet.write(jsonAnswer(COMPLETION));
    else if (request.path === "/v1/models") outlet.write(jsonAnswer(MODELS));
    else if (request.path === "/health" || request.path === "/ready") {
      outlet.write(`HTTP/1.1 200 OK\r\ndate: ${date}\r\nserver: uvicorn\r\ncontent-length: 0\r\n\r\n`);
    } else outlet.write(jsonAnswer('{"detail":"Not Found"}', "404 Not Found"));
  }

  /** Steps stand on an absolute grid: a late one does not push back the next. */
  #scheduleStep(): void {
    const now = performance.now();
    while (this.#nextStepMs <= now) this.#nextStepMs += this.#frameMs;
    setTimeout(() => this.#step(), this.#nextStepMs - now).unref();
  }

  #step(): void {
    this.#nextStepMs += this.#frameMs;
    for (const [socket, stream] of this.#streams) {
      stream.outlet.write(FRAME.now());
      if (stream.outlet.queuedBytes > 0) FRAME.keep();
      if (--stream.framesLeft > 0) continue;
      this.#streams.delete(socket);
      stream.outlet.write(STREAM_END);
    }
    this.#scheduleStep();
  }
}

export interface FakeEngines {
  readonly ports: number[];
  readonly urls: string[];
  close(): void;
}

/** Starts `count` engines on free ports of the loopback interface, their steps spread evenly over a frame time. */
export async function startFakeEngines(count = 4, frameMs = 20): Promise<FakeEngines> {
  const engines = Array.from({ length: count }, (_, i) => new FakeEngine(frameMs, (i * frameMs) / count));
  const sockets = new Set<Socket>();
  const ports: number[] = [];
  for (const { server } of engines) {
    server.on("connection", (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, resolve);
    });
    ports.push((server.address() as AddressInfo).port);
  }
  return {
    ports,
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    close() {
      for (const { server } of engines) server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { engines: { type: "string" }, "frame-ms": { type: "string" } } });
  const { ports } = await startFakeEngines(Number(values.engines ?? 4), Number(values["frame-ms"] ?? 20));
  if (process.send === undefined) process.stdout.write(`${ports.join(",")}\n`);
  else process.send({ ports });
  process.on("disconnect", () => process.exit(0)); // the benchmark is gone: nobody would end us
}
