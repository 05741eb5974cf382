import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readEngineMetrics } from "../../src/fleet/engine-metrics.ts";
import { startEngine } from "../../src/engine/serve.ts";

const running = 'vllm:num_requests_running{engine="0",model_name="m"} 2.0\n';
const config = (labels: string): string => `${running}vllm:cache_config_info{${labels},engine="0"} 1.0\n`;

test("what a simulated engine tells is read: load, cache, hits, its start", async (t) => {
  const engine = await startEngine({ models: ["m"], preset: "fast", blockSize: 32, numGpuBlocks: 500 });
  t.after(() => engine.close());
  const ask = async (prompt: string): Promise<void> => {
    const body = JSON.stringify({ model: "m", prompt, max_tokens: 3 });
    const headers = { "content-type": "application/json" };
    await (await fetch(`${engine.url}/v1/completions`, { method: "POST", body, headers })).text();
  };
  for (let i = 0; i < 2; i++) await ask("the same long words again and again ".repeat(30));
  const sample = readEngineMetrics(await (await fetch(`${engine.url}/metrics`)).text());
  assert.ok(sample !== null);
  assert.deepEqual([sample.running, sample.waiting, sample.finished, sample.tokenGaps], [0, 0, 2, 4]);
  assert.ok(sample.hitTokens > 0 && sample.hitTokens < sample.queryTokens);
  assert.ok(sample.startedSeconds > 1e9);
  assert.deepEqual(sample.cache, { capacityTokens: 500 * 32, blockTokens: 32, caching: true });
});

test("without cache_config_info the size of the cache is not known, and the rest is read", () => {
  const sample = readEngineMetrics(`${running}vllm:num_requests_waiting{engine="0"} 3\n`);
  assert.equal(sample?.cache, null);
  assert.equal(sample?.waiting, 3);
});

for (const [what, labels, tokens] of [
  ["None", 'num_gpu_blocks="None",block_size="16"', 0],
  ["no number", 'num_gpu_blocks="many",block_size="16"', 0],
  ["below nothing", 'num_gpu_blocks="-4",block_size="16"', 0],
  ["of blocks without a size", 'num_gpu_blocks="100"', 0],
  ["in tokens, where the engine says it", 'num_gpu_blocks="100",block_size="16",kv_cache_size_tokens="1500"', 1500],
  [
    "beside labels that end alike",
    'effective_attention_block_size="7",block_size="16",x_num_gpu_blocks="3",num_gpu_blocks="100"',
    1600,
  ],
] as const) {
  test(`a cache size ${what} is ${tokens} tokens`, () => {
    assert.equal(readEngineMetrics(config(labels))?.cache?.capacityTokens, tokens);
  });
}

test("ranks behind one address are taken together, and an older name beside the newer one counts once", () => {
  const sample = readEngineMetrics(
    `${running}${running.replace('"0"', '"1"')}vllm:kv_cache_usage_perc{engine="0"} 0.2\nvllm:kv_cache_usage_perc{engine="1"} 0.4\nvllm:gpu_cache_usage_perc{engine="0"} 0.9\nvllm:prefix_cache_hits_total{engine="0"} 10\nvllm:gpu_prefix_cache_hits_total{engine="0"} 10\n`,
  );
  assert.equal(sample?.running, 4);
  assert.ok(Math.abs((sample?.kvUsage ?? 0) - 0.3) < 1e-9, String(sample?.kvUsage));
  assert.equal(sample?.hitTokens, 10);
});

test("an engine of another kind, a page of HTML, nothing: no sample", () => {
  for (const text of ["", "<html>", "llamacpp:requests_processing 3\n", "process_start_time_seconds 5\n"]) {
    assert.equal(readEngineMetrics(text), null);
  }
});

test("garbage never throws and never gives a number that is none", () => {
  const pieces = fc.constantFrom(
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
    "vllm:cache_config_info",
    "{",
    "}",
    '"',
    "=",
    "block_size",
    "num_gpu_blocks",
    " ",
    "\n",
    "1",
    "-1",
    "NaN",
    "+Inf",
    "1e400",
    "x",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), (list) => {
      const sample = readEngineMetrics(running + list.join(""));
      assert.ok(sample !== null);
      const { cache, ...numbers } = sample;
      for (const value of Object.values(numbers))
        assert.ok(Number.isFinite(value) && value >= 0, JSON.stringify(sample));
      if (cache !== null) assert.ok(Number.isFinite(cache.capacityTokens) && cache.blockTokens > 0);
    }),
    { numRuns: 2000 },
  );
});
