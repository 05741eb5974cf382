// Writes /metrics: every family in the order of a real server's text, one set of lines per engine. On top of the
// recorders; read by scrapers only. It must not change what it reads: a scrape is no event.

import type { EngineApp } from "./app.ts";
import { families } from "./metric-families.ts";
import type { Family } from "./metric-families.ts";
import type { EngineStats } from "../core/index.ts";
import type { HistogramName, MetricsRecorder } from "./metrics.ts";
import { MetricsWriter, pythonNumber } from "./metrics-writer.ts";
import type { Sample } from "./metrics-writer.ts";
import { renderProcess } from "./process-metrics.ts";

export const metricsContentType = "text/plain; version=1.0.0; charset=utf-8";

interface Engine {
  readonly base: string;
  readonly now: EngineStats;
  readonly gauges: EngineStats;
  readonly recorder: MetricsRecorder;
}

/** The whole text. `scrapes` is how many there have been. */
export function renderMetrics(app: EngineApp, scrapes: number): string {
  const model = JSON.stringify(app.model);
  const engines: Engine[] = app.ranks.flatMap(({ metrics }) => {
    const view = metrics.view();
    return view === null ? [] : [{ ...view, recorder: metrics, base: `engine="${metrics.rank}",model_name=${model}` }];
  });
  const created = engines[0]?.recorder.createdSeconds ?? 0;
  const writer = new MetricsWriter(created);
  renderProcess(writer, created, scrapes);
  renderEngine(writer, app, engines);
  renderCounters(writer, app, engines);
  renderHistograms(writer, engines, model);
  renderAdapters(writer, app);
  writer.gauge(
    families.cacheConfigInfo,
    engines.map(({ recorder }) => [cacheConfig(app, recorder.rank), 1]),
  );
  renderHttp(writer, app);
  renderToolParser(writer, app, model);
  return writer.text;
}

function renderEngine(writer: MetricsWriter, app: EngineApp, engines: readonly Engine[]): void {
  const f = families;
  const each = (value: (engine: Engine) => number): Sample[] => engines.map((one) => [one.base, value(one)]);
  const zero = each(() => 0);
  writer.counter(f.estimatedFlopsPerGpuTotal, zero);
  writer.counter(f.estimatedReadBytesPerGpuTotal, zero);
  writer.counter(f.estimatedWriteBytesPerGpuTotal, zero);
  writer.gauge(
    f.numRequestsRunning,
    each(({ gauges }) => gauges.running),
  );
  writer.gauge(
    f.numRequestsWaiting,
    each(({ gauges }) => gauges.waiting),
  );
  writer.gauge(
    f.numRequestsWaitingByReason,
    engines.flatMap(({ base, gauges }): Sample[] => [
      [`${base},reason="capacity"`, gauges.waiting - gauges.deferred],
      [`${base},reason="deferred"`, gauges.deferred],
    ]),
  );
  const level = app.gate.sleepLevel;
  writer.gauge(
    f.engineSleepState,
    engines.flatMap(({ base }): Sample[] => [
      [`${base},sleep_state="awake"`, level === 0 ? 1 : 0],
      [`${base},sleep_state="weights_offloaded"`, level === 1 ? 1 : 0],
      [`${base},sleep_state="discard_all"`, level === 2 ? 1 : 0],
    ]),
  );
  writer.gauge(
    f.kvCacheUsagePerc,
    each(({ gauges }) => gauges.kvBlocksUsed / gauges.kvBlocksTotal),
  );
}

function renderCounters(writer: MetricsWriter, app: EngineApp, engines: readonly Engine[]): void {
  const f = families;
  const each = (value: (stats: EngineStats) => number): Sample[] => engines.map(({ base, now }) => [base, value(now)]);
  const zero = each(() => 0);
  const bySource = (sources: (stats: EngineStats) => Readonly<Record<string, number>>): Sample[] =>
    engines.flatMap(({ base, now }) =>
      Object.entries(sources(now)).map(([source, count]): Sample => [`${base},source="${source}"`, count]),
    );
  writer.counter(
    f.prefixCacheQueriesTotal,
    each((now) => now.queryTokens),
  );
  writer.counter(
    f.prefixCacheHitsTotal,
    each((now) => now.hitTokens),
  );
  writer.counter(
    f.externalPrefixCacheQueriesTotal,
    each((now) => now.externalQueryTokens),
  );
  writer.counter(
    f.externalPrefixCacheHitsTotal,
    each((now) => now.externalHitTokens),
  );
  writer.counter(f.mmCacheQueriesTotal, zero);
  writer.counter(f.mmCacheHitsTotal, zero);
  writer.counter(
    f.numPreemptionsTotal,
    each((now) => now.preemptions),
  );
  writer.counter(
    f.promptTokensTotal,
    each((now) => now.promptTokens),
  );
  writer.counter(
    f.promptTokensBySourceTotal,
    bySource((now) => ({
      local_compute: now.promptTokens - now.cachedPromptTokens,
      local_cache_hit: now.cachedPromptTokens - now.fetchedPromptTokens,
      external_kv_transfer: now.fetchedPromptTokens,
    })),
  );
  writer.counter(
    f.promptTokensCachedTotal,
    each((now) => now.cachedPromptTokens),
  );
  writer.counter(
    f.promptTokensCachedBySourceTotal,
    bySource((now) => ({
      device: now.cachedPromptTokens - now.fetchedPromptTokens,
      host: 0,
      p2p: now.fetchedPromptTokens,
      disk: 0,
      external_unspecified: 0,
    })),
  );
  writer.counter(
    f.generationTokensTotal,
    each((now) => now.generatedTokens),
  );
  const model = JSON.stringify(app.model);
  writer.counter(
    f.requestSuccessTotal,
    engines.flatMap(({ recorder }) =>
      Object.entries(recorder.success).map(([reason, count]): Sample => [
        `engine="${recorder.rank}",finished_reason="${reason}",model_name=${model}`,
        count,
      ]),
    ),
  );
  writer.counter(f.admissionRejectionsTotal, [
    [`model_name=${model},reason="max_num_queued_reqs"`, app.rejected.requests],
    [`model_name=${model},reason="max_num_queued_tokens"`, app.rejected.tokens],
  ]);
}

const histograms: readonly (readonly [Family, HistogramName])[] = [
  [families.requestPromptTokens, "promptTokens"],
  [families.requestGenerationTokens, "generatedTokens"],
  [families.iterationTokensTotal, "iteration"],
  [families.requestMaxNumGenerationTokens, "maxGenerated"],
  [families.requestParamsN, "n"],
  [families.requestParamsMaxTokens, "maxTokens"],
  [families.timeToFirstTokenSeconds, "firstToken"],
  [families.interTokenLatencySeconds, "interToken"],
  [families.requestTimePerOutputTokenSeconds, "perToken"],
  [families.e2eRequestLatencySeconds, "e2e"],
  [families.requestQueueTimeSeconds, "queue"],
  [families.requestInferenceTimeSeconds, "inference"],
  [families.requestPrefillTimeSeconds, "prefill"],
  [families.requestDecodeTimeSeconds, "decode"],
  [families.requestNumPreemptions, "preemptions"],
  [families.requestPrefillKvComputedTokens, "computedTokens"],
];

function renderHistograms(writer: MetricsWriter, engines: readonly Engine[], model: string): void {
  for (const [family, name] of histograms) {
    writer.histogram(
      family,
      engines.map(({ recorder }) => ({
        histogram: recorder.histograms[name],
        labels: (le) => `engine="${recorder.rank}",${le === null ? "" : `le="${le}",`}model_name=${model}`,
      })),
    );
  }
}

/** There is one only on a server with adapters. */
function renderAdapters(writer: MetricsWriter, app: EngineApp): void {
  if (app.adapters.seen.size === 0) return;
  writer.gauge(
    families.loraRequestsInfo,
    [...app.adapters.seen].map(([key, seconds]) => {
      const [running = "", waiting = ""] = JSON.parse(key) as string[];
      const names = `running_lora_adapters="${running}",waiting_lora_adapters="${waiting}"`;
      return [`max_lora="${app.options.maxLoras}",${names}`, seconds];
    }),
  );
}

function renderHttp(writer: MetricsWriter, app: EngineApp): void {
  const f = families;
  const { http } = app;
  writer.counter(f.httpRequestsTotal, [...http.requests]);
  const sizes = (map: typeof http.requestSizes): { labels: string; count: number; sum: number }[] =>
    [...map].map(([handler, entry]) => ({ labels: `handler="${handler}"`, ...entry }));
  writer.summary(f.httpRequestSizeBytes, sizes(http.requestSizes));
  writer.summary(f.httpResponseSizeBytes, sizes(http.responseSizes));
  writer.histogram(f.httpRequestDurationHighrSeconds, [
    { histogram: http.fine, labels: (le) => (le === null ? "" : `le="${le}"`) },
  ]);
  writer.histogram(
    f.httpRequestDurationSeconds,
    [...http.durations.values()].map(({ handler, method, histogram }) => ({
      histogram,
      labels: (le) => `handler="${handler}",${le === null ? "" : `le="${le}",`}method="${method}"`,
    })),
  );
}

/** There is one only on a server with a tool parser. */
function renderToolParser(writer: MetricsWriter, app: EngineApp, model: string): void {
  const counts = app.http.toolParser;
  if (!app.options.enableAutoToolChoice) return;
  const samples: Sample[] = [];
  for (const mode of ["streaming", "non_streaming"]) {
    for (const outcome of ["tool_call", "no_tool_call"]) {
      for (const type of ["chat_completions", "responses", "other"]) {
        const count = type === "chat_completions" ? (counts.get(`${mode}/${outcome}`) ?? 0) : 0;
        samples.push([`mode="${mode}",model_name=${model},outcome="${outcome}",request_type="${type}"`, count]);
      }
    }
  }
  writer.counter(families.toolCallParserInvocationsTotal, samples);
}

function cacheConfig(app: EngineApp, rank: number): string {
  const o = app.options;
  const labels: Record<string, string> = {
    _block_size_resolved: "True",
    block_size: String(o.blockSize),
    cache_dtype: "auto",
    cache_hit_alignment_tokens: "None",
    effective_attention_block_size: String(o.blockSize),
    enable_mamba_shared_prefix_checkpoint: "False",
    enable_prefix_caching: o.enablePrefixCaching ? "True" : "False",
    engine: String(rank),
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
    num_gpu_blocks_override: o.numGpuBlocks === o.preset.kvBlocks ? "None" : String(o.numGpuBlocks),
    prefix_cache_retention_interval: "0",
    prefix_caching_hash_algo: o.prefixCachingHashAlgo,
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
