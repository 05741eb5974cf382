// What an engine says of itself on `/metrics`, as far as choosing one needs it. Names of vLLM's, with those of older versions
// as fall-backs; several engines behind one address (data-parallel ranks) are taken together. Whatever is missing or is no
// number is left out: an engine may say anything, or nothing.

export interface EngineSample {
  readonly running: number;
  readonly waiting: number;
  /** Share of the KV blocks in use, 0 to 1. */
  readonly kvUsage: number;
  /** Prompt tokens looked up in the prefix cache and found there, since its start. */
  readonly queryTokens: number;
  readonly hitTokens: number;
  /** Requests that it has finished. */
  readonly finished: number;
  /** Time between two tokens of a stream, summed, and how often. */
  readonly tokenGapSeconds: number;
  readonly tokenGaps: number;
  /** Start of its process, Unix time; 0 = it does not say. */
  readonly startedSeconds: number;
  /** null = it does not say. */
  readonly cache: { readonly capacityTokens: number; readonly blockTokens: number; readonly caching: boolean } | null;
}

type Sum = Exclude<keyof EngineSample, "cache">;

/** Name -> what it adds to. */
const sums: ReadonlyMap<string, Sum> = new Map([
  ["vllm:num_requests_running", "running"],
  ["vllm:num_requests_waiting", "waiting"],
  ["vllm:kv_cache_usage_perc", "kvUsage"],
  ["vllm:gpu_cache_usage_perc", "kvUsage"],
  ["vllm:prefix_cache_queries_total", "queryTokens"],
  ["vllm:gpu_prefix_cache_queries_total", "queryTokens"],
  ["vllm:prefix_cache_hits_total", "hitTokens"],
  ["vllm:gpu_prefix_cache_hits_total", "hitTokens"],
  ["vllm:request_success_total", "finished"],
  ["vllm:inter_token_latency_seconds_sum", "tokenGapSeconds"],
  ["vllm:time_per_output_token_seconds_sum", "tokenGapSeconds"],
  ["vllm:inter_token_latency_seconds_count", "tokenGaps"],
  ["vllm:time_per_output_token_seconds_count", "tokenGaps"],
  ["process_start_time_seconds", "startedSeconds"],
]);
/** An engine that still has the old name beside the new one must not count twice. */
const replaced = new Map([
  ["vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"],
  ["vllm:gpu_prefix_cache_queries_total", "vllm:prefix_cache_queries_total"],
  ["vllm:gpu_prefix_cache_hits_total", "vllm:prefix_cache_hits_total"],
  ["vllm:time_per_output_token_seconds_sum", "vllm:inter_token_latency_seconds_sum"],
  ["vllm:time_per_output_token_seconds_count", "vllm:inter_token_latency_seconds_count"],
]);

/** @returns null when it is not the metrics of such an engine */
export function readEngineMetrics(text: string): EngineSample | null {
  const found: Record<Sum, number> = {
    running: 0,
    waiting: 0,
    kvUsage: 0,
    queryTokens: 0,
    hitTokens: 0,
    finished: 0,
    tokenGapSeconds: 0,
    tokenGaps: 0,
    startedSeconds: 0,
  };
  const seen = new Map<string, number>();
  /** How often a share of blocks is told, by name. */
  const ranks = new Map<string, number>();
  let capacityTokens = 0;
  let blockTokens = 0;
  let caching = true;
  let configured = false;
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at);
    const stop = end < 0 ? text.length : end;
    // v(llm:...) and p(rocess_...)
    const first = text.charCodeAt(at);
    if (first === 0x76 || first === 0x70) {
      const line = text.slice(at, stop);
      const name = line.slice(0, line.search(/[{ ]/));
      const sum = sums.get(name);
      if (sum !== undefined) {
        const value = Number(line.slice(line.lastIndexOf(" ") + 1));
        if (Number.isFinite(value) && value >= 0) {
          found[sum] += value;
          seen.set(name, (seen.get(name) ?? 0) + value);
          if (sum === "kvUsage") ranks.set(name, (ranks.get(name) ?? 0) + 1);
        }
      } else if (name === "vllm:cache_config_info") {
        configured = true;
        const block = numberOf(line, "block_size");
        capacityTokens += numberOf(line, "kv_cache_size_tokens") || numberOf(line, "num_gpu_blocks") * block;
        blockTokens = Math.max(blockTokens, block);
        if (line.includes('enable_prefix_caching="False"')) caching = false;
      }
    }
    at = stop + 1;
  }
  if (!seen.has("vllm:num_requests_running")) return null;
  for (const [older, newer] of replaced) {
    const sum = sums.get(older);
    const extra = seen.get(older);
    if (sum !== undefined && extra !== undefined && seen.has(newer)) found[sum] -= extra;
  }
  const shares = ranks.get("vllm:kv_cache_usage_perc") ?? ranks.get("vllm:gpu_cache_usage_perc") ?? 1;
  const kvUsage = Math.min(1, found.kvUsage / shares);
  const cache = configured ? { capacityTokens, blockTokens: blockTokens || 16, caching } : null;
  return { ...found, kvUsage, cache };
}

function numberOf(line: string, label: string): number {
  const at = line.indexOf(`${label}="`);
  // the end of another label's name, `effective_attention_block_size` say
  if (at > 0 && line[at - 1] !== "{" && line[at - 1] !== ",") return numberOf(line.slice(at + label.length), label);
  if (at < 0) return 0;
  const from = at + label.length + 2;
  const value = Number(line.slice(from, line.indexOf('"', from)));
  return Number.isFinite(value) && value > 0 ? value : 0;
}
