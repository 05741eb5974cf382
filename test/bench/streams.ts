// Many concurrent SSE streams against one URL, on raw sockets: counts frames, failures and how late each frame was.
// The overhead benchmark drives every candidate with it, the full test tier the real router. It must cost little, as it
// shares its core with the engines: one shared read buffer, reads past Node's streams as in the router (decision 0011), no
// parsing beyond a search for the send time.
import net from "node:net";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { readPastSocket } from "../../src/http/stream-binding.ts";
import { FrameScanner, FrameTally } from "./frame-scanner.ts";
import { SENT_MARK } from "./sse-marks.ts";

export interface StreamsOptions {
  /**
   * Base URL (`http://host:port`), or several that the streams are spread over by turns; the path is
   * `/v1/chat/completions` unless a URL brings its own.
   */
  readonly url: string | readonly string[];
  readonly streams: number;
  /** Length of the measured part; opening the streams and settling come on top. */
  readonly seconds: number;
  /** A stream without a frame for so long at the end of the run has failed. */
  readonly silentAfterMs?: number;
  /** Time between the last stream's first frame and the beginning of the measured part. */
  readonly settleMs?: number;
  /** The request's body; has to ask for a stream that outlasts the run. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * What a frame is recognised by. The default is the send time that `fake-engine.ts` writes into each frame; with any
   * other text (`"data: "`) frames are counted, and their delays are unknown.
   */
  readonly mark?: string;
  /** How long all streams may take until each had its first frame. */
  readonly openTimeoutMs?: number;
  /** Called at the two ends of the measured part, for counters that have to be read at the same moments. */
  readonly onBegin?: () => void;
  readonly onEnd?: () => void;
}

export interface StreamsResult {
  /** Streams that were refused, ended, reset or fell silent; 0 in a sound run. */
  readonly errors: number;
  /** Why, with how often. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Frames that arrived in the measured part. */
  readonly frames: number;
  readonly seconds: number;
  /** From the engine's write to our read; NaN where frames carry no send time. */
  readonly delayP50Ms: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
}

/** A chat request for a stream without end, with a prompt of `promptBytes`. */
export function streamBody(promptBytes = 1000, model = "bench"): string {
  const words = "Tell me about the river and the town, ".repeat(Math.ceil(promptBytes / 38)).slice(0, promptBytes);
  return JSON.stringify({ model, stream: true, messages: [{ role: "user", content: words }] });
}

/** All streams share one read buffer: a socket's bytes are looked at before the next socket is read. */
const readBuffer = Buffer.allocUnsafe(256 * 1024);

/** `HTTP/1.1 200`: bytes up to the end of the status code. */
const STATUS_END = 12;

/** Where streams go, and the whole request that opens one. */
interface Target {
  readonly address: { readonly host: string; readonly port: number };
  readonly request: Buffer;
}

function targetOf(url: URL, options: StreamsOptions): Target {
  const path = url.pathname === "/" ? "/v1/chat/completions" : url.pathname + url.search;
  const body = options.body ?? streamBody();
  const extra = Object.entries(options.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  const head =
    `POST ${path} HTTP/1.1\r\nhost: ${url.host}\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n` +
    `${extra.join("")}content-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  return { address: { host: url.hostname, port: Number(url.port || 80) }, request: Buffer.from(head + body) };
}

/** One stream: opened, watched, and failed at most once. */
class Stream {
  readonly #run: StreamsRun;
  readonly #scanner: FrameScanner;
  readonly #socket: Socket;
  #head = "";
  #over = false;
  started = false;
  lastFrameMs = 0;

  constructor(run: StreamsRun, target: Target, scanner: FrameScanner) {
    this.#run = run;
    this.#scanner = scanner;
    this.#socket = net.connect({
      ...target.address,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#read(length);
          return true;
        },
      },
    });
    this.#socket.once("connect", () => readPastSocket(this.#socket, (length) => this.#read(length)));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.fail(error.code ?? error.message));
    this.#socket.on("end", () => this.fail("closed by the peer"));
    this.#socket.on("close", () => this.fail("closed by the peer"));
    this.#socket.write(target.request);
  }

  /** Takes what came into the read buffer, which stays the one. */
  #read(length: number): undefined {
    if (this.#head.length < STATUS_END) {
      this.#head += readBuffer.toString("latin1", 0, Math.min(length, STATUS_END));
      if (this.#head.length >= STATUS_END && this.#head.slice(9, STATUS_END) !== "200") {
        this.fail(`answered ${this.#head.slice(9, STATUS_END)}`);
        return;
      }
    }
    if (this.#scanner.push(readBuffer, length) === 0) return;
    this.lastFrameMs = performance.now();
    if (this.started) return;
    this.started = true;
    this.#run.progressed();
  }

  fail(reason: string): void {
    if (this.#over) return;
    this.close();
    this.#run.failed(reason);
  }

  close(): void {
    this.#over = true;
    this.#socket.destroy();
  }

  get alive(): boolean {
    return !this.#over;
  }
}

class StreamsRun {
  readonly #options: StreamsOptions;
  readonly #targets: readonly Target[];
  readonly #streams: Stream[] = [];
  readonly #reasons: Record<string, number> = {};
  readonly #tally = new FrameTally();
  progressed = (): void => {};

  constructor(options: StreamsOptions) {
    this.#options = options;
    this.#targets = [options.url].flat().map((url) => targetOf(new URL(url), options));
  }

  async run(): Promise<StreamsResult> {
    const { seconds, settleMs = 500, streams, mark, openTimeoutMs = 15_000 } = this.#options;
    const tally = this.#tally;
    const markBytes = mark === undefined ? SENT_MARK : Buffer.from(mark);
    const opened = this.#allStarted(openTimeoutMs);
    for (let i = 1; i <= streams; i++) {
      const target = this.#targets[i % this.#targets.length];
      if (target === undefined) throw new TypeError("runStreams: no URL");
      this.#streams.push(new Stream(this, target, new FrameScanner(markBytes, mark === undefined, tally)));
      if (i % 20 === 0) await sleep(5); // a listening queue is short: 600 at once would measure lost SYNs
    }
    this.progressed();
    await opened;
    await sleep(settleMs);
    this.#options.onBegin?.();
    const beganMs = performance.now();
    tally.measuring = true;
    await sleep(seconds * 1000);
    tally.measuring = false;
    const tookSeconds = (performance.now() - beganMs) / 1000;
    this.#options.onEnd?.();
    this.#failSilent();
    for (const stream of this.#streams) stream.close();
    return {
      errors: Object.values(this.#reasons).reduce((sum, count) => sum + count, 0),
      reasons: this.#reasons,
      frames: tally.frames,
      seconds: tookSeconds,
      delayP50Ms: tally.delays.percentileMs(0.5),
      delayP99Ms: tally.delays.percentileMs(0.99),
      delayMaxMs: tally.delays.maxMs,
    };
  }

  /** Resolves when each stream has had a frame or has failed; those that have neither when the time is up, fail. */
  #allStarted(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const stream of this.#streams) if (!stream.started) stream.fail("no first frame in time");
      }, timeoutMs);
      this.progressed = () => {
        if (this.#streams.length < this.#options.streams) return;
        if (this.#streams.some((stream) => stream.alive && !stream.started)) return;
        clearTimeout(timer);
        this.progressed = () => {};
        resolve();
      };
    });
  }

  failed(reason: string): void {
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
    this.progressed();
  }

  #failSilent(): void {
    const limitMs = this.#options.silentAfterMs ?? 2000;
    const now = performance.now();
    for (const stream of this.#streams) {
      if (stream.started && now - stream.lastFrameMs > limitMs) stream.fail("fell silent");
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Opens the streams, measures for `seconds`, closes them all. Never rejects for what the peer does: see `errors`. */
export function runStreams(options: StreamsOptions): Promise<StreamsResult> {
  return new StreamsRun(options).run();
}
