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
  readonly durationMs: number;
  readonly firstTokenMs: number | null;
  readonly promptTokens: number | null;
  readonly generatedTokens: number | null;
  readonly cachedTokens: number | null;
  readonly error: string | null;
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

function standardOutput(): LogSink {
  const out = pino.destination({ dest: 1, sync: false, minLength: 8 * 1024 });
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

  constructor(options: LogOptions, out: LogSink = standardOutput()) {
    this.#out = out;
    this.#level = pino.levels.values[options.level] ?? 30;
    this.#json = options.format === "json" ? pino({ level: options.level, base: null }, this.#out) : null;
    this.#routingLine = options.routingLine;
    this.#timer = setInterval(() => this.#out.flush(), flushMs);
    this.#timer.unref();
  }

  /** Whether {@link routed} is wanted. */
  get wantsRouting(): boolean {
    return this.#routingLine;
  }

  /** production-stack's line, printed when an endpoint was chosen. */
  routed(requestId: string, session: string | null, url: string, epochSeconds: number, processSeconds: number): void {
    this.#out.write(
      `Routing request ${requestId} with session id ${session ?? "None"} to ${url} at ${epochSeconds}, process time = ${processSeconds.toFixed(4)}\n`,
    );
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
    this.#out.write(
      `${good ? "debug" : "warn"}: request ${requestId} ${api} ${model} ${outcome} ${status} on ${endpoint ?? "no endpoint"}, ` +
        `${attempts} attempt${attempts === 1 ? "" : "s"}, ${durationMs.toFixed(1)} ms${error === null ? "" : `: ${error}`}\n`,
    );
  }

  /** Whether {@link request} would print a good end, so that the line is not made for nothing. */
  get wantsGood(): boolean {
    return this.#json !== null ? this.#level <= 30 : this.#level <= 20;
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
    else if (level >= this.#level) this.#out.write(`${name}: ${message}\n`);
    // what is said outside of requests is rare, and wanted at once
    this.#out.flush();
  }

  /** Writes what is gathered. */
  close(): void {
    clearInterval(this.#timer);
    try {
      this.#out.flushSync();
    } catch {
      // nobody reads any more
    }
  }
}
