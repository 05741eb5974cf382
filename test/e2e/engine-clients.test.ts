// The simulator against vLLM's own clients, without a server of vLLM: its event classes and hash functions read KV events,
// and its benchmark runs to the end. Needs the Python environment that the full tier's vLLM lives in.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadModelTokenizer, startEngine } from "../../src/engine/serve.ts";
import type { RunningEngine } from "../../src/engine/serve.ts";

const run = promisify(execFile);
const folder = join(process.env["LMSTACK_CACHE"] ?? join(homedir(), ".cache/lmstack"), "vllm");
const timeout = 240_000;
const offline = { ...process.env, HF_HUB_OFFLINE: "1", VLLM_NO_USAGE_STATS: "1", DO_NOT_TRACK: "1" };

/** A program of the environment; null when the test was skipped. */
function requireProgram(t: TestContext, name: string): string | null {
  const path = join(folder, "venv/bin", name);
  if (existsSync(path)) return path;
  const without = (process.env["LMSTACK_E2E_WITHOUT"] ?? "").split(",").map((one) => one.trim());
  const message = `${path} is missing: npm run e2e installs vLLM where its setup script is at hand`;
  if (process.env["CI"] === "true" && !without.includes("vllm")) throw new Error(message);
  t.skip(message);
  return null;
}

async function generate(engine: RunningEngine, body: object): Promise<void> {
  const response = await fetch(`${engine.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ max_tokens: 40, ignore_eos: true, ...body }),
  });
  assert.equal(response.status, 200, await response.text());
}

const range = (from: number, length: number): number[] => Array.from({ length }, (_, at) => from + at);

for (const prefixCachingHashAlgo of ["sha256", "sha256_cbor"] as const) {
  test(`KV events decode into vLLM's classes, and its functions make the same hashes (${prefixCachingHashAlgo})`, async (t) => {
    const python = requireProgram(t, "python");
    if (python === null) return;
    const engine = await startEngine({
      models: ["tiny"],
      preset: "fast",
      blockSize: 16,
      numGpuBlocks: 48,
      devMode: true,
      prefixCachingHashAlgo,
      loraModules: [{ name: "adapter", path: "/models/adapter" }],
      kvEvents: {
        enable_kv_cache_events: true,
        endpoint: "tcp://127.0.0.1:*",
        replay_endpoint: "tcp://127.0.0.1:*",
        topic: "kv@tiny",
      },
    });
    try {
      await generate(engine, { prompt: range(100, 300) });
      await generate(engine, { prompt: range(100, 300), cache_salt: "salt" });
      await generate(engine, { prompt: range(100, 300), model: "adapter", cache_salt: "salt" });
      await generate(engine, { prompt: range(70_000, 400) });
      await fetch(`${engine.url}/reset_prefix_cache`, { method: "POST" });
      await generate(engine, {
        prompt: "words of a text, as many as fill a block or two of sixteen tokens each, and more",
      });
      const script = fileURLToPath(new URL("fixtures/read_kv_events.py", import.meta.url));
      const endpoint = engine.kvEvents[0]?.replayEndpoint ?? "";
      const args = [script, endpoint, prefixCachingHashAlgo, "adapter=/models/adapter"];
      const { stdout } = await run(python, args, { timeout, env: offline });
      const counts = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Readonly<Record<string, unknown>>;
      assert.equal(counts["wrong"], 0);
      assert.equal(counts["cleared"], 1);
      assert.deepEqual(counts["ranks"], [0]);
      assert.ok(Number(counts["stored"]) > 80 && Number(counts["removed"]) > 30, stdout);
    } finally {
      await engine.close();
    }
  });
}

test("vllm bench serve runs to the end and counts what it asked for", async (t) => {
  const vllm = requireProgram(t, "vllm");
  const model = join(folder, "model/tiny");
  if (vllm === null) return;
  if (!existsSync(join(model, "tokenizer.json"))) {
    t.skip(`${model} is missing`);
    return;
  }
  const vocabulary = await loadModelTokenizer(model);
  const engine = await startEngine({ models: ["tiny"], preset: "fast", maxModelLen: 4096, vocabulary });
  try {
    const sizes = ["--random-input-len", "64", "--random-output-len", "32", "--num-prompts", "20"];
    for (const [backend, endpoint] of [
      ["openai", "/v1/completions"],
      ["openai-chat", "/v1/chat/completions"],
    ] as const) {
      const target = ["--backend", backend, "--base-url", engine.url, "--endpoint", endpoint, "--ignore-eos"];
      const names = ["--model", "tiny", "--tokenizer", model, "--dataset-name", "random"];
      const { stdout } = await run(vllm, ["bench", "serve", ...target, ...names, ...sizes], { timeout, env: offline });
      assert.match(stdout, /Successful requests:\s+20\b/);
      assert.match(stdout, /Failed requests:\s+0\b/);
      assert.match(stdout, /Total generated tokens:\s+640\b/);
    }
  } finally {
    await engine.close();
  }
});
