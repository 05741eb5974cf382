// What an engine's metrics mean for routing: other routers' requests, the size of its cache, how many hits came true, whether
// it began anew, how long a step takes.
import type { EngineSample } from "../fleet/engine-metrics.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import type { RouterContext } from "./context.ts";

/** Fewer tell nothing about who sends how much. */
const leastFinished = 20;
/** Less than this is a difference in counting. */
const leastShare = 0.1;
/** Older counts lose half of their weight with each so many finished requests. */
const halfLife = 500;

export class EngineSamples {
  readonly #ctx: RouterContext;
  /** Requests that this router has seen the end of, when the last sample was taken. */
  readonly #finished = new WeakMap<Endpoint, number>();
  #all = 0;
  #own = 0;

  constructor(ctx: RouterContext) {
    this.#ctx = ctx;
  }

  /** @param before the sample before; null = the first one */
  take(endpoint: Endpoint, sample: EngineSample, before: EngineSample | null): void {
    const { load, id } = endpoint;
    const { index } = this.#ctx.prefixes;
    const nowMs = this.#ctx.clock.nowMs();
    endpoint.told = { atMs: nowMs, sample, hitRate: hitRate(sample, before) ?? endpoint.told?.hitRate ?? 0 };
    load.told(sample, nowMs);
    if (sample.cache !== null) {
      load.capacityTokens = sample.cache.capacityTokens;
      index.setEngine(id, sample.cache);
    }
    const finished = this.#ctx.metrics.endpoint(endpoint).finished;
    const ownFinished = finished - (this.#finished.get(endpoint) ?? finished);
    this.#finished.set(endpoint, finished);
    if (before === null) {
      if (sample.tokenGaps > 0) load.stepTold((sample.tokenGapSeconds / sample.tokenGaps) * 1000, nowMs);
      return;
    }
    if (restarted(sample, before)) {
      index.restarted(id);
      this.#ctx.log.info(`engine ${id} has restarted: its cache is taken for empty`, { endpoint: id });
      return;
    }
    const gaps = sample.tokenGaps - before.tokenGaps;
    if (gaps > 0) load.stepTold(((sample.tokenGapSeconds - before.tokenGapSeconds) / gaps) * 1000, nowMs);
    index.counted(id, sample.queryTokens - before.queryTokens, sample.hitTokens - before.hitTokens);
    this.#share(ownFinished, sample.finished - before.finished);
  }

  /** How much of the engines' work comes from other routers. */
  #share(own: number, all: number): void {
    const keep = 2 ** (-all / halfLife);
    this.#all = this.#all * keep + all;
    this.#own = this.#own * keep + Math.min(own, all);
    const { replicas } = this.#ctx.config;
    const share = this.#all < leastFinished ? 0 : 1 - this.#own / this.#all;
    // what was told holds at least: the others may have nothing to do just now
    this.#ctx.routing.othersShare = Math.max(1 - 1 / replicas, share < leastShare ? 0 : share);
  }
}

/** null = nothing was looked up since the sample before. */
function hitRate(sample: EngineSample, before: EngineSample | null): number | null {
  const from = before === null || restarted(sample, before) ? { queryTokens: 0, hitTokens: 0 } : before;
  const looked = sample.queryTokens - from.queryTokens;
  return looked > 0 ? Math.min(1, Math.max(0, (sample.hitTokens - from.hitTokens) / looked)) : null;
}

/** Another process, or counters that began anew. */
function restarted(sample: EngineSample, before: EngineSample): boolean {
  return (
    Math.abs(sample.startedSeconds - before.startedSeconds) > 1 ||
    sample.queryTokens < before.queryTokens ||
    sample.finished < before.finished
  );
}
