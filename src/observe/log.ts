// The router's words on standard output: JSON lines by pino, or plain text, and the line per request that production-stack's
// users grep. Lines are gathered and written a few times a second: one system call a request would cost as much as its
// routing. Keys and prompts never come here.
import pino from "pino";

export interface RequestLine {
  readonly requestId: string;
  readonly model: string;
  readonly api: string;
  readonly outcome: string;
  readonly status: number;
  readonly endpoint: string | null;
  readonly reason: string | null;
  readonly attempts: number;
  /** Engines that went on with the stream after another one had failed. */
  readonly migrations: number;
  /** What became of the stream when its engine failed the last time; null = none did. */
  readonly migration: string | null;
  readonly durationMs: number;
  readonly firstTokenMs: number | null;
  /** Of the duration, waited in the router for an endpoint with room, or for the tokens of the prompt. */
  readonly queuedMs: number;
  readonly promptTokens: number | null;
  readonly generatedTokens: number | null;
  readonly cachedTokens: number | null;
  readonly error: string | null;
  /** Only of a request that is traced. */
  readonly traceId?: string;
}

/** What `--log-stats` tells of one engine. Means over the window, in seconds; null = nothing ended in it. */
export interface StatsRow {
  readonly models: readonly string[];
  readonly server: string;
  readonly state: string;
  readonly prefillRequests: number;
  readonly decodingRequests: number;
  readonly qps: number;
  readonly avgTtft: number | null;
  readonly avgLatency: number | null;
  readonly avgItl: number | null;
  readonly finished: number;
  readonly uptimeSeconds: number;
}

export interface LogOptions {
  readonly level: "fatal" | "error" | "warn" | "info" | "debug" | "trace";
  readonly format: "text" | "json";
  readonly routingLine: boolean;
}

/** Where lines go: pino's destination, or a view of a terminal that shows the last of them. */
export interface LogSink {
  write(text: string): void;
  flush(): void;
  flushSync(): void;
}

const flushMs = 200;
/** Handing over has its price, whatever the length; and what is longer has left the processor's cache when it is joined. */
const gatherBytes = 8 * 1024;
/** Written in one go. */
const writeBytes = 64 * 1024;
/** Held for a reader that has stopped reading; what is said then is lost, rather than the router to a full memory. */
const maxHeldBytes = 16 * 1024 * 1024;

function standardOutput(): LogSink {
  const out = pino.destination({
    dest: 1,
    sync: false,
    minLength: writeBytes,
    maxWrite: 2 * writeBytes,
    maxLength: maxHeldBytes,
  });
  // a reader that went away (a closed pipe) must not end the router
  out.on("error", () => undefined);
  return out;
}

export class RouterLog {
  readonly #json: pino.Logger | null;
  readonly #out: LogSink;
  readonly #routingLine: boolean;
  readonly #level: number;
  readonly #timer: NodeJS.Timeout;
  /** Lines that wait for the next flush: one call of the destination for many of them. */
  #lines = "";
  /** Under load several requests are routed in one millisecond. */
  #routedAtMs = -1;
  #routedAt = "";

  constructor(options: LogOptions, out: LogSink = standardOutput()) {
    this.#out = out;
    this.#level = pino.levels.values[options.level] ?? 30;
    this.#json = options.format === "json" ? pino({ level: options.level, base: null }, this.#out) : null;
    this.#routingLine = options.routingLine;
    this.#timer = setInterval(() => this.#flush(), flushMs);
    this.#timer.unref();
  }

  /** Whether {@link routed} is wanted. */
  get wantsRouting(): boolean {
    return this.#routingLine;
  }

  /** production-stack's line, printed when an endpoint was chosen. */
  routed(requestId: string, session: string | null, url: string, epochMs: number, processMs: number): void {
    const atMs = Math.round(epochMs);
    if (atMs !== this.#routedAtMs) {
      this.#routedAtMs = atMs;
      this.#routedAt = ` at ${decimal(atMs, 1_000)}, process time = `;
    }
    const sessionAndTo = session === null ? " with session id None to " : ` with session id ${inLine(session)} to `;
    const tenths = Math.round(processMs * 10);
    const took = usualTimes[tenths] ?? decimal(tenths, 10_000);
    this.#gather(`Routing request ${requestId}${sessionAndTo}${url}${this.#routedAt}${took}\n`);
  }

  /** A request ended. As text, only what went wrong is said below `debug`. */
  request(line: RequestLine): void {
    const good = line.outcome === "ok";
    if (this.#json !== null) {
      if (good) this.#json.info(line, "request");
      else this.#json.warn(line, "request");
      return;
    }
    if (this.#level > (good ? 20 : 40)) return;
    const { requestId, model, api, outcome, status, endpoint, attempts, durationMs, error } = line;
    this.#gather(
      `${good ? "debug" : "warn"}: request ${requestId} ${api} ${model} ${outcome} ${status} on ${endpoint ?? "no endpoint"}, ` +
        `${attempts} attempt${attempts === 1 ? "" : "s"}, ${durationMs.toFixed(1)} ms${error === null ? "" : `: ${inLine(error)}`}\n`,
    );
  }

  /** Whether {@link request} would print a good end, so that the line is not made for nothing. */
  get wantsGood(): boolean {
    return this.#json !== null ? this.#level <= 30 : this.#level <= 20;
  }

  /** One table as text; as JSON a line for each engine, which log tools can filter. */
  stats(rows: readonly StatsRow[]): void {
    if (this.#json !== null) for (const row of rows) this.#json.info(row, "stats");
    else this.#gather(statsTable(rows));
    this.#flush();
  }

  info(message: string, fields: object = {}): void {
    this.#say(30, "info", message, fields);
  }

  warn(message: string, fields: object = {}): void {
    this.#say(40, "warn", message, fields);
  }

  error(message: string, fields: object = {}): void {
    this.#say(50, "error", message, fields);
  }

  #say(level: number, name: "info" | "warn" | "error", message: string, fields: object): void {
    if (this.#json !== null) this.#json[name](fields, message);
    else if (level >= this.#level) this.#gather(`${name}: ${inLine(message)}\n`);
    // what is said outside of requests is rare, and wanted at once
    this.#flush();
  }

  #gather(line: string): void {
    this.#lines += line;
    if (this.#lines.length >= gatherBytes) this.#handOver();
  }

  #handOver(): void {
    if (this.#lines === "") return;
    const lines = this.#lines;
    this.#lines = "";
    this.#out.write(lines);
  }

  #flush(): void {
    this.#handOver();
    this.#out.flush();
  }

  /** Writes what is gathered. */
  close(): void {
    clearInterval(this.#timer);
    try {
      this.#handOver();
      this.#out.flushSync();
    } catch {
      // nobody reads any more
    }
  }
}

function statsTable(rows: readonly StatsRow[]): string {
  const seconds = (value: number | null): string => (value === null ? "-" : `${value.toFixed(3)} s`);
  const ruler = "=".repeat(50);
  const blocks = rows.map(
    (row) =>
      `Model: ${row.models.map(inLine).join(", ")}\n` +
      `Server: ${row.server} (${row.state})\n` +
      ` Request Stats: QPS: ${row.qps.toFixed(2)}, Avg TTFT: ${seconds(row.avgTtft)}, Avg Latency: ${seconds(row.avgLatency)}, ` +
      `Avg ITL: ${seconds(row.avgItl)}, Prefill Requests: ${row.prefillRequests}, Decoding Requests: ${row.decodingRequests}, ` +
      `Finished: ${row.finished}, Uptime: ${row.uptimeSeconds.toFixed(0)} sec\n`,
  );
  return `${ruler}\n${blocks.join(`${"-".repeat(50)}\n`)}${ruler}\n`;
}

/** No value is worth more of a line. */
const maxValueLength = 1_000;
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/** As it may stand in a line of text: what clients and engines say must not look like a line of ours, nor steer a terminal. */
function inLine(text: string): string {
  const short = text.length > maxValueLength ? `${text.slice(0, maxValueLength)}...` : text;
  return short.replace(control, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** An integer as a decimal fraction, `scale` a power of ten: what `toFixed` does, at a fraction of its cost. */
function decimal(value: number, scale: number): string {
  return `${Math.floor(value / scale)}.${String(scale + (value % scale)).slice(1)}`;
}

/** Tenths of a millisecond as seconds: what most requests are routed in. */
const usualTimes = Array.from({ length: 100 }, (_, tenths) => decimal(tenths, 10_000));
