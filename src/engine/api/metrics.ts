// Counts what vLLM counts about one engine. Fed by the core as its observer; read by the exposition of /metrics. Gauges
// change only at the end of an engine step, as vLLM's do; nothing here may be asked for decisions.

import type { EngineCore, EngineObserver, EngineStats, SequenceResult } from "../core/index.ts";
import type { ResolvedOptions } from "../options.ts";
import { buckets, tokenBuckets } from "./metric-families.ts";

/** Counts per bucket, not yet summed up. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.count++;
    const at = this.bounds.findIndex((bound) => value <= bound);
    if (at >= 0) this.counts[at] = (this.counts[at] ?? 0) + 1;
  }
}

export type HistogramName =
  | "iteration"
  | "promptTokens"
  | "generatedTokens"
  | "maxTokens"
  | "computedTokens"
  | "n"
  | "preemptions"
  | "maxGenerated"
  | SecondsName;
type SecondsName = "firstToken" | "interToken" | "perToken" | "e2e" | "queue" | "inference" | "prefill" | "decode";

export type SuccessReason = "stop" | "length" | "abort" | "error" | "repetition";

export class MetricsRecorder implements EngineObserver {
  readonly rank: number;
  /** When it began to count, unix seconds. */
  readonly createdSeconds: number;
  readonly histograms: Readonly<Record<HistogramName, Histogram>>;
  readonly success: Record<SuccessReason, number> = { stop: 0, length: 0, abort: 0, error: 0, repetition: 0 };
  #core: EngineCore | null = null;
  #gauges: EngineStats | null = null;

  constructor(options: ResolvedOptions, createdSeconds: number, rank = 0) {
    this.rank = rank;
    this.createdSeconds = createdSeconds;
    const tokens = tokenBuckets(options.maxModelLen);
    const seconds = (): Histogram => new Histogram(buckets.requestSeconds);
    this.histograms = {
      iteration: new Histogram(buckets.iterationTokens),
      promptTokens: new Histogram(tokens),
      generatedTokens: new Histogram(tokens),
      maxTokens: new Histogram(tokens),
      computedTokens: new Histogram(tokens),
      maxGenerated: new Histogram(tokens),
      n: new Histogram(buckets.n),
      preemptions: new Histogram(buckets.preemptions),
      firstToken: new Histogram(buckets.firstTokenSeconds),
      interToken: new Histogram(buckets.tokenSeconds),
      perToken: new Histogram(buckets.tokenSeconds),
      e2e: seconds(),
      queue: seconds(),
      inference: seconds(),
      prefill: seconds(),
      decode: seconds(),
    };
  }

  attach(core: EngineCore): void {
    this.#core = core;
  }

  step(prefillTokens: number, decodeTokens: number): void {
    this.histograms.iteration.observe(prefillTokens + decodeTokens);
    this.#gauges = this.#core?.stats() ?? null;
  }

  token(first: boolean, gapMs: number): void {
    this.histograms[first ? "firstToken" : "interToken"].observe(gapMs / 1000);
  }

  finished(result: SequenceResult): void {
    if (result.reason !== "stop" && result.reason !== "length") this.#gauges = this.#core?.stats() ?? null;
    // A client that left is counted nowhere; its leaving only shows in the gauges.
    if (result.reason === "cancelled") return;
    this.success[result.reason]++;
    const { times } = result;
    const h = this.histograms;
    h.promptTokens.observe(result.promptTokens);
    h.generatedTokens.observe(result.generatedTokens);
    h.maxTokens.observe(result.maxTokens);
    h.computedTokens.observe(result.promptTokens - result.cachedTokens);
    h.preemptions.observe(result.preemptions);
    h.e2e.observe((times.finishedMs - times.arrivedMs) / 1000);
    if (times.scheduledMs === null || times.firstTokenMs === null || times.lastTokenMs === null) return;
    h.queue.observe((times.scheduledMs - times.arrivedMs) / 1000);
    h.inference.observe((times.lastTokenMs - times.scheduledMs) / 1000);
    h.prefill.observe((times.firstTokenMs - times.scheduledMs) / 1000);
    h.decode.observe((times.lastTokenMs - times.firstTokenMs) / 1000);
    const gaps = result.generatedTokens - 1;
    if (gaps > 0) h.perToken.observe((times.lastTokenMs - times.firstTokenMs) / 1000 / gaps);
  }

  /** A prompt whose `n` choices have all ended; the longest counts. */
  promptDone(n: number, longest: number): void {
    this.histograms.n.observe(n);
    this.histograms.maxGenerated.observe(longest);
  }

  /** Counters now, and gauges as of the last step; null before there is an engine. */
  view(): { readonly now: EngineStats; readonly gauges: EngineStats } | null {
    const now = this.#core?.stats();
    return now === undefined ? null : { now, gauges: this.#gauges ?? now };
  }
}
