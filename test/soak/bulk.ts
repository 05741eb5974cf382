// The bulk of a soak's load: well-behaved clients on kept connections, as many requests as the machine gives, a part of them
// short streams. It reads answers in the cheapest way that still tells a whole one from any other.
import net from "node:net";

const jsonBody = `{"model":"bench","messages":[{"role":"user","content":"${"Tell me about the river and the town. ".repeat(6)}"}],"max_tokens":64}`;
const streamBody = `{"model":"bench","stream":true,"max_tokens":3,"messages":[{"role":"user","content":"Tell me about the river."}]}`;

function request(body: string): Buffer {
  return Buffer.from(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
}

const jsonRequest = request(jsonBody);
const streamRequest = request(streamBody);
const streamEnd = "data: [DONE]\n\n\r\n0\r\n\r\n";

/** One kept connection, one request at a time. */
class Client {
  readonly #bulk: Bulk;
  readonly #socket: net.Socket;
  #answer = "";
  #length = -1;
  #stream = false;
  #busy = false;

  constructor(bulk: Bulk) {
    this.#bulk = bulk;
    this.#socket = net.connect({ port: bulk.port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (data) => this.#read(data));
    this.#socket.on("error", () => undefined);
    this.#socket.on("close", () => {
      if (this.#busy) this.#bulk.failed(`the connection ended after ${JSON.stringify(this.#answer.slice(-200))}`);
      this.#bulk.gone(this);
    });
    this.#next();
  }

  close(): void {
    this.#socket.destroy();
  }

  #next(): void {
    if (!this.#bulk.wanted()) {
      this.#busy = false;
      this.#socket.end();
      return;
    }
    this.#busy = true;
    this.#stream = this.#bulk.nextIsStream();
    this.#answer = "";
    this.#length = -1;
    this.#socket.write(this.#stream ? streamRequest : jsonRequest);
  }

  #read(data: Buffer): void {
    this.#answer += data.toString("latin1");
    if (this.#stream && this.#answer.startsWith("HTTP/1.1 200")) {
      if (this.#answer.endsWith(streamEnd)) this.#done(true);
      else if (this.#answer.endsWith("\r\n0\r\n\r\n")) this.#done(false);
      return;
    }
    if (this.#length < 0) {
      const head = this.#answer.indexOf("\r\n\r\n");
      if (head < 0) return;
      this.#length = head + 4 + Number(/content-length: (\d+)/.exec(this.#answer.slice(0, head))?.[1] ?? 0);
    }
    if (this.#answer.length >= this.#length) this.#done(this.#answer.startsWith("HTTP/1.1 200"));
  }

  #done(good: boolean): void {
    if (!good) this.#bulk.failed(this.#answer.slice(0, 300));
    this.#bulk.ended++;
    this.#next();
  }
}

export class Bulk {
  readonly port: number;
  readonly #clients = new Set<Client>();
  readonly #atOnce: number;
  readonly #streamEvery: number;
  #sent = 0;
  #limit: number;
  ended = 0;
  failures = 0;
  /** The first few of them. */
  readonly examples: string[] = [];
  readonly #waiting: (() => void)[] = [];

  /** @param limit requests in all; @param streamEvery each so-many-th is a stream */
  constructor(port: number, atOnce: number, limit: number, streamEvery: number) {
    this.port = port;
    this.#atOnce = atOnce;
    this.#limit = limit;
    this.#streamEvery = streamEvery;
  }

  start(): void {
    for (let i = 0; i < this.#atOnce; i++) this.#clients.add(new Client(this));
  }

  wanted(): boolean {
    return this.#sent < this.#limit;
  }

  nextIsStream(): boolean {
    return this.#sent++ % this.#streamEvery === this.#streamEvery - 1;
  }

  failed(why: string): void {
    this.failures++;
    if (this.examples.length < 5) this.examples.push(why);
  }

  gone(client: Client): void {
    this.#clients.delete(client);
    // one that broke is replaced
    if (this.wanted()) this.#clients.add(new Client(this));
    else if (this.#clients.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** No more requests; resolves when the last one has ended. */
  async stop(): Promise<void> {
    this.#limit = Math.min(this.#limit, this.#sent);
    await this.over();
  }

  /** Resolves when all requests have ended. */
  over(): Promise<void> {
    if (this.#clients.size === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }
}
