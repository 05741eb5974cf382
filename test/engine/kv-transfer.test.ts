// Prefill on one engine and decode on another, and the limit on queued prompt tokens: unrecorded, so held to vLLM's source.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { parseKvTransferConfig } from "../../src/engine/api/kv-transfer.ts";
import { startEngine, type EngineOptions, type RunningEngine } from "../../src/engine/serve.ts";
import { until } from "../helpers/until.ts";

const kvTransfer = { kv_connector: "NixlConnector", kv_role: "kv_both", engine_id: null } as const;
/** A prompt token costs what makes computing it tell from fetching it. */
const preset = { id: "slow", b0Us: 1000, b1Us: 100, b2Us: 0, b3Us: 0, kvBlocks: 2048 };

async function engine(t: TestContext, options: EngineOptions): Promise<RunningEngine> {
  const started = await startEngine({ models: ["tiny"], preset, ...options });
  t.after(() => started.close());
  return started;
}

const prompt = Array.from({ length: 100 }, (_, at) => 1000 + at);

interface Body {
  readonly kv_transfer_params: Readonly<Record<string, unknown>> | null;
  readonly usage: { readonly prompt_tokens_details: { readonly cached_tokens: number } };
  readonly choices: readonly { readonly text: string }[];
}

async function complete({ url }: RunningEngine, body: object): Promise<Body> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": "same" },
    body: JSON.stringify({ model: "tiny", prompt, max_tokens: 1, temperature: 0, ...body }),
  });
  assert.equal(response.status, 200);
  return (await response.json()) as Body;
}

async function metric({ url }: RunningEngine, name: string, labels = ""): Promise<number> {
  const line = (await (await fetch(`${url}/metrics`)).text())
    .split("\n")
    .find((one) => one.startsWith(`${name}{`) && one.includes(labels));
  return Number(line?.slice(line.lastIndexOf(" ") + 1));
}

test("what the prefilling engine says makes the decoding one fetch the prompt and not compute it", async (t) => {
  const [prefill, decode] = await Promise.all([engine(t, { kvTransfer }), engine(t, { kvTransfer, seed: 0 })]);
  const first = await complete(prefill, { kv_transfer_params: { do_remote_decode: true, do_remote_prefill: false } });
  const params = first.kv_transfer_params;
  assert.ok(params !== null);
  const { remote_block_ids: blocks, remote_engine_id: id, ...rest } = params;
  assert.deepEqual(rest, {
    do_remote_prefill: true,
    do_remote_decode: false,
    remote_request_id: "cmpl-same-0",
    remote_host: "127.0.0.1",
    remote_port: 5600,
    tp_size: 1,
    dcp_size: 1,
    pp_size: 1,
    remote_num_tokens: 100,
    remote_blocks_expiry_time: null,
    transfer_mode: "pull",
  });
  assert.match(String(id), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
  const [group] = blocks as readonly (readonly number[])[];
  assert.equal(new Set(group).size, 7);

  const whole = await complete(decode, { max_tokens: 8, kv_transfer_params: params });
  assert.equal(whole.usage.prompt_tokens_details.cached_tokens, 99);
  assert.equal(whole.kv_transfer_params, null);
  assert.equal(await metric(decode, "vllm:external_prefix_cache_queries_total"), 100);
  assert.equal(await metric(decode, "vllm:external_prefix_cache_hits_total"), 99);
  assert.equal(await metric(decode, "vllm:prefix_cache_hits_total"), 0);
  assert.equal(await metric(decode, "vllm:prompt_tokens_by_source_total", 'source="external_kv_transfer"'), 99);
  assert.equal(await metric(decode, "vllm:prompt_tokens_by_source_total", 'source="local_compute"'), 1);

  const alone = await complete(await engine(t, {}), { max_tokens: 8 });
  assert.equal(whole.choices[0]?.text, alone.choices[0]?.text);

  const again = await complete(decode, { max_tokens: 8, kv_transfer_params: params });
  assert.equal(again.usage.prompt_tokens_details.cached_tokens, 99, "its own blocks and the fetched rest");
  assert.equal(await metric(decode, "vllm:external_prefix_cache_hits_total"), 99 + 3);
});

test("without a connector, or without the other engine's name, nothing is fetched", async (t) => {
  const plain = await engine(t, {});
  const named = {
    do_remote_prefill: true,
    remote_engine_id: "e",
    remote_request_id: "r",
    remote_host: "h",
    remote_port: 1,
  };
  assert.equal((await complete(plain, { kv_transfer_params: { do_remote_decode: true } })).kv_transfer_params, null);
  const other = await engine(t, {});
  const ignored = await complete(other, { kv_transfer_params: named });
  assert.equal(ignored.usage.prompt_tokens_details.cached_tokens, 0);
  const able = await engine(t, { kvTransfer });
  const nameless = await complete(able, { kv_transfer_params: { do_remote_prefill: true } });
  assert.equal(nameless.usage.prompt_tokens_details.cached_tokens, 0);
});

test("a client that leaves while its prompt is fetched leaves nothing behind", async (t) => {
  const decode = await engine(t, { kvTransfer, preset: { ...preset, transferUs: 10_000_000 } });
  const stop = new AbortController();
  const named = {
    do_remote_prefill: true,
    remote_engine_id: "e",
    remote_request_id: "r",
    remote_host: "h",
    remote_port: 1,
  };
  const request = fetch(`${decode.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", prompt, max_tokens: 1, kv_transfer_params: named }),
    signal: stop.signal,
  });
  await until(() => decode.state().inFlight === 1, "it is in flight");
  stop.abort();
  await assert.rejects(request);
  await until(() => decode.state().inFlight === 0, "it has left");
  const { running, waiting, kvBlocksUsed } = decode.state();
  assert.deepEqual([running, waiting, kvBlocksUsed], [0, 0, 0]);
});

test("--max-num-queued-tokens: prompts without a first token are counted, and the next request gets 503", async (t) => {
  const limited = await engine(t, {
    maxNumQueuedTokens: 100,
    preset: { ...preset, b0Us: 3_600_000_000 },
  });
  const stop = new AbortController();
  const ask = (): Promise<Response> =>
    fetch(`${limited.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "tiny", prompt, max_tokens: 1, stream: true }),
      signal: stop.signal,
    });
  assert.equal((await ask()).status, 200);
  const refused = await ask();
  assert.equal(refused.status, 503);
  assert.match(await refused.text(), /The engine is currently busy/);
  assert.equal(await metric(limited, "vllm:admission_rejections_total", 'reason="max_num_queued_tokens"'), 1);
  assert.equal(await metric(limited, "vllm:admission_rejections_total", 'reason="max_num_queued_reqs"'), 0);
  stop.abort();
});

test("--kv-transfer-config is checked field by field", () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ["{", /^not JSON: /],
    ["[]", /^not a JSON object$/],
    ['{"connector":"x"}', /^connector is no field of it; fields are kv_connector, /],
    ['{"kv_role":"kv_both"}', /^kv_connector is missing: /],
    ['{"kv_connector":"NixlConnector","kv_role":"both"}', /^kv_role must be one of kv_producer, /],
    ['{"kv_connector":"NixlConnector","kv_role":"kv_both","engine_id":1}', /^engine_id must be a string$/],
  ];
  for (const [text, message] of wrong)
    assert.throws(() => parseKvTransferConfig(text), { name: "RangeError", message });
  assert.deepEqual(
    parseKvTransferConfig('{"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_buffer_device":"cuda"}'),
    { kv_connector: "NixlConnector", kv_role: "kv_consumer", engine_id: null },
  );
});
