// Helpers of the engine's tests: a raw HTTP client and a reader of responses. It must not parse with the code under test.

import net from "node:net";
import type { RunningEngine } from "../../src/engine/serve.ts";

/** Everything that came back on a connection. */
export interface RawResponse {
  readonly statusLine: string;
  /** `[name, value]` in order and case as sent. */
  readonly headers: readonly (readonly [string, string])[];
  /** Body after the head, undecoded. */
  readonly raw: Buffer;
  /** Chunks of a chunked body; the body itself in one piece otherwise. */
  readonly chunks: readonly string[];
  /** The zero chunk came, or content-length was fulfilled. */
  readonly complete: boolean;
}

function parseResponse(bytes: Buffer): RawResponse {
  const headEnd = bytes.indexOf("\r\n\r\n");
  const head = bytes.toString("latin1", 0, headEnd < 0 ? bytes.length : headEnd);
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = lines.map((line) => {
    const colon = line.indexOf(": ");
    return [line.slice(0, colon), line.slice(colon + 2)] as const;
  });
  const raw = headEnd < 0 ? Buffer.alloc(0) : bytes.subarray(headEnd + 4);
  const chunked = headers.some(([name]) => name === "transfer-encoding");
  if (!chunked) {
    const length = Number(headers.find(([name]) => name === "content-length")?.[1] ?? "0");
    return { statusLine, headers, raw, chunks: [raw.toString("utf8")], complete: headEnd >= 0 && raw.length >= length };
  }
  const chunks: string[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = raw.indexOf("\r\n", at);
    if (lineEnd < 0) return { statusLine, headers, raw, chunks, complete: false };
    const size = Number.parseInt(raw.toString("latin1", at, lineEnd), 16);
    if (size === 0) return { statusLine, headers, raw, chunks, complete: true };
    const end = lineEnd + 2 + size;
    if (raw.length < end + 2) return { statusLine, headers, raw, chunks, complete: false };
    chunks.push(raw.toString("utf8", lineEnd + 2, end));
    at = end + 2;
  }
}

export interface Exchange {
  readonly response: RawResponse;
  /** How the connection ended: `open` when the response was complete and the server kept it. */
  readonly end: "open" | "closed" | "reset" | "refused";
}

/** Sends bytes and reads until the response is complete or the connection ends. */
export function send(engine: { readonly port: number }, bytes: string | Buffer): Promise<Exchange> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const socket = net.connect(engine.port, "127.0.0.1");
    let end: Exchange["end"] = "closed";
    const settle = (): void => resolve({ response: parseResponse(Buffer.concat(parts)), end });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      end = error.code === "ECONNREFUSED" ? "refused" : "reset";
    });
    socket.on("data", (data) => {
      parts.push(data);
      const { complete, statusLine } = parseResponse(Buffer.concat(parts));
      if (!complete || statusLine.includes("100 Continue")) return;
      end = "open";
      socket.destroy();
    });
    socket.on("close", settle);
    socket.write(bytes);
  });
}

export function request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): string {
  const text = body === undefined ? "" : JSON.stringify(body);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const content =
    body === undefined ? "" : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nhost: test\r\n${lines.join("")}${content}\r\n${text}`;
}

export function post(
  engine: RunningEngine,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Exchange> {
  return send(engine, request("POST", path, body, headers));
}

/** The JSON of a body that is not a stream. */
export function json(response: RawResponse): unknown {
  return JSON.parse(response.chunks.join(""));
}

/** The `data:` payloads of a stream, `[DONE]` as that text. */
export function events(response: RawResponse): string[] {
  return response.chunks.map((chunk) => /^(?:event: [^\n]+\n)?data: ([^]*)\n\n$/.exec(chunk)?.[1] ?? `?${chunk}`);
}

/** Waits until a condition on state that this process can see holds; polls without a fixed sleep. */
export async function until(condition: () => boolean, what: string, timeoutMs = 5000): Promise<void> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > timeoutMs) throw new Error(`gave up waiting until ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
