// Counts what vLLM counts, and writes it as the text that Prometheus scrapes. Fed by the core as its observer; read by
// /metrics. Gauges change only at the end of an engine step, as vLLM's do; nothing here may be asked for decisions.

import type { EngineCore, EngineObserver, EngineStats, SequenceResult } from "../core/index.ts";
import type { ResolvedOptions } from "../options.ts";
import { buckets, families, tokenBuckets } from "./metric-families.ts";
import type { Family } from "./metric-families.ts";

export const metricsContentType = "text/plain; version=1.0.0; charset=utf-8";

class Histogram {
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

type HistogramName = "iteration" | "promptTokens" | "generatedTokens" | "maxTokens" | "computedTokens" | SecondsName;
type SecondsName = "firstToken" | "interToken" | "perToken" | "e2e" | "queue" | "inference" | "prefill" | "decode";

/** What lives outside of the core. */
export interface MetricsSource {
  readonly rejected: number;
}

export class MetricsRecorder implements EngineObserver {
  readonly #options: ResolvedOptions;
  readonly #createdSeconds: number;
  readonly #histograms: Readonly<Record<HistogramName, Histogram>>;
  readonly #n = new Histogram(buckets.n);
  readonly #preemptions = new Histogram(buckets.preemptions);
  readonly #success = { stop: 0, length: 0, abort: 0, error: 0, repetition: 0 };
  #core: EngineCore | null = null;
  #gauges: EngineStats | null = null;

  constructor(options: ResolvedOptions, createdSeconds: number) {
    this.#options = options;
    this.#createdSeconds = createdSeconds;
    const tokens = tokenBuckets(options.maxModelLen);
    const seconds = (): Histogram => new Histogram(buckets.requestSeconds);
    this.#histograms = {
      iteration: new Histogram(buckets.iterationTokens),
      promptTokens: new Histogram(tokens),
      generatedTokens: new Histogram(tokens),
      maxTokens: new Histogram(tokens),
      computedTokens: new Histogram(tokens),
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
    this.#histograms.iteration.observe(prefillTokens + decodeTokens);
    this.#gauges = this.#core?.stats() ?? null;
  }

  token(first: boolean, gapMs: number): void {
    this.#histograms[first ? "firstToken" : "interToken"].observe(gapMs / 1000);
  }

  finished(result: SequenceResult): void {
    if (result.reason !== "stop" && result.reason !== "length") this.#gauges = this.#core?.stats() ?? null;
    // A client that left is counted nowhere; its leaving only shows in the gauges.
    if (result.reason === "cancelled") return;
    this.#success[result.reason]++;
    const { times } = result;
    const h = this.#histograms;
    h.promptTokens.observe(result.promptTokens);
    h.generatedTokens.observe(result.generatedTokens);
    h.maxTokens.observe(result.maxTokens);
    h.computedTokens.observe(result.promptTokens - result.cachedTokens);
    this.#n.observe(1);
    this.#preemptions.observe(result.preemptions);
    h.e2e.observe((times.finishedMs - times.arrivedMs) / 1000);
    if (times.scheduledMs === null || times.firstTokenMs === null || times.lastTokenMs === null) return;
    h.queue.observe((times.scheduledMs - times.arrivedMs) / 1000);
    h.inference.observe((times.lastTokenMs - times.scheduledMs) / 1000);
    h.prefill.observe((times.firstTokenMs - times.scheduledMs) / 1000);
    h.decode.observe((times.lastTokenMs - times.firstTokenMs) / 1000);
    const gaps = result.generatedTokens - 1;
    if (gaps > 0) h.perToken.observe((times.lastTokenMs - times.firstTokenMs) / 1000 / gaps);
  }

  /** The whole exposition. */
  render(source: MetricsSource): string {
    const writer = new Writer(this.#createdSeconds);
    const model = JSON.stringify(this.#options.models[0] ?? "");
    const base = `engine="0",model_name=${model}`;
    const now = this.#core?.stats();
    const gauges = this.#gauges ?? now;
    if (now === undefined || gauges === undefined) return "";
    const f = families;
    const zero = [[base, 0]] as const;
    writer.counter(f.estimatedFlopsPerGpuTotal, zero);
    writer.counter(f.estimatedReadBytesPerGpuTotal, zero);
    writer.counter(f.estimatedWriteBytesPerGpuTotal, zero);
    writer.gauge(f.numRequestsRunning, [[base, gauges.running]]);
    writer.gauge(f.numRequestsWaiting, [[base, gauges.waiting]]);
    writer.gauge(f.numRequestsWaitingByReason, [
      [`${base},reason="capacity"`, gauges.waiting],
      [`${base},reason="deferred"`, 0],
    ]);
    writer.gauge(f.engineSleepState, [
      [`${base},sleep_state="awake"`, 1],
      [`${base},sleep_state="weights_offloaded"`, 0],
      [`${base},sleep_state="discard_all"`, 0],
    ]);
    writer.gauge(f.kvCacheUsagePerc, [[base, gauges.kvBlocksUsed / gauges.kvBlocksTotal]]);
    writer.counter(f.prefixCacheQueriesTotal, [[base, now.queryTokens]]);
    writer.counter(f.prefixCacheHitsTotal, [[base, now.hitTokens]]);
    writer.counter(f.externalPrefixCacheQueriesTotal, zero);
    writer.counter(f.externalPrefixCacheHitsTotal, zero);
    writer.counter(f.mmCacheQueriesTotal, zero);
    writer.counter(f.mmCacheHitsTotal, zero);
    writer.counter(f.numPreemptionsTotal, [[base, now.preemptions]]);
    writer.counter(f.promptTokensTotal, [[base, now.promptTokens]]);
    writer.counter(f.promptTokensBySourceTotal, [
      [`${base},source="local_compute"`, now.promptTokens - now.cachedPromptTokens],
      [`${base},source="local_cache_hit"`, now.cachedPromptTokens],
      [`${base},source="external_kv_transfer"`, 0],
    ]);
    writer.counter(f.promptTokensCachedTotal, [[base, now.cachedPromptTokens]]);
    writer.counter(
      f.promptTokensCachedBySourceTotal,
      ["device", "host", "p2p", "disk", "external_unspecified"].map((kind) => [
        `${base},source="${kind}"`,
        kind === "device" ? now.cachedPromptTokens : 0,
      ]),
    );
    writer.counter(f.generationTokensTotal, [[base, now.generatedTokens]]);
    writer.counter(
      f.requestSuccessTotal,
      Object.entries(this.#success).map(([reason, count]) => [
        `engine="0",finished_reason="${reason}",model_name=${model}`,
        count,
      ]),
    );
    writer.counter(f.admissionRejectionsTotal, [
      [`model_name=${model},reason="max_num_queued_reqs"`, source.rejected],
      [`model_name=${model},reason="max_num_queued_tokens"`, 0],
    ]);
    this.#renderHistograms(writer, model);
    writer.gauge(f.cacheConfigInfo, [[this.#cacheConfig(), 1]]);
    return writer.text;
  }

  #renderHistograms(writer: Writer, model: string): void {
    const f = families;
    const h = this.#histograms;
    const rows: readonly (readonly [Family, Histogram])[] = [
      [f.requestPromptTokens, h.promptTokens],
      [f.requestGenerationTokens, h.generatedTokens],
      [f.iterationTokensTotal, h.iteration],
      [f.requestMaxNumGenerationTokens, h.generatedTokens],
      [f.requestParamsN, this.#n],
      [f.requestParamsMaxTokens, h.maxTokens],
      [f.timeToFirstTokenSeconds, h.firstToken],
      [f.interTokenLatencySeconds, h.interToken],
      [f.requestTimePerOutputTokenSeconds, h.perToken],
      [f.e2eRequestLatencySeconds, h.e2e],
      [f.requestQueueTimeSeconds, h.queue],
      [f.requestInferenceTimeSeconds, h.inference],
      [f.requestPrefillTimeSeconds, h.prefill],
      [f.requestDecodeTimeSeconds, h.decode],
      [f.requestNumPreemptions, this.#preemptions],
      [f.requestPrefillKvComputedTokens, h.computedTokens],
    ];
    for (const [family, histogram] of rows) writer.histogram(family, model, histogram);
  }

  #cacheConfig(): string {
    const o = this.#options;
    const labels: Record<string, string> = {
      _block_size_resolved: "True",
      block_size: String(o.blockSize),
      cache_dtype: "auto",
      cache_hit_alignment_tokens: "None",
      effective_attention_block_size: String(o.blockSize),
      enable_mamba_shared_prefix_checkpoint: "False",
      enable_prefix_caching: o.enablePrefixCaching ? "True" : "False",
      engine: "0",
      gpu_memory_utilization: "0.92",
      hash_block_size: "None",
      is_attention_free: "False",
      kv_cache_dtype_skip_layers: "[]",
      kv_cache_layout: "None",
      kv_cache_max_concurrency: pythonNumber((o.numGpuBlocks * o.blockSize) / o.maxModelLen),
      kv_cache_memory_bytes: "None",
      kv_cache_size_tokens: String(o.numGpuBlocks * o.blockSize),
      kv_offloading_backend: "native",
      kv_offloading_size: "None",
      kv_sharing_fast_prefill: "False",
      mamba_block_size: "None",
      mamba_cache_dtype: "auto",
      mamba_cache_mode: "none",
      mamba_page_size_padded: "None",
      mamba_ssm_cache_dtype: "float32",
      num_cpu_blocks: "None",
      num_gpu_blocks: String(o.numGpuBlocks),
      num_gpu_blocks_override: "None",
      prefix_cache_retention_interval: "0",
      prefix_caching_hash_algo: "sha256",
      prefix_match_unit: "None",
      replayssm_buffer_len: "16",
      skip_page_size_padded: "None",
      sliding_window: "None",
      swa_bounded_replay: "True",
      use_kda_recoverssm: "False",
      use_replayssm: "False",
      user_specified_block_size: "True",
    };
    return Object.entries(labels)
      .map(([name, value]) => `${name}="${value}"`)
      .join(",");
  }
}

type Sample = readonly [labels: string, value: number];

/** The text format as Python's client writes it: floats always with a point, a `_created` gauge beside each counter. */
class Writer {
  text = "";
  readonly #created: string;

  constructor(createdSeconds: number) {
    this.#created = pythonNumber(createdSeconds);
  }

  gauge(family: Family, samples: readonly Sample[]): void {
    this.#head(family.name, family.help, family.type);
    for (const [labels, value] of samples) this.text += `${family.name}{${labels}} ${pythonNumber(value)}\n`;
  }

  counter(family: Family, samples: readonly Sample[]): void {
    this.gauge(family, samples);
    const created = family.name.replace(/_total$/, "_created");
    this.#head(created, family.help, "gauge");
    for (const [labels] of samples) this.text += `${created}{${labels}} ${this.#created}\n`;
  }

  histogram(family: Family, model: string, histogram: Histogram): void {
    const { name } = family;
    this.#head(name, family.help, "histogram");
    let below = 0;
    histogram.bounds.forEach((bound, at) => {
      below += histogram.counts[at] ?? 0;
      const le = pythonNumber(bound);
      this.text += `${name}_bucket{engine="0",le="${le}",model_name=${model}} ${pythonNumber(below)}\n`;
    });
    this.text += `${name}_bucket{engine="0",le="+Inf",model_name=${model}} ${pythonNumber(histogram.count)}\n`;
    this.text += `${name}_count{engine="0",model_name=${model}} ${pythonNumber(histogram.count)}\n`;
    this.text += `${name}_sum{engine="0",model_name=${model}} ${pythonNumber(histogram.sum)}\n`;
    this.#head(`${name}_created`, family.help, "gauge");
    this.text += `${name}_created{engine="0",model_name=${model}} ${this.#created}\n`;
  }

  #head(name: string, help: string, type: string): void {
    this.text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }
}

/** A number as Python's Prometheus client writes it: always with a point, and an exponent from seven digits on. */
function pythonNumber(value: number): string {
  const text = Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
  const point = text.indexOf(".");
  if (point <= 6 || value <= 0) return text;
  const mantissa = `${text.charAt(0)}.${text.slice(1, point)}${text.slice(point + 1)}`.replace(/[0.]+$/, "");
  return `${mantissa}e+0${point - 1}`;
}
