// Writes a chunked event stream straight to the socket: one event, one chunk, one write. Used by the streaming routes;
// hot path, so no object, promise or buffer per event. It must never write after the client left or the end was sent.

import type { Exchange } from "./exchange.ts";

const doneChunk = "e\r\ndata: [DONE]\n\n\r\n";

/** A JSON-escaped string and its length in UTF-8. */
export interface EncodedText {
  readonly json: string;
  readonly bytes: number;
}

function encodeText(text: string): EncodedText {
  const json = JSON.stringify(text);
  return { json, bytes: Buffer.byteLength(json, "utf8") };
}

const cache = new Map<string, EncodedText>();

/** As {@link encodeText}, remembered: generated pieces repeat. */
export function encodePiece(piece: string): EncodedText {
  let encoded = cache.get(piece);
  if (encoded === undefined) {
    encoded = encodeText(piece);
    if (cache.size > 50_000) cache.clear();
    cache.set(piece, encoded);
  }
  return encoded;
}

export class EventStream {
  readonly #exchange: Exchange;
  #ended = false;
  // While an earlier pipelined response is on the wire this one has no socket yet.
  #pending: string[] | null = null;
  #frames = 0;

  /** A muted stream swallows everything, for a request that hangs before its headers. */
  constructor(exchange: Exchange, muted = false) {
    this.#exchange = exchange;
    this.#ended = muted;
    if (exchange.response.socket === null) {
      this.#pending = [];
      // Node announces the socket before it writes the head that waits; a tick later the head is out.
      exchange.response.once("socket", () => process.nextTick(() => this.#release()));
    }
  }

  get frames(): number {
    return this.#frames;
  }

  get closed(): boolean {
    return this.#ended || this.#exchange.gone;
  }

  /** One event given as its full text, with the empty line. */
  event(text: string): void {
    this.frame(text, Buffer.byteLength(text, "utf8"));
  }

  /** One event whose length in bytes is known already. */
  frame(text: string, bytes: number): void {
    if (this.#ended || this.#exchange.gone) return;
    this.#frames++;
    const { fault } = this.#exchange;
    if (fault !== null && fault.onFrame(this.#exchange, this, text, this.#frames)) return;
    const chunk = `${bytes.toString(16)}\r\n${text}\r\n`;
    this.#write(chunk, bytes === text.length ? "latin1" : "utf8");
  }

  /** Ends with or without `[DONE]`; the zero chunk is its own write. */
  end(done: boolean): void {
    if (this.#ended) return;
    if (this.#exchange.fault?.holdsEnd() === true) return;
    if (done && !this.#exchange.gone) this.#write(doneChunk, "latin1");
    this.#ended = true;
    // The zero chunk must not overtake what still waits for the socket.
    if (this.#pending === null) this.#exchange.response.end();
  }

  /** Ends in the middle, as vLLM does where nothing catches what went wrong: the connection closes without a last chunk. */
  cut(): void {
    this.#ended = true;
    if (this.#pending === null) this.#exchange.socket.end();
    else this.#exchange.response.destroy();
  }

  /** Raw bytes for faults; nothing of the normal course may follow. */
  raw(text: string): void {
    this.#write(text, "utf8");
  }

  /** Marks the stream as over without ending the response, for faults that cut the connection themselves. */
  abandon(): void {
    this.#ended = true;
  }

  #write(text: string, encoding: "latin1" | "utf8"): void {
    if (this.#pending !== null) this.#pending.push(text);
    else this.#exchange.socket.write(text, encoding);
  }

  #release(): void {
    const pending = this.#pending ?? [];
    this.#pending = null;
    for (const text of pending) this.#exchange.socket.write(text, "utf8");
    if (this.#ended) this.#exchange.response.end();
  }
}
