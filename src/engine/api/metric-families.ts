// Names, help texts and buckets of vLLM's metrics, in the order of its exposition. Data only; `metrics` fills in the
// values. A name here is a contract with every dashboard: copied from the recordings, never improved.

/** One family as it appears in the text format. */
export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram" | "summary";
  readonly help: string;
}

const family = (type: Family["type"], name: string, help: string): Family => ({ name, type, help });

export const families = {
  estimatedFlopsPerGpuTotal: family(
    "counter",
    "vllm:estimated_flops_per_gpu_total",
    "Estimated number of floating point operations per GPU (for Model Flops Utilization calculations).",
  ),
  estimatedReadBytesPerGpuTotal: family(
    "counter",
    "vllm:estimated_read_bytes_per_gpu_total",
    "Estimated number of bytes read from memory per GPU (for Model Flops Utilization calculations).",
  ),
  estimatedWriteBytesPerGpuTotal: family(
    "counter",
    "vllm:estimated_write_bytes_per_gpu_total",
    "Estimated number of bytes written to memory per GPU (for Model Flops Utilization calculations).",
  ),
  numRequestsRunning: family("gauge", "vllm:num_requests_running", "Number of requests in model execution batches."),
  numRequestsWaiting: family("gauge", "vllm:num_requests_waiting", "Number of requests waiting to be processed."),
  numRequestsWaitingByReason: family(
    "gauge",
    "vllm:num_requests_waiting_by_reason",
    "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals vllm:num_requests_waiting.",
  ),
  engineSleepState: family(
    "gauge",
    "vllm:engine_sleep_state",
    "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
  ),
  kvCacheUsagePerc: family("gauge", "vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage."),
  prefixCacheQueriesTotal: family(
    "counter",
    "vllm:prefix_cache_queries_total",
    "Prefix cache queries, in terms of number of queried tokens.",
  ),
  prefixCacheHitsTotal: family(
    "counter",
    "vllm:prefix_cache_hits_total",
    "Prefix cache hits, in terms of number of cached tokens.",
  ),
  externalPrefixCacheQueriesTotal: family(
    "counter",
    "vllm:external_prefix_cache_queries_total",
    "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens.",
  ),
  externalPrefixCacheHitsTotal: family(
    "counter",
    "vllm:external_prefix_cache_hits_total",
    "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.",
  ),
  mmCacheQueriesTotal: family(
    "counter",
    "vllm:mm_cache_queries_total",
    "Multi-modal cache queries, in terms of number of queried items.",
  ),
  mmCacheHitsTotal: family(
    "counter",
    "vllm:mm_cache_hits_total",
    "Multi-modal cache hits, in terms of number of cached items.",
  ),
  numPreemptionsTotal: family(
    "counter",
    "vllm:num_preemptions_total",
    "Cumulative number of preemption from the engine.",
  ),
  promptTokensTotal: family("counter", "vllm:prompt_tokens_total", "Number of prefill tokens processed."),
  promptTokensBySourceTotal: family(
    "counter",
    "vllm:prompt_tokens_by_source_total",
    "Number of prompt tokens by source.",
  ),
  promptTokensCachedTotal: family(
    "counter",
    "vllm:prompt_tokens_cached_total",
    "Number of cached prompt tokens (local + external).",
  ),
  promptTokensCachedBySourceTotal: family(
    "counter",
    "vllm:prompt_tokens_cached_by_source_total",
    "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
  ),
  generationTokensTotal: family("counter", "vllm:generation_tokens_total", "Number of generation tokens processed."),
  requestSuccessTotal: family("counter", "vllm:request_success_total", "Count of successfully processed requests."),
  admissionRejectionsTotal: family(
    "counter",
    "vllm:admission_rejections_total",
    "Number of admission attempts rejected by a queue limit, by reason.",
  ),
  requestPromptTokens: family("histogram", "vllm:request_prompt_tokens", "Number of prefill tokens processed."),
  requestGenerationTokens: family(
    "histogram",
    "vllm:request_generation_tokens",
    "Number of generation tokens processed.",
  ),
  iterationTokensTotal: family(
    "histogram",
    "vllm:iteration_tokens_total",
    "Histogram of number of tokens per engine_step.",
  ),
  requestMaxNumGenerationTokens: family(
    "histogram",
    "vllm:request_max_num_generation_tokens",
    "Histogram of maximum number of requested generation tokens.",
  ),
  requestParamsN: family("histogram", "vllm:request_params_n", "Histogram of the n request parameter."),
  requestParamsMaxTokens: family(
    "histogram",
    "vllm:request_params_max_tokens",
    "Histogram of the max_tokens request parameter.",
  ),
  timeToFirstTokenSeconds: family(
    "histogram",
    "vllm:time_to_first_token_seconds",
    "Histogram of time to first token in seconds.",
  ),
  interTokenLatencySeconds: family(
    "histogram",
    "vllm:inter_token_latency_seconds",
    "Histogram of inter-token latency in seconds.",
  ),
  requestTimePerOutputTokenSeconds: family(
    "histogram",
    "vllm:request_time_per_output_token_seconds",
    "Histogram of time_per_output_token_seconds per request.",
  ),
  e2eRequestLatencySeconds: family(
    "histogram",
    "vllm:e2e_request_latency_seconds",
    "Histogram of e2e request latency in seconds.",
  ),
  requestQueueTimeSeconds: family(
    "histogram",
    "vllm:request_queue_time_seconds",
    "Histogram of time spent in WAITING phase for request.",
  ),
  requestInferenceTimeSeconds: family(
    "histogram",
    "vllm:request_inference_time_seconds",
    "Histogram of time spent in RUNNING phase for request.",
  ),
  requestPrefillTimeSeconds: family(
    "histogram",
    "vllm:request_prefill_time_seconds",
    "Histogram of time spent in PREFILL phase for request.",
  ),
  requestDecodeTimeSeconds: family(
    "histogram",
    "vllm:request_decode_time_seconds",
    "Histogram of time spent in DECODE phase for request.",
  ),
  requestNumPreemptions: family(
    "histogram",
    "vllm:request_num_preemptions",
    "Histogram of the number of times a request was preempted.",
  ),
  requestPrefillKvComputedTokens: family(
    "histogram",
    "vllm:request_prefill_kv_computed_tokens",
    "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
  ),
  cacheConfigInfo: family("gauge", "vllm:cache_config_info", "Information of the LLMEngine CacheConfig"),
  pythonGcObjectsCollectedTotal: family("counter", "python_gc_objects_collected_total", "Objects collected during gc"),
  pythonGcObjectsUncollectableTotal: family(
    "counter",
    "python_gc_objects_uncollectable_total",
    "Uncollectable objects found during GC",
  ),
  pythonGcCollectionsTotal: family(
    "counter",
    "python_gc_collections_total",
    "Number of times this generation was collected",
  ),
  pythonInfo: family("gauge", "python_info", "Python platform information"),
  processVirtualMemoryBytes: family("gauge", "process_virtual_memory_bytes", "Virtual memory size in bytes."),
  processResidentMemoryBytes: family("gauge", "process_resident_memory_bytes", "Resident memory size in bytes."),
  processStartTimeSeconds: family(
    "gauge",
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
  ),
  processCpuSecondsTotal: family(
    "counter",
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
  ),
  processOpenFds: family("gauge", "process_open_fds", "Number of open file descriptors."),
  processMaxFds: family("gauge", "process_max_fds", "Maximum number of open file descriptors."),
  httpRequestsTotal: family(
    "counter",
    "http_requests_total",
    "Total number of requests by method, status and handler.",
  ),
  httpRequestSizeBytes: family(
    "summary",
    "http_request_size_bytes",
    "Content length of incoming requests by handler. Only value of header is respected. Otherwise ignored. No percentile calculated. ",
  ),
  httpResponseSizeBytes: family(
    "summary",
    "http_response_size_bytes",
    "Content length of outgoing responses by handler. Only value of header is respected. Otherwise ignored. No percentile calculated. ",
  ),
  httpRequestDurationHighrSeconds: family(
    "histogram",
    "http_request_duration_highr_seconds",
    "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations. ",
  ),
  httpRequestDurationSeconds: family(
    "histogram",
    "http_request_duration_seconds",
    "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important. ",
  ),
  toolCallParserInvocationsTotal: family(
    "counter",
    "vllm:tool_call_parser_invocations_total",
    "Total number of ToolParser invocations. Non-streaming increments once per choice; streaming increments once per delta.",
  ),
  loraRequestsInfo: family("gauge", "vllm:lora_requests_info", "Running stats on lora requests."),
} as const;

const requestSeconds = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const tokenSeconds = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const firstTokenSeconds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];

/** 1, 2, 5, 10, ... up to the context length, as vLLM builds it. */
export function tokenBuckets(maxModelLen: number): number[] {
  const buckets: number[] = [];
  for (let decade = 1; ; decade *= 10) {
    for (const step of [1, 2, 5]) {
      if (decade * step > maxModelLen) return buckets;
      buckets.push(decade * step);
    }
  }
}

export const buckets = {
  requestSeconds,
  tokenSeconds,
  firstTokenSeconds,
  iterationTokens: [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384],
  n: [1, 2, 5, 10, 20],
  preemptions: [1, 2, 3, 4, 5, 10, 20],
  httpFineSeconds: [0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60],
  httpSeconds: [0.1, 0.5, 1],
} as const;
