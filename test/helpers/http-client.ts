// A client that records bytes: it writes what the test wants on the wire and keeps what came back as it came, beside a
// plain reading of it. It must not use the code under test to parse.
import net from "node:net";
import { reset } from "./reset.ts";

export interface ClientResponse {
  readonly status: number;
  readonly reason: string;
  /** Names in lower case, in order. */
  readonly headers: readonly (readonly [string, string])[];
  /** Body without chunk framing. */
  readonly body: Buffer;
  /** Payload of each HTTP chunk, where the body is chunked. */
  readonly chunks: readonly Buffer[];
  /** The body's proper end was seen: its length, its last chunk, or the connection's end where that frames it. */
  readonly complete: boolean;
  /** 1xx answers that came before. */
  readonly interim: readonly number[];
  /** How the connection stood afterwards. */
  readonly end: "open" | "closed" | "reset";
  header(name: string): string | undefined;
  all(name: string): string[];
  readonly text: string;
  json(): unknown;
}

type Stage = "head" | "length" | "size" | "data" | "data-end" | "trailer" | "until-close" | "done";

class Reading {
  stage: Stage = "head";
  status = 0;
  reason = "";
  headers: (readonly [string, string])[] = [];
  readonly interim: number[] = [];
  readonly pieces: Buffer[] = [];
  readonly chunks: Buffer[] = [];
  #chunk: Buffer[] = [];
  #remaining = 0;
  readonly #headRequest: boolean;

  constructor(headRequest: boolean) {
    this.#headRequest = headRequest;
  }

  /** @returns how many bytes were used */
  feed(bytes: Buffer): number {
    let at = 0;
    while (this.stage !== "done") {
      const used = this.#step(bytes.subarray(at));
      if (used === 0) return at;
      at += used;
    }
    return at;
  }

  #step(bytes: Buffer): number {
    switch (this.stage) {
      case "head": {
        const end = bytes.indexOf("\r\n\r\n");
        if (end < 0) return 0;
        this.#readHead(bytes.toString("latin1", 0, end));
        return end + 4;
      }
      case "length": {
        const take = Math.min(this.#remaining, bytes.length);
        if (take > 0) this.pieces.push(bytes.subarray(0, take));
        this.#remaining -= take;
        if (this.#remaining === 0) this.stage = "done";
        return take;
      }
      case "size": {
        const end = bytes.indexOf("\r\n");
        if (end < 0) return 0;
        const line = bytes.toString("latin1", 0, end);
        if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`no chunk size: ${JSON.stringify(line)}`);
        this.#remaining = Number.parseInt(line, 16);
        this.stage = this.#remaining === 0 ? "trailer" : "data";
        return end + 2;
      }
      case "data": {
        const take = Math.min(this.#remaining, bytes.length);
        if (take === 0) return 0;
        this.pieces.push(bytes.subarray(0, take));
        this.#chunk.push(bytes.subarray(0, take));
        this.#remaining -= take;
        if (this.#remaining === 0) this.stage = "data-end";
        return take;
      }
      case "data-end":
        if (bytes.length < 2) return 0;
        if (bytes[0] !== 0x0d || bytes[1] !== 0x0a) throw new Error("a chunk is longer than its size");
        this.chunks.push(Buffer.concat(this.#chunk));
        this.#chunk = [];
        this.stage = "size";
        return 2;
      case "trailer":
        if (bytes.length < 2) return 0;
        if (bytes[0] !== 0x0d || bytes[1] !== 0x0a) throw new Error("the router sent trailers");
        this.stage = "done";
        return 2;
      case "until-close":
        if (bytes.length > 0) this.pieces.push(bytes);
        return bytes.length;
      default:
        return 0;
    }
  }

  #readHead(text: string): void {
    const [line = "", ...lines] = text.split("\r\n");
    const match = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(line);
    if (match === null) throw new Error(`no status line: ${JSON.stringify(line)}`);
    this.status = Number(match[1]);
    this.reason = match[2] ?? "";
    this.headers = lines.map((field) => {
      const colon = field.indexOf(":");
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()] as const;
    });
    if (this.status < 200) {
      this.interim.push(this.status);
      return;
    }
    const value = (name: string): string | undefined => this.headers.find(([given]) => given === name)?.[1];
    const length = value("content-length");
    const chunked = value("transfer-encoding");
    if (length !== undefined && chunked !== undefined) throw new Error("both content-length and transfer-encoding");
    if (this.#headRequest || this.status === 204 || this.status === 304) this.stage = "done";
    else if (chunked !== undefined) this.stage = "size";
    else if (length === undefined) this.stage = "until-close";
    else {
      if (!/^\d+$/.test(length)) throw new Error(`no content-length: ${JSON.stringify(length)}`);
      this.#remaining = Number(length);
      this.stage = this.#remaining === 0 ? "done" : "length";
    }
  }

  response(end: ClientResponse["end"]): ClientResponse {
    const { status, reason, headers, chunks, interim } = this;
    const body = Buffer.concat(this.pieces);
    const complete = this.stage === "done" || (this.stage === "until-close" && end === "closed");
    return {
      status,
      reason,
      headers,
      body,
      chunks,
      complete,
      interim,
      end,
      header: (name) => headers.find(([given]) => given === name)?.[1],
      all: (name) => headers.filter(([given]) => given === name).map(([, value]) => value),
      get text() {
        return body.toString("utf8");
      },
      json: () => JSON.parse(body.toString("utf8")) as unknown,
    };
  }
}

/** Far above anything that a test waits for, since the machine may be busy with others. */
const defaultPatienceMs = 20_000;

/** One connection. Answers are read with `response()`, in the order of the requests. */
export class RawClient {
  readonly socket: net.Socket;
  /** How long it waits for the next bytes. */
  patienceMs = defaultPatienceMs;
  readonly #pieces: Buffer[] = [];
  /** What came since an answer was last read from: joined only then, or 64 MiB that nobody reads yet cost ten seconds. */
  #fresh: Buffer[] = [];
  #unread: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #end: ClientResponse["end"] = "open";
  #wake: (() => void)[] = [];

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (data) => {
      this.#pieces.push(data);
      this.#fresh.push(data);
      this.#woken();
    });
    socket.on("error", () => {
      this.#end = "reset";
      this.#woken();
    });
    socket.on("close", () => {
      if (this.#end === "open") this.#end = "closed";
      this.#woken();
    });
  }

  static connect(port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new RawClient(socket));
      });
    });
  }

  /** Everything that came. */
  get received(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  get end(): ClientResponse["end"] {
    return this.#end;
  }

  write(bytes: string | Buffer): this {
    this.socket.write(bytes);
    return this;
  }

  /** The next answer, when it is whole or the connection has ended. */
  async response(headRequest = false): Promise<ClientResponse> {
    const reading = new Reading(headRequest);
    for (;;) {
      this.#unread = Buffer.concat([this.#unread, ...this.#fresh]);
      this.#fresh = [];
      const used = reading.feed(this.#unread);
      this.#unread = this.#unread.subarray(used);
      if (reading.stage === "done" || this.#end !== "open") return reading.response(this.#end);
      await this.#next();
    }
  }

  /** Waits until what came contains this text, or the connection ends. */
  async sees(text: string): Promise<void> {
    while (!this.received.includes(text)) {
      if (this.#end !== "open")
        throw new Error(`the connection ended before ${JSON.stringify(text)}: ${this.received.toString("latin1")}`);
      await this.#next();
    }
  }

  /** Resolves when the router has ended the connection. */
  async ended(): Promise<"closed" | "reset"> {
    while (this.#end === "open") await this.#next();
    return this.#end;
  }

  /** Leaves: FIN. */
  close(): void {
    this.socket.destroy();
  }

  /** Leaves: RST. */
  reset(): void {
    reset(this.socket);
  }

  /** Waits for bytes or the connection's end; a test that waits for nothing fails instead of hanging. */
  #next(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.socket.destroy();
        reject(
          new Error(
            `nothing came for ${this.patienceMs / 1000} s after ${JSON.stringify(this.received.toString("latin1").slice(-300))}`,
          ),
        );
      }, this.patienceMs);
      this.#wake.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #woken(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** A request with a length, as a client writes it. Fields are whole lines without their end. */
export function rawRequest(
  method: string,
  path: string,
  body: string | Buffer | null,
  fields: readonly string[] = [],
): Buffer {
  const bytes = body === null ? null : Buffer.from(body);
  const lines = [`${method} ${path} HTTP/1.1`, "host: test", ...fields];
  if (bytes !== null) {
    if (!fields.some((field) => /^content-type:/i.test(field))) lines.push("content-type: application/json");
    lines.push(`content-length: ${bytes.length}`);
  }
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), bytes ?? Buffer.alloc(0)]);
}

/** Sends bytes on a connection of its own and reads one answer; the connection is closed afterwards. */
export async function exchange(port: number, bytes: Buffer | string, headRequest = false): Promise<ClientResponse> {
  const client = await RawClient.connect(port);
  client.write(bytes);
  const response = await client.response(headRequest);
  client.close();
  return response;
}

export function get(port: number, path: string, fields: readonly string[] = []): Promise<ClientResponse> {
  return exchange(port, rawRequest("GET", path, null, fields));
}

/** @param body an object is sent as JSON */
export function post(
  port: number,
  path: string,
  body: object | string | Buffer,
  fields: readonly string[] = [],
): Promise<ClientResponse> {
  const bytes = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return exchange(port, rawRequest("POST", path, bytes, fields));
}

/** The `data:` payloads of an event stream. */
export function dataOf(response: ClientResponse): string[] {
  return response.text
    .split(/\r?\n\r?\n/)
    .flatMap((frame) => frame.split(/\r?\n/))
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trimStart());
}

/** Status, and `error.code`, `error.param`, `error.message` of an error in the OpenAI shape. */
export function errorOf(response: ClientResponse): {
  status: number;
  code: string;
  type: string;
  param: string | null;
  message: string;
} {
  const body = response.json() as { error: { code: string; type: string; param: string | null; message: string } };
  return { status: response.status, ...body.error };
}
