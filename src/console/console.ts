// The console's side of the router: its files, the configuration in force, and one stream of events that all who look share.
// It costs nothing while nobody looks but the recorder's few numbers a request.
import type { Clock, Timer } from "../clock.ts";
import type { Exchange } from "../http/exchange.ts";
import { consoleFiles } from "./assets.ts";
import { Recorder } from "./recorder.ts";
import type { EndpointView, LiveRequest, Snapshot } from "./shapes.ts";

/** Where the console looks. */
export interface ConsoleSource {
  readonly version: string;
  policy(): string;
  models(): readonly string[];
  endpoints(): readonly EndpointView[];
  live(): readonly LiveRequest[];
  /** The configuration in force, without secrets. */
  configuration(): object;
  draining(): boolean;
}

const intervalMs = 1000;
const maxLive = 100;
/** Each watcher holds a connection and up to a snapshot of memory. */
const maxWatchers = 32;

const noStore = ["cache-control", "no-store"];
const policy =
  "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

interface Watcher {
  readonly exchange: Exchange;
  seq: number;
}

export class Console {
  readonly recorder: Recorder;
  readonly #clock: Clock;
  readonly #source: ConsoleSource;
  readonly #watchers = new Set<Watcher>();
  #timer: Timer | null = null;

  constructor(clock: Clock, source: ConsoleSource) {
    this.#clock = clock;
    this.#source = source;
    this.recorder = new Recorder(() => clock.wallMs());
  }

  /** Whether somebody looks: then choices are worth being explained. */
  get watched(): boolean {
    return this.#watchers.size > 0;
  }

  /** Answers with a file of the console: the page itself for `""`. Never rejects. */
  async file(exchange: Exchange, name: string): Promise<void> {
    const plain = ["content-type", "text/plain; charset=utf-8"];
    try {
      const file = (await consoleFiles()).get(name === "" ? "index.html" : name);
      if (exchange.finished) return;
      if (file === undefined) {
        exchange.answer(404, plain, "The console has no such file.\n");
        return;
      }
      const zipped = /\bgzip\b/.test(exchange.header("accept-encoding") ?? "");
      const headers = [
        "content-type",
        file.type,
        "cache-control",
        "no-cache",
        "etag",
        file.etag,
        "vary",
        "accept-encoding",
      ];
      if (name === "") headers.push("content-security-policy", policy, "x-content-type-options", "nosniff");
      if (exchange.header("if-none-match") === file.etag) exchange.answer(304, headers, "");
      else if (zipped) exchange.answer(200, [...headers, "content-encoding", "gzip"], file.gzip);
      else exchange.answer(200, headers, file.bytes);
    } catch (error) {
      if (!exchange.finished)
        exchange.answer(
          500,
          plain,
          `The console cannot be built: ${error instanceof Error ? error.message : String(error)}\n`,
        );
    }
  }

  configuration(exchange: Exchange): void {
    exchange.answer(
      200,
      ["content-type", "application/json", ...noStore],
      JSON.stringify(this.#source.configuration()),
    );
  }

  /** An event stream of snapshots, one a second, until the client leaves. */
  watch(exchange: Exchange, head: string): void {
    if (this.#watchers.size >= maxWatchers) {
      exchange.answer(503, ["content-type", "text/plain; charset=utf-8"], `${maxWatchers} look already.\n`);
      return;
    }
    const watcher: Watcher = { exchange, seq: 0 };
    exchange.onClientGone = () => this.#leave(watcher);
    exchange.begin(head, null);
    this.#watchers.add(watcher);
    this.#send(watcher, this.#look());
    this.#timer ??= this.#clock.setTimer(intervalMs, this.#tick);
  }

  readonly #tick = (): void => {
    this.#timer = null;
    if (this.#watchers.size === 0) return;
    const look = this.#look();
    for (const watcher of this.#watchers) this.#send(watcher, look);
    this.#timer = this.#clock.setTimer(intervalMs, this.#tick);
  };

  #leave(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): Omit<Snapshot, "ended"> {
    const source = this.#source;
    const live = source.live();
    return {
      nowMs: this.#clock.wallMs(),
      version: source.version,
      policy: source.policy(),
      draining: source.draining(),
      models: source.models(),
      inFlight: live.length,
      endpoints: source.endpoints().map((endpoint) => ({ ...endpoint, ttftMs: this.recorder.times(endpoint.id) })),
      live: live.slice(0, maxLive),
      traffic: this.recorder.traffic(),
      errors: this.recorder.errors,
    };
  }

  #send(watcher: Watcher, look: Omit<Snapshot, "ended">): void {
    const { exchange } = watcher;
    // who does not read gets the next one, and what it has missed with it
    if (exchange.needsDrain) return;
    const snapshot: Snapshot = { ...look, ended: this.recorder.since(watcher.seq) };
    watcher.seq = this.recorder.seq;
    exchange.writePiece(Buffer.from(`event: snapshot\ndata: ${JSON.stringify(snapshot)}\n\n`));
  }

  /** Ends all streams: the router drains. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
    for (const { exchange } of this.#watchers) {
      exchange.endPieces();
      exchange.end();
    }
    this.#watchers.clear();
  }
}
