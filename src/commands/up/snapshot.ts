// The numbers that the live view shows, gathered twice a second from the router in this process and once a second from the
// engines.
import type { Clock } from "../../clock.ts";
import { askEngine } from "../../fleet/engine-client.ts";
import type { EndpointState } from "../../fleet/endpoint.ts";
import { metricCatalogue } from "../../observe/catalogue.ts";
import type { RouterContext } from "../../proxy/context.ts";

export interface EngineRow {
  /** null = it has not listened yet. */
  readonly url: string | null;
  readonly state: EndpointState | "dead";
  /** The engine's own counts; null = it did not say. */
  readonly running: number | null;
  readonly waiting: number | null;
  /** Share of the KV blocks in use, 0 to 1. */
  readonly kvUsage: number | null;
  /** Share of the prompt tokens found in the cache since its start, 0 to 1. */
  readonly hitRate: number | null;
  readonly restarts: number;
}

export interface Snapshot {
  readonly engines: readonly EngineRow[];
  readonly inFlight: number;
  /** Per second, over the last ten seconds. */
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  /** Over the last ten seconds; null = no request. */
  readonly ttftP50Ms: number | null;
  readonly ttftP90Ms: number | null;
  readonly errors: number;
}

interface Totals {
  readonly atMs: number;
  readonly requests: number;
  readonly errors: number;
  readonly tokens: number;
  readonly ttft: readonly number[];
}

const windowMs = 10_000;
const bounds = metricCatalogue.lmstack_time_to_first_token_seconds.buckets;

/** What an engine says of itself under `--sim-api`. */
type SimState = Partial<
  Record<"running" | "waiting" | "kvBlocksUsed" | "kvBlocksTotal" | "hitTokens" | "queryTokens", number>
>;

export class Observer {
  readonly #ctx: RouterContext;
  readonly #models: readonly string[];
  readonly #states = new Map<string, SimState>();
  #history: Totals[] = [];

  constructor(ctx: RouterContext, models: readonly string[]) {
    this.#ctx = ctx;
    this.#models = models;
  }

  /** Asks the engines; what one does not tell is forgotten. */
  async ask(): Promise<void> {
    await Promise.all(
      this.#ctx.registry.list().map(async (endpoint) => {
        const state = await askEngine(endpoint, "GET", "/sim/state", null, null, 500, this.#ctx.clock)
          .then((answer) => JSON.parse(answer.body.toString("utf8")) as SimState)
          .catch(() => null);
        if (state === null) this.#states.delete(endpoint.url);
        else this.#states.set(endpoint.url, state);
      }),
    );
  }

  look(
    processes: readonly { readonly url: string | null; readonly alive: boolean; readonly restarts: number }[],
  ): Snapshot {
    const { clock } = this.#ctx;
    const now = this.#totals(clock);
    this.#history.push(now);
    while ((this.#history[0]?.atMs ?? 0) < now.atMs - windowMs) this.#history.shift();
    const then = this.#history[0] ?? now;
    const seconds = Math.max(1, (now.atMs - then.atMs) / 1000);
    const ttft = now.ttft.map((count, i) => count - (then.ttft[i] ?? 0));
    return {
      engines: processes.map((process) => this.#row(process)),
      inFlight: this.#ctx.active.size,
      requestsPerSecond: (now.requests - then.requests) / seconds,
      tokensPerSecond: (now.tokens - then.tokens) / seconds,
      ttftP50Ms: quantileMs(ttft, 0.5),
      ttftP90Ms: quantileMs(ttft, 0.9),
      errors: now.errors,
    };
  }

  #row(process: { readonly url: string | null; readonly alive: boolean; readonly restarts: number }): EngineRow {
    const { url } = process;
    const endpoint = this.#ctx.registry.list().find((candidate) => candidate.url === url);
    const state = url === null ? undefined : this.#states.get(url);
    const share = (part?: number, whole?: number): number | null =>
      part === undefined || whole === undefined ? null : whole === 0 ? 0 : part / whole;
    return {
      url,
      state: !process.alive ? "dead" : (endpoint?.state(this.#ctx.clock.nowMs()) ?? "starting"),
      running: state?.running ?? null,
      waiting: state?.waiting ?? null,
      kvUsage: share(state?.kvBlocksUsed, state?.kvBlocksTotal),
      hitRate: share(state?.hitTokens, state?.queryTokens),
      restarts: process.restarts,
    };
  }

  #totals(clock: Clock): Totals {
    let tokens = 0;
    const ttft = Array.from({ length: bounds.length + 1 }, () => 0);
    for (const model of this.#models) {
      const metrics = this.#ctx.metrics.model(model);
      metrics.firstToken.counts.forEach((count, i) => {
        ttft[i] = (ttft[i] ?? 0) + count;
      });
      tokens += metrics.generatedTokens.value;
    }
    const { metrics } = this.#ctx;
    return { atMs: clock.nowMs(), requests: metrics.requestCount(), errors: metrics.errorCount(), tokens, ttft };
  }
}

/** Quantile from histogram counts, linear within a bucket; null when it is empty. */
export function quantileMs(counts: readonly number[], q: number): number | null {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (total === 0) return null;
  let rank = q * total;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] ?? 0;
    if (rank <= count && count > 0) {
      const low = i === 0 ? 0 : (bounds[i - 1] ?? 0);
      const high = bounds[i] ?? low;
      return (low + (high - low) * (rank / count)) * 1000;
    }
    rank -= count;
  }
  return (bounds.at(-1) ?? 0) * 1000;
}
