// One engine on real sockets: clients that leave, shutdown, limits, text, and the routes that no recording covers.

import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, it } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import type { RunningEngine } from "../../src/engine/serve.ts";
import { events, json, post, request, send, until } from "./support.ts";

let engine: RunningEngine;

before(async () => {
  engine = await startEngine({ preset: "fast", models: ["tiny"], simApi: true });
});

after(() => engine.close());

const long = { prompt: "Once upon a time", max_tokens: 20_000, ignore_eos: true, stream: true };

interface CompletionBody {
  readonly choices: readonly { readonly text: string; readonly finish_reason: string; readonly stop_reason: unknown }[];
  readonly usage: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details: { readonly cached_tokens: number } | null;
  };
}

async function complete(body: Record<string, unknown>): Promise<CompletionBody> {
  const { response } = await post(engine, "/v1/completions", body);
  assert.equal(response.statusLine, "HTTP/1.1 200 OK", response.chunks.join(""));
  return json(response) as CompletionBody;
}

describe("a client that leaves", () => {
  const leave: Record<string, (socket: net.Socket) => void> = {
    closes: (socket) => socket.destroy(),
    resets: (socket) => socket.resetAndDestroy(),
    "half-closes": (socket) => socket.end(),
  };
  for (const [how, act] of Object.entries(leave)) {
    for (const stream of [true, false]) {
      it(`${how} ${stream ? "in mid-stream" : "while it waits"}: the sequence ends and is counted as aborted`, async () => {
        const { aborted } = engine.state();
        const socket = net.connect(engine.port, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.write(request("POST", "/v1/completions", { ...long, stream }));
        await until(() => engine.state().running === 1, "it runs");
        act(socket);
        await until(() => engine.state().aborted === aborted + 1, "the abort is seen");
        const state = engine.state();
        assert.equal(state.running, 0);
        assert.equal(state.kvBlocksUsed, 0);
        await until(() => engine.state().inFlight === 0, "the exchange is over");
        socket.destroy();
      });
    }
  }
});

describe("text", () => {
  it("is the same for the same prompt and seed, and another for another", async () => {
    const body = { prompt: "Tell me a story", max_tokens: 30 };
    const [first, again, other] = [await complete(body), await complete(body), await complete({ ...body, seed: 2 })];
    assert.equal(first.choices[0]?.text, again.choices[0]?.text);
    assert.notEqual(first.choices[0]?.text, other.choices[0]?.text);
  });

  it("is cut before a stop string, in a stream as in a body", async () => {
    const body = { prompt: "Tell me a story", max_tokens: 60 };
    const text = (await complete(body)).choices[0]?.text ?? "";
    const stop = text.slice(40, 47);
    const stopped = await complete({ ...body, stop: [stop] });
    assert.equal(stopped.choices[0]?.text, text.slice(0, text.indexOf(stop)));
    assert.equal(stopped.choices[0]?.finish_reason, "stop");
    assert.equal(stopped.choices[0]?.stop_reason, stop);
    const { response } = await post(engine, "/v1/completions", { ...body, stop: [stop], stream: true });
    const pieces = events(response)
      .filter((event) => event !== "[DONE]")
      .map((event) => (JSON.parse(event) as CompletionBody).choices[0]?.text ?? "");
    assert.equal(pieces.join(""), text.slice(0, text.indexOf(stop)));
  });

  it("has 16 tokens by default and ends by itself without a limit", async () => {
    assert.equal((await complete({ prompt: "Hello", ignore_eos: true })).usage.completion_tokens, 16);
    const free = await complete({ prompt: "Hello", max_tokens: null });
    assert.equal(free.choices[0]?.finish_reason, "stop");
    assert.equal(free.choices[0].stop_reason, null);
  });

  it("is cut at the context length when prompt and max_tokens exceed it together", async () => {
    const small = await startEngine({ preset: "fast", maxModelLen: 64 });
    try {
      const prompt = Array.from({ length: 50 }, (_, at) => 300 + at);
      const { response } = await post(small, "/v1/completions", { prompt, max_tokens: 40, ignore_eos: true });
      assert.equal((json(response) as CompletionBody).usage.completion_tokens, 14);
    } finally {
      await small.close();
    }
  });
});

describe("usage", () => {
  it("counts cached tokens in whole blocks", async () => {
    const prompt = Array.from({ length: 70 }, (_, at) => 4000 + at);
    const first = await complete({ prompt, max_tokens: 1 });
    const second = await complete({ prompt, max_tokens: 1 });
    assert.equal(first.usage.prompt_tokens_details?.cached_tokens, 0);
    assert.equal(second.usage.prompt_tokens_details?.cached_tokens, 64);
  });
});

describe("shutdown", () => {
  it("ends streams and bodies with finish_reason abort and then refuses connections", async () => {
    const own = await startEngine();
    const streaming = post(own, "/v1/completions", long);
    const plain = post(own, "/v1/completions", { ...long, stream: false });
    await until(() => own.state().running === 2, "both run");
    await own.close();
    const { response } = await streaming;
    assert.ok(response.complete);
    assert.match(events(response).at(-2) ?? "", /"finish_reason":"abort"/);
    assert.equal(events(response).at(-1), "[DONE]");
    assert.equal((json((await plain).response) as CompletionBody).choices[0]?.finish_reason, "abort");
    assert.equal((await send(own, request("GET", "/health"))).end, "refused");
  });
});

describe("connections", () => {
  it("answers pipelined requests in order", async () => {
    const one = request("POST", "/v1/completions", { prompt: "a", max_tokens: 3, stream: true });
    const two = request("GET", "/version", undefined, { connection: "close" });
    const socket = net.connect(engine.port, "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (data: string) => (text += data));
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.write(one + two);
    await closed;
    assert.ok(text.indexOf("[DONE]") > 0);
    assert.ok(text.indexOf('{"version"') > text.indexOf("[DONE]"));
    assert.match(text, /0\r\n\r\nHTTP\/1\.1 200 OK/);
  });

  it("takes two requests with the same id at once", async () => {
    const headers = { "x-request-id": "twice" };
    const [one, two] = await Promise.all([
      post(engine, "/v1/completions", { prompt: "a", max_tokens: 2 }, headers),
      post(engine, "/v1/completions", { prompt: "b", max_tokens: 2 }, headers),
    ]);
    assert.match(one.response.chunks.join(""), /"id":"cmpl-twice"/);
    assert.match(two.response.chunks.join(""), /"id":"cmpl-twice"/);
  });
});

describe("routes that no recording covers", () => {
  interface Embeddings {
    readonly data: readonly { readonly embedding: number[] | string }[];
  }

  it("embeddings are unit vectors, the same for the same text, in both formats", async () => {
    const body = { input: ["the quick fox", "the quick fox", "unrelated"] };
    const { data } = json((await post(engine, "/v1/embeddings", body)).response) as Embeddings;
    const [a, b] = data.map((entry) => entry.embedding as number[]);
    assert.deepEqual(a, b);
    assert.ok(Math.abs(Math.hypot(...(a ?? [])) - 1) < 1e-6);
    const packed = json(
      (await post(engine, "/v1/embeddings", { ...body, encoding_format: "base64" })).response,
    ) as Embeddings;
    const bytes = Buffer.from(packed.data[0]?.embedding as string, "base64");
    assert.deepEqual([...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)], a);
  });

  it("rerank puts the document that shares the words first", async () => {
    const body = {
      query: "capital of France",
      documents: ["bread and salt", "Paris is the capital of France"],
      top_n: 1,
    };
    const { results } = json((await post(engine, "/v1/rerank", body)).response) as { results: { index: number }[] };
    assert.deepEqual(
      results.map((result) => result.index),
      [1],
    );
  });

  it("score compares one text with many", async () => {
    const body = { text_1: "a b", text_2: ["a b", "c"] };
    const { data } = json((await post(engine, "/score", body)).response) as { data: { score: number }[] };
    assert.ok((data[0]?.score ?? 0) > (data[1]?.score ?? 1));
  });

  it("transcriptions take an upload and give a text", async () => {
    const body =
      '--xx\r\ncontent-disposition: form-data; name="model"\r\n\r\ntiny\r\n' +
      '--xx\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF....\r\n--xx--\r\n';
    const head =
      "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=xx\r\n" +
      `content-length: ${body.length}\r\n\r\n`;
    const { response } = await send(engine, head + body);
    assert.equal(typeof (json(response) as { text: string }).text, "string");
  });

  it("detokenize gives back what tokenize took", async () => {
    const prompt = 'Grüße, 世界 🚀 — don’t  panic\n\n42 theatre\t{"a": [1]}';
    const { tokens } = json((await post(engine, "/tokenize", { prompt })).response) as { tokens: number[] };
    const back = json((await post(engine, "/detokenize", { tokens })).response);
    assert.deepEqual(back, { prompt });
  });

  it("a stored response can be read again and continued", async () => {
    const made = await post(engine, "/v1/responses", { input: "Hi", max_output_tokens: 4 });
    const { id } = json(made.response) as { id: string };
    const read = await send(engine, request("GET", `/v1/responses/${id}`));
    assert.deepEqual(json(read.response), json(made.response));
    const next = { input: "More", previous_response_id: id, max_output_tokens: 4 };
    assert.equal((await post(engine, "/v1/responses", next)).response.statusLine, "HTTP/1.1 200 OK");
  });
});

describe("metrics", () => {
  it("follow what the engine did, in the text format", async () => {
    const own = await startEngine({ preset: "fast", models: ["tiny"] });
    try {
      const prompt = Array.from({ length: 40 }, (_, at) => 300 + at);
      for (let at = 0; at < 2; at++) await post(own, "/v1/completions", { prompt, max_tokens: 5, ignore_eos: true });
      const { response } = await send(own, request("GET", "/metrics"));
      const text = response.chunks.join("");
      assert.equal(
        response.headers.find(([name]) => name === "content-type")?.[1],
        "text/plain; version=1.0.0; charset=utf-8",
      );
      const label = '{engine="0",model_name="tiny"}';
      for (const line of [
        `vllm:num_requests_running${label} 0.0`,
        `vllm:kv_cache_usage_perc${label} 0.0`,
        `vllm:prefix_cache_queries_total${label} 80.0`,
        `vllm:prefix_cache_hits_total${label} 32.0`,
        `vllm:prompt_tokens_total${label} 80.0`,
        `vllm:generation_tokens_total${label} 10.0`,
        'vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"} 2.0',
        `vllm:time_to_first_token_seconds_count${label} 2.0`,
        `vllm:inter_token_latency_seconds_count${label} 8.0`,
        'vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="tiny"} 2.0',
      ]) {
        assert.ok(text.includes(`\n${line}\n`), `missing: ${line}`);
      }
    } finally {
      await own.close();
    }
  });
});
