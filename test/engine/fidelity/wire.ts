// Raw HTTP for the fidelity suite: sends bytes, reads every response on the connection, keeps framing visible. It must
// not parse with the code under test, nor tidy anything up.

import net from "node:net";

/** One response as it lay on the wire. */
export interface WireResponse {
  readonly status: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Chunks of a chunked body, else the body in one piece. */
  readonly chunks: readonly string[];
  readonly complete: boolean;
}

/** Splits what came back into responses; `head` says which of them answer HEAD and so have no body. */
export function readResponses(bytes: Buffer, head = false): WireResponse[] {
  const found: WireResponse[] = [];
  let at = 0;
  while (at < bytes.length) {
    const headEnd = bytes.indexOf("\r\n\r\n", at);
    if (headEnd < 0) break;
    const [status = "", ...lines] = bytes.toString("latin1", at, headEnd).split("\r\n");
    const headers = lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)] as const);
    const value = (name: string): string | undefined =>
      headers.find(([key]) => key.toLowerCase() === name)?.[1].toLowerCase();
    at = headEnd + 4;
    if (value("transfer-encoding") === "chunked") {
      const body = readChunks(bytes, at);
      found.push({ status, headers, chunks: body.chunks, complete: body.complete });
      at = body.end;
      continue;
    }
    const length = head || status.includes(" 100 ") ? 0 : Number(value("content-length") ?? "0");
    const chunk = bytes.toString("utf8", at, at + length);
    found.push({ status, headers, chunks: [chunk], complete: bytes.length >= at + length });
    at += length;
  }
  return found;
}

function readChunks(bytes: Buffer, from: number): { chunks: string[]; complete: boolean; end: number } {
  const chunks: string[] = [];
  let at = from;
  for (;;) {
    const line = bytes.indexOf("\r\n", at);
    const size = line < 0 ? Number.NaN : Number.parseInt(bytes.toString("latin1", at, line), 16);
    if (Number.isNaN(size) || bytes.length < line + 4 + size) return { chunks, complete: false, end: bytes.length };
    at = line + 4 + size;
    if (size === 0) return { chunks, complete: true, end: at };
    chunks.push(bytes.toString("utf8", line + 2, line + 2 + size));
  }
}

/** A request under way. */
export interface Call {
  /** Resolves with the first bytes that came back, or the end. */
  readonly started: Promise<void>;
  readonly bytes: Promise<Buffer>;
}

export interface SendOptions {
  /** How many final responses to wait for; 0 waits for the server to close. */
  readonly responses: number;
  readonly halfClose?: boolean;
  readonly head?: boolean;
}

/** Sends `request` and gathers bytes until the wanted responses are there or the server closes. */
export function call(port: number, request: Buffer, options: SendOptions): Call {
  const started = Promise.withResolvers<void>();
  const bytes = new Promise<Buffer>((resolve) => {
    const parts: Buffer[] = [];
    const socket = net.connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.on("close", () => {
      started.resolve();
      resolve(Buffer.concat(parts));
    });
    socket.on("data", (part) => {
      parts.push(part);
      started.resolve();
      if (options.responses === 0) return;
      const done = readResponses(Buffer.concat(parts), options.head).filter(
        ({ status, complete }) => complete && !status.includes(" 100 "),
      );
      if (done.length >= options.responses) socket.destroy();
    });
    if (options.halfClose === true) socket.end(request);
    else socket.write(request);
  });
  return { started: started.promise, bytes };
}
