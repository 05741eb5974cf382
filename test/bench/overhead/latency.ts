// Open-loop latency: a request every 1/rate seconds whatever became of the ones before. All targets are asked in turns
// within the same second, so that a disturbance of the machine hits each alike and their differences mean something.
import net from "node:net";
import type { Socket } from "node:net";
import { seededRandom } from "./stats.ts";

const TIMEOUT_MS = 5000;

export interface LatencyOptions {
  readonly urls: readonly string[];
  /** Requests per second to each of the targets. */
  readonly ratePerSecond: number;
  readonly seconds: number;
  readonly body: string;
  readonly onBegin?: () => void;
  readonly onEnd?: () => void;
}

/** Milliseconds from write to the last byte, by target and by second of the run. */
export interface LatencyResult {
  readonly msBySecond: readonly (readonly (readonly number[])[])[];
  readonly errors: Readonly<Record<string, number>>;
}

/** Keep-alive connections to one target; a request takes an idle one or opens another, and never waits for one. */
class Target {
  readonly #url: URL;
  readonly #request: Buffer;
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();

  constructor(url: string, body: string) {
    this.#url = new URL(url);
    this.#request = Buffer.from(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: ${this.#url.host}\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }

  send(done: (ms: number, error?: string) => void): void {
    let connection = this.#idle.pop();
    while (connection?.closed === true) connection = this.#idle.pop();
    connection ??= this.#connect();
    const used = connection;
    const beganMs = performance.now();
    used.exchange(this.#request, (error) => {
      if (error === undefined) this.#idle.push(used);
      else used.destroy();
      done(performance.now() - beganMs, error);
    });
  }

  #connect(): Connection {
    const connection = new Connection(this.#url.hostname, Number(this.#url.port), () => this.#all.delete(connection));
    this.#all.add(connection);
    return connection;
  }

  close(): void {
    for (const connection of this.#all) connection.destroy();
  }
}

class Connection {
  readonly #socket: Socket;
  #received = "";
  #done: ((error?: string) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(host: string, port: number, onClose: () => void) {
    this.#socket = net.connect({ host, port, noDelay: true });
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (text: string) => this.#read(text));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#finish(error.code ?? error.message));
    this.#socket.on("close", () => {
      this.#finish("closed before the answer");
      onClose();
    });
  }

  get closed(): boolean {
    return this.#socket.destroyed || this.#socket.readableEnded;
  }

  exchange(request: Buffer, done: (error?: string) => void): void {
    this.#received = "";
    this.#done = done;
    this.#timer = setTimeout(() => this.#finish("no answer in time"), TIMEOUT_MS);
    this.#socket.write(request);
  }

  #read(text: string): void {
    this.#received += text;
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const head = this.#received.slice(0, headEnd);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    const whole =
      length === undefined
        ? this.#received.endsWith("\r\n0\r\n\r\n")
        : this.#received.length >= headEnd + 4 + Number(length);
    if (whole) this.#finish(head.slice(9, 12) === "200" ? undefined : `answered ${head.slice(9, 12)}`);
  }

  #finish(error?: string): void {
    clearTimeout(this.#timer);
    const done = this.#done;
    this.#done = undefined;
    done?.(error);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Runs the load; failures are counted, their times left out. */
export async function runLatency(options: LatencyOptions): Promise<LatencyResult> {
  const { urls, ratePerSecond, seconds, body } = options;
  const targets = urls.map((url) => new Target(url, body));
  const msBySecond = urls.map(() => Array.from({ length: Math.ceil(seconds) }, (): number[] => []));
  const errors: Record<string, number> = {};
  const random = seededRandom(1);
  let open = 0;
  const order = urls.map((_, i) => i);
  const stepMs = 1000 / (ratePerSecond * urls.length);
  const total = Math.round(seconds * ratePerSecond) * urls.length;
  options.onBegin?.();
  const beganMs = performance.now();
  for (let sent = 0; sent < total; sent++) {
    const dueMs = beganMs + sent * stepMs;
    while (performance.now() < dueMs) await sleep(Math.max(0, dueMs - performance.now()));
    // A new order in each round: whoever is asked second within a late timer's batch must not always be the same.
    if (sent % urls.length === 0) shuffle(order, random);
    const which = order[sent % urls.length] ?? 0;
    const second = Math.floor((sent * stepMs) / 1000);
    open++;
    targets[which]?.send((ms, error) => {
      open--;
      if (error === undefined) msBySecond[which]?.[second]?.push(ms);
      else errors[error] = (errors[error] ?? 0) + 1;
    });
  }
  while (open > 0) await sleep(5); // ends: each request has a time limit
  options.onEnd?.();
  for (const target of targets) target.close();
  return { msBySecond, errors };
}

function shuffle(order: number[], random: () => number): void {
  for (let i = order.length - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [order[i], order[other]] = [order[other] ?? 0, order[i] ?? 0];
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
