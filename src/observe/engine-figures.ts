// What engines say of themselves on their own `/metrics`, under the router's names: beside `lmstack_endpoint_*`, which is what
// the router knows, it tells whether somebody else sends requests there too. Part of the catalogue, and what is set at a scrape.
import type { Endpoint } from "../fleet/endpoint.ts";
import { endpointValues, type MetricDefinition } from "./metric-definition.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { Value } from "./series.ts";

const endpoint = endpointValues;

export const engineCatalogue = {
  lmstack_engine_requests: {
    type: "gauge",
    help: "Requests in an engine, whoever sent them, as it said last: running in its batch, or waiting for a place there.",
    labels: { endpoint, phase: ["running", "waiting"] },
  },
  lmstack_engine_kv_usage_ratio: {
    type: "gauge",
    help: "Share of an engine's KV blocks in use, 0 to 1, as it said last.",
    labels: { endpoint },
  },
  lmstack_engine_cache_query_tokens_total: {
    type: "counter",
    help: "Prompt tokens that an engine has looked up in its prefix cache: what its hit rate is a share of.",
    labels: { endpoint },
  },
  lmstack_engine_cache_hit_tokens_total: {
    type: "counter",
    help: "Prompt tokens that an engine has found in its prefix cache.",
    labels: { endpoint },
  },
  lmstack_engine_uptime_seconds: {
    type: "gauge",
    help: "How long an engine's process has been running, where it says when it was started.",
    labels: { endpoint },
  },
  lmstack_engine_scrape_age_seconds: {
    type: "gauge",
    help: "How long ago the router last read an engine's metrics. What it read is left out once that is three of its rounds, --engine-stats-interval.",
    labels: { endpoint },
  },
} as const satisfies Record<string, MetricDefinition>;

const ownNames = {
  kvUsage: "lmstack_engine_kv_usage_ratio",
  queries: "lmstack_engine_cache_query_tokens_total",
  hits: "lmstack_engine_cache_hit_tokens_total",
  uptime: "lmstack_engine_uptime_seconds",
} as const;
/** production-stack's. */
const legacyNames = {
  hitRate: "vllm:gpu_prefix_cache_hit_rate",
  hits: "vllm:gpu_prefix_cache_hits_total",
  queries: "vllm:gpu_prefix_cache_queries_total",
} as const;

/** Series of one engine; there are none until it has told something, and none but the age when that is too old. */
export class EngineFigures {
  readonly #registry: MetricsRegistry;
  readonly #id: string;
  readonly #url: string;
  #age: Value | null = null;
  #figures: Figures | null = null;

  constructor(registry: MetricsRegistry, id: string, url: string) {
    this.#registry = registry;
    this.#id = id;
    this.#url = url;
  }

  /** @param wallMs Unix time @param staleMs older figures say nothing */
  set({ told }: Endpoint, nowMs: number, wallMs: number, staleMs: number): void {
    if (told === null) {
      this.release();
      return;
    }
    const ageMs = nowMs - told.atMs;
    (this.#age ??= this.#registry.value("lmstack_engine_scrape_age_seconds").child(this.#id)).value = ageMs / 1000;
    if (ageMs > staleMs) {
      this.#forget();
      return;
    }
    const { sample, hitRate } = told;
    const figures = (this.#figures ??= this.#bind(sample.startedSeconds > 0));
    figures.running.value = sample.running;
    figures.waiting.value = sample.waiting;
    figures.kvUsage.value = sample.kvUsage;
    figures.queries.value = sample.queryTokens;
    figures.hits.value = sample.hitTokens;
    if (figures.uptime !== null) figures.uptime.value = Math.max(0, wallMs / 1000 - sample.startedSeconds);
    if (figures.legacy === null) return;
    figures.legacy.queries.value = sample.queryTokens;
    figures.legacy.hits.value = sample.hitTokens;
    figures.legacy.hitRate.value = hitRate;
  }

  /** Leaves no series. */
  release(): void {
    this.#forget();
    if (this.#age !== null) this.#registry.value("lmstack_engine_scrape_age_seconds").remove(this.#id);
    this.#age = null;
  }

  #bind(tellsStart: boolean): Figures {
    const registry = this.#registry;
    const id = this.#id;
    const url = this.#url;
    return {
      running: registry.value("lmstack_engine_requests").child(id, "running"),
      waiting: registry.value("lmstack_engine_requests").child(id, "waiting"),
      kvUsage: registry.value(ownNames.kvUsage).child(id),
      queries: registry.value(ownNames.queries).child(id),
      hits: registry.value(ownNames.hits).child(id),
      uptime: tellsStart ? registry.value(ownNames.uptime).child(id) : null,
      legacy: registry.legacy
        ? {
            hitRate: registry.value(legacyNames.hitRate).child(url),
            hits: registry.value(legacyNames.hits).child(url),
            queries: registry.value(legacyNames.queries).child(url),
          }
        : null,
    };
  }

  #forget(): void {
    if (this.#figures === null) return;
    this.#figures = null;
    const registry = this.#registry;
    for (const phase of engineCatalogue.lmstack_engine_requests.labels.phase)
      registry.value("lmstack_engine_requests").remove(this.#id, phase);
    for (const name of Object.values(ownNames)) registry.value(name).remove(this.#id);
    if (!registry.legacy) return;
    for (const name of Object.values(legacyNames)) registry.value(name).remove(this.#url);
  }
}

interface Figures {
  readonly running: Value;
  readonly waiting: Value;
  readonly kvUsage: Value;
  readonly queries: Value;
  readonly hits: Value;
  /** null = it does not say. */
  readonly uptime: Value | null;
  /** null without `--legacy-metrics`. */
  readonly legacy: { readonly hitRate: Value; readonly hits: Value; readonly queries: Value } | null;
}
