// Finds the ends of HTTP/1.1 requests on the fake engine's side. Trusts its peer (a proxy under test on the loopback
// interface), keeps no body, and looks only into a body's first bytes for what the answer depends on. Not a parser to
// learn from: the router's is in src/http.

/** Bytes at the beginning of a body in which `"stream":true` and `"max_tokens":N` are looked for. */
const PEEK_BYTES = 512;

export interface ScannedRequest {
  readonly method: string;
  readonly path: string;
  /** The body asks for an SSE stream. */
  readonly stream: boolean;
  /** Frames that the stream should have; 0: until the client leaves. */
  readonly frames: number;
}

const STATE = { head: 0, sized: 1, chunkSize: 2, chunkData: 3, trailer: 4 } as const;
type State = (typeof STATE)[keyof typeof STATE];

export class RequestScanner {
  readonly #onRequest: (request: ScannedRequest) => void;
  #state: State = STATE.head;
  /** Bytes that did not yet make a whole head or chunk-size line. */
  #pending: Buffer | undefined;
  #left = 0;
  #method = "";
  #path = "";
  #peek = "";

  constructor(onRequest: (request: ScannedRequest) => void) {
    this.#onRequest = onRequest;
  }

  push(chunk: Buffer): void {
    let data = chunk;
    if (this.#pending !== undefined) {
      data = Buffer.concat([this.#pending, chunk]);
      this.#pending = undefined;
    }
    let at = 0;
    while (at < data.length) {
      const next = this.#take(data, at);
      if (next < 0) {
        this.#pending = data.subarray(at);
        return;
      }
      at = next;
    }
  }

  /** Consumes from `at`; the new position, or -1 where more bytes are needed. */
  #take(data: Buffer, at: number): number {
    switch (this.#state) {
      case STATE.head:
        return this.#takeHead(data, at);
      case STATE.sized:
      case STATE.chunkData:
        return this.#takeBody(data, at);
      default:
        return this.#takeLine(data, at);
    }
  }

  #takeHead(data: Buffer, at: number): number {
    const end = data.indexOf("\r\n\r\n", at, "latin1");
    if (end < 0) return -1;
    const head = data.toString("latin1", at, end);
    const firstSpace = head.indexOf(" ");
    this.#method = head.slice(0, firstSpace);
    this.#path = head.slice(firstSpace + 1, head.indexOf(" ", firstSpace + 1));
    this.#peek = "";
    const length = /\r\ncontent-length: *(\d+)/i.exec(head);
    if (length !== null) {
      this.#left = Number(length[1]);
      this.#state = STATE.sized;
      if (this.#left === 0) this.#finish();
    } else if (/\r\ntransfer-encoding: *chunked/i.test(head)) this.#state = STATE.chunkSize;
    else this.#finish();
    return end + 4;
  }

  #takeBody(data: Buffer, at: number): number {
    const end = Math.min(data.length, at + this.#left);
    if (this.#peek.length < PEEK_BYTES) {
      this.#peek += data.toString("latin1", at, Math.min(end, at + PEEK_BYTES - this.#peek.length));
    }
    this.#left -= end - at;
    if (this.#left === 0) {
      if (this.#state === STATE.sized) this.#finish();
      else this.#state = STATE.chunkSize;
    }
    return end;
  }

  /** The lines of the chunked coding: a size, the end of a chunk (an empty line), a trailer. */
  #takeLine(data: Buffer, at: number): number {
    const end = data.indexOf("\r\n", at, "latin1");
    if (end < 0) return -1;
    if (this.#state === STATE.trailer) {
      if (end === at) this.#finish();
    } else if (end > at) {
      this.#left = Number.parseInt(data.toString("latin1", at, end), 16);
      this.#state = this.#left === 0 ? STATE.trailer : STATE.chunkData;
    }
    return end + 2;
  }

  #finish(): void {
    this.#state = STATE.head;
    const stream = this.#peek !== "" && /"stream": ?true/.test(this.#peek);
    const frames = stream ? Number(/"max_tokens": ?(\d+)/.exec(this.#peek)?.[1] ?? 0) : 0;
    this.#onRequest({ method: this.#method, path: this.#path, stream, frames });
  }
}
