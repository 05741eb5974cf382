// One engine as the router knows it: address, models, connections, breaker, and the requests that are on it. The counts are
// the router's own, because an engine's `/metrics` lags; a ticket of its load is the only way to change them.
import type { Clock } from "../clock.ts";
import type { EndpointSpec, KvEvents } from "../config/types.ts";
import type { EngineAddress } from "../http/engine-connection.ts";
import { EnginePool } from "../http/engine-pool.ts";
import type { Sweeper } from "../http/sweeper.ts";
import { EndpointLoad, defaultPrior } from "../routing/load.ts";
import { Breaker } from "./breaker.ts";
import type { EngineSample } from "./engine-metrics.ts";
import { Progress } from "./progress.ts";

export const endpointStates = ["starting", "ready", "sleeping", "draining", "ejected", "gone"] as const;
export type EndpointState = (typeof endpointStates)[number];

/** An entry of an engine's `/v1/models`, fields kept as they came. */
export type ModelEntry = Readonly<Record<string, unknown>> & { readonly id: string };

export interface Told {
  /** By the router's clock. */
  readonly atMs: number;
  readonly sample: EngineSample;
  /** Of prompt tokens, between the last two samples in between which some were looked up. */
  readonly hitRate: number;
}

export class Endpoint {
  /** `host:port` with the path prefix where there is one; the value of the `endpoint` label. */
  readonly id: string;
  readonly url: string;
  /** Value of `Host` towards it. */
  readonly authority: string;
  /** Prefix of every path; "" = none. */
  readonly basePath: string;
  readonly pool: EnginePool;
  readonly breaker = new Breaker();
  /** Whether it gets on with the requests that it has. */
  readonly progress = new Progress();
  readonly createdSeconds: number;
  readonly label: string | null;
  /** Where its KV events are had. */
  kvEvents: KvEvents = "ask";
  /** Tells it from others that had its URL before; null = the URL is all there is. */
  readonly identity: string | null;
  /** Models from the configuration; null = what the engine says. */
  readonly configuredModels: readonly string[] | null;
  /** The requests of this router that are on it. */
  readonly load: EndpointLoad;
  /** What its own metrics said last; null = nothing yet. */
  told: Told | null = null;
  /** Its weights are put away: it gets no requests until discovery says that it is awake. */
  sleeping = false;
  /** When this changes, its models may have. */
  modelsRevision: string | null = null;
  models: readonly string[];
  entries: readonly ModelEntry[] = [];
  /** Share of its normal traffic, for policies; set from the breaker before each choice. */
  weight = 1;
  /** Not asked again until then: it said that it is busy. */
  busyUntilMs = 0;
  /** The last active check that went wrong, for people; null = none since the last good one. */
  lastProblem: string | null = "not checked yet";
  /** An active check has come to an end, good or bad: until then nobody can say which models it has. */
  asked = false;
  #checked = false;
  #readySinceMs = 0;
  #leaving = false;
  readonly #onEmpty: (endpoint: Endpoint) => void;

  constructor(
    { url, models, label, identity }: EndpointSpec,
    engineTls: EngineAddress["tls"],
    clock: Clock,
    sweeper: Sweeper<EnginePool>,
    keepAliveMs: number,
    onEmpty: (endpoint: Endpoint) => void,
  ) {
    const parsed = new URL(url);
    this.url = url;
    this.identity = identity ?? null;
    this.authority = parsed.host;
    this.basePath = parsed.pathname === "/" ? "" : parsed.pathname.replace(/\/$/, "");
    this.id = `${parsed.host}${this.basePath}`;
    this.configuredModels = models;
    this.models = models ?? [];
    this.label = label;
    this.createdSeconds = Math.floor(clock.wallMs() / 1000);
    const encrypted = parsed.protocol === "https:";
    const address: EngineAddress = {
      host: parsed.hostname.replace(/^\[|\]$/g, ""),
      port: parsed.port === "" ? (encrypted ? 443 : 80) : Number(parsed.port),
      tls: encrypted ? (engineTls ?? { ca: null, rejectUnauthorized: true }) : null,
    };
    this.pool = new EnginePool(address, clock, sweeper, keepAliveMs);
    this.#onEmpty = onEmpty;
    this.load = new EndpointLoad(defaultPrior, () => this.#released());
  }

  /** Requests sent whose first token has not come. */
  get queued(): number {
    return this.load.queued;
  }

  /** Requests past their first token. */
  get running(): number {
    return this.load.running;
  }

  get inFlight(): number {
    return this.load.queued + this.load.running;
  }

  state(nowMs: number): EndpointState {
    if (this.#leaving) return this.inFlight > 0 ? "draining" : "gone";
    if (!this.#checked) return "starting";
    if (this.sleeping) return "sleeping";
    const breaker = this.breaker.state(nowMs);
    return breaker === "ejected" || breaker === "probing" ? "ejected" : "ready";
  }

  /** Checked once with success and not on its way out: what the breaker says comes on top. */
  get known(): boolean {
    return this.#checked && !this.#leaving;
  }

  /** Its first active check passed and its models are known. */
  becameReady(nowMs: number): void {
    this.#checked = true;
    this.#readySinceMs = nowMs;
  }

  /** How long it has been in service: since it became ready, or came back after it was taken out; 0 while it is not. */
  uptimeMs(nowMs: number): number {
    return this.state(nowMs) === "ready" ? nowMs - Math.max(this.#readySinceMs, this.breaker.returnedMs) : 0;
  }

  /**
   * The same engine under another entry (its models or its label changed): what was known of the one before, which was
   * ready, holds until the next check, so that no request meets a moment without an endpoint.
   */
  succeed(before: Endpoint): void {
    this.entries = before.entries;
    if (this.configuredModels === null) this.models = before.entries.map((entry) => entry.id);
    this.#checked = this.models.length > 0;
    this.asked = this.#checked;
    this.#readySinceMs = before.#readySinceMs;
  }

  /** Discovery no longer lists it: no new requests, the running ones finish. */
  leave(): void {
    this.#leaving = true;
    this.#released();
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  #released(): void {
    if (this.#leaving && this.inFlight === 0) {
      this.pool.closeIdle();
      this.#onEmpty(this);
    }
  }
}
