// /metrics against the digest of a real server's: every family with its type, help, labels and buckets, and values that
// move as the engine does. It must not read the exposition with the code that writes it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import type { RunningEngine } from "../../src/engine/serve.ts";
import { Random } from "../../src/engine/core/index.ts";
import { json, post, request, send, until } from "./support.ts";

interface Family {
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets: readonly string[];
}

const digest = JSON.parse(readFileSync(new URL("fixtures/metrics_digest.json", import.meta.url), "utf8")) as Readonly<
  Record<string, Family>
>;

async function scrape(engine: RunningEngine): Promise<string> {
  return (await send(engine, request("GET", "/metrics"))).response.chunks.join("");
}

/** Families of an exposition in the digest's form; `_created` gauges belong to their family. */
function families(text: string): Map<string, Family> {
  const found = new Map<string, Family>();
  for (const [, name = "", help = ""] of text.matchAll(/^# HELP (\S+) (.*)$/gm)) {
    const type = new RegExp(`^# TYPE ${name} (\\w+)$`, "m").exec(text)?.[1] ?? "";
    const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name}_`));
    const own = lines.filter((line) => /^(_bucket|_count|_sum)?[{ ]/.test(line.slice(name.length)));
    const labels = new Set(own.flatMap((line) => [...line.matchAll(/[{,](\w+)="/g)].map(([, label = ""]) => label)));
    labels.delete("le");
    const buckets = new Set(own.flatMap((line) => /[{,]le="([^"]+)"/.exec(line)?.[1] ?? []));
    found.set(name, { type, help, labels: [...labels].toSorted(), buckets: [...buckets] });
  }
  return found;
}

const value = (text: string, series: string): number => {
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  assert.ok(line !== undefined, `no ${series}`);
  return Number(line.slice(series.length));
};

describe("the exposition", () => {
  let engine: RunningEngine;
  before(async () => {
    engine = await startEngine({ preset: "fast", models: ["tiny"], maxModelLen: 4096, modelRoot: "model/tiny" });
    await post(engine, "/v1/completions", { prompt: "x", max_tokens: 2 });
  });
  after(() => engine.close());

  for (const [name, family] of Object.entries(digest)) {
    it(name, async () => {
      const found = families(await scrape(engine)).get(name);
      assert.deepEqual(found, { ...family, labels: family.labels.toSorted() });
    });
  }

  it("has no family that a real server lacks", async () => {
    const known = new Set([...Object.keys(digest), ...Object.keys(digest).map((name) => `${stem(name)}_created`)]);
    assert.deepEqual(
      [...families(await scrape(engine)).keys()].filter((name) => !known.has(name)),
      [],
    );
  });
});

const stem = (name: string): string => (digest[name]?.type === "counter" ? name.replace(/_total$/, "") : name);

describe("values move as the engine does", () => {
  const label = '{engine="0",model_name="tiny"}';

  it("gauges follow the queue and the cache, and fall when clients leave", async () => {
    const slow = { id: "slow", b0Us: 2000, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 101 };
    const engine = await startEngine({ preset: slow, models: ["tiny"], maxNumSeqs: 4, maxModelLen: 1024 });
    const stop = new AbortController();
    try {
      const body = JSON.stringify({ prompt: [1, 2, 3], max_tokens: 900, ignore_eos: true, stream: true });
      const init = { method: "POST", body, headers: { "content-type": "application/json" }, signal: stop.signal };
      await Promise.all(Array.from({ length: 10 }, () => fetch(`${engine.url}/v1/completions`, init)));
      await until(() => engine.state().running === 4, "four run");
      const tokens = engine.state().generatedTokens;
      await until(() => engine.state().generatedTokens > tokens + 8, "two steps");
      const text = await scrape(engine);
      assert.equal(value(text, `vllm:num_requests_running${label}`), 4);
      assert.equal(value(text, `vllm:num_requests_waiting${label}`), 6);
      const capacity = 'vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"}';
      assert.equal(value(text, capacity), 6);
      assert.ok(value(text, `vllm:kv_cache_usage_perc${label}`) >= 0.04);
      stop.abort();
      await until(() => engine.state().inFlight === 0, "clients are gone");
      const later = await scrape(engine);
      assert.equal(value(later, `vllm:num_requests_running${label}`), 0);
      assert.equal(value(later, `vllm:kv_cache_usage_perc${label}`), 0);
      const aborted = 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"}';
      assert.equal(value(later, aborted), 0, "clients that left are counted nowhere");
    } finally {
      await engine.close();
    }
  });

  it("a cache that is too small preempts, and the histogram says how often", async () => {
    const engine = await startEngine({ preset: "fast", models: ["tiny"], numGpuBlocks: 16, maxModelLen: 240 });
    try {
      const prompts = Array.from({ length: 4 }, (_, at) => Array.from({ length: 40 }, (_x, token) => at * 100 + token));
      const made = prompts.map((prompt) =>
        post(engine, "/v1/completions", { prompt, max_tokens: 60, ignore_eos: true }),
      );
      await Promise.all(made);
      const text = await scrape(engine);
      const preemptions = value(text, `vllm:num_preemptions_total${label}`);
      assert.ok(preemptions > 0);
      assert.equal(value(text, `vllm:request_num_preemptions_sum${label}`), preemptions);
      assert.equal(value(text, `vllm:generation_tokens_total${label}`), 240);
    } finally {
      await engine.close();
    }
  });

  it("HTTP counters know handlers, methods and status classes", async () => {
    const engine = await startEngine({ preset: "fast", models: ["tiny"] });
    try {
      await post(engine, "/v1/completions", { prompt: "x", max_tokens: 1 });
      await post(engine, "/v1/completions", { prompt: "x", max_tokens: -1 });
      await send(engine, request("GET", "/v1/models"));
      await send(engine, request("GET", "/nowhere"));
      await send(engine, request("GET", "/health"));
      await send(engine, request("GET", "/v1/responses/resp_x"));
      const text = await scrape(engine);
      const count = (handler: string, method: string, status: string): number =>
        value(text, `http_requests_total{handler="${handler}",method="${method}",status="${status}"}`);
      assert.equal(count("/v1/completions", "POST", "2xx"), 1);
      assert.equal(count("/v1/completions", "POST", "4xx"), 1);
      assert.equal(count("/v1/models", "GET", "2xx"), 1);
      assert.equal(count("none", "GET", "4xx"), 1);
      assert.equal(count("/v1/responses/{response_id}", "GET", "4xx"), 1);
      assert.ok(!text.includes('handler="/health"'), "probes are not counted");
      assert.equal(value(text, "http_request_duration_highr_seconds_count"), 5);
    } finally {
      await engine.close();
    }
  });

  it("hits are the ideal ones, to the token, and so is cached_tokens of every answer", async () => {
    const engine = await startEngine({ preset: "fast", models: ["tiny"], blockSize: 16 });
    const random = new Random(7);
    const known = new Set<string>();
    let ideal = 0;
    try {
      for (let at = 0; at < 60; at++) {
        // Four stems, cut and continued at random: prefixes of every length are shared.
        const first = 1000 * random.below(4);
        const shared = random.below(200);
        const own = 1 + random.below(60);
        const prompt = [
          ...Array.from({ length: shared }, (_, place) => first + place),
          ...Array.from({ length: own }, () => 10_000 + random.below(100_000)),
        ];
        let blocks = 0;
        while ((blocks + 1) * 16 < prompt.length && known.has(prompt.slice(0, (blocks + 1) * 16).join())) blocks++;
        for (let end = 16; end <= prompt.length; end += 16) known.add(prompt.slice(0, end).join());
        ideal += blocks * 16;
        const made = await post(engine, "/v1/completions", { prompt, max_tokens: 1 });
        const { usage } = json(made.response) as { usage: { prompt_tokens_details: { cached_tokens: number } } };
        assert.equal(usage.prompt_tokens_details.cached_tokens, blocks * 16, `request ${at}`);
      }
      const text = await scrape(engine);
      assert.ok(ideal > 1000);
      assert.equal(value(text, `vllm:prefix_cache_hits_total${label}`), ideal);
      assert.equal(value(text, `vllm:prompt_tokens_cached_total${label}`), ideal);
    } finally {
      await engine.close();
    }
  });

  it("an abort by the server counts, unlike a client that leaves", async () => {
    const slow = { id: "slow", b0Us: 2000, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 101 };
    const engine = await startEngine({ preset: slow, models: ["tiny"], devMode: true });
    try {
      const body = { prompt: "x", max_tokens: 900, ignore_eos: true, request_id: "mine" };
      const running = post(engine, "/v1/completions", body);
      await until(() => engine.state().generatedTokens > 3, "it generates");
      await post(engine, "/abort_requests", { request_ids: ["cmpl-mine-0"] });
      assert.match((await running).response.chunks.join(""), /"finish_reason":"abort"/);
      const aborted = 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"}';
      assert.equal(value(await scrape(engine), aborted), 1);
    } finally {
      await engine.close();
    }
  });

  it("n counts once a prompt, and the longest of its answers", async () => {
    const engine = await startEngine({ preset: "fast", models: ["tiny"] });
    try {
      await post(engine, "/v1/completions", { prompt: ["a", "b"], n: 3, max_tokens: 5, ignore_eos: true });
      const text = await scrape(engine);
      assert.equal(value(text, `vllm:request_params_n_count${label}`), 2);
      assert.equal(value(text, `vllm:request_params_n_sum${label}`), 6);
      assert.equal(value(text, `vllm:request_max_num_generation_tokens_sum${label}`), 10);
      assert.equal(value(text, `vllm:request_generation_tokens_count${label}`), 6);
    } finally {
      await engine.close();
    }
  });
});
