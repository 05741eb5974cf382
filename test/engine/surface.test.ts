// What no recording shows in full: scripts, tool calls by a script, adapters in a queue, ranks, pooling models, a model's
// own tokenizer, and the files that options name.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readAdapters, readFaults, readKvEvents, readScript, readTokenizer } from "../../src/commands/engine-inputs.ts";
import { startEngine } from "../../src/engine/serve.ts";
import type { EngineOptions, RunningEngine } from "../../src/engine/serve.ts";
import { events, json, post, request, send, until } from "./support.ts";

async function withEngine(options: EngineOptions, use: (engine: RunningEngine) => Promise<void>): Promise<void> {
  const engine = await startEngine({ preset: "fast", models: ["tiny"], ...options });
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

interface ChatBody {
  readonly choices: readonly {
    readonly finish_reason: string;
    readonly message: {
      readonly content: string;
      readonly tool_calls?: readonly { readonly function: { readonly name: string; readonly arguments: string } }[];
    };
  }[];
}

describe("a script", () => {
  const script = [
    { pattern: /capital of France/, answer: "Paris.", tool: null },
    { pattern: /weather/, answer: '{"city":"Paris"}', tool: "get_weather" },
  ];
  const tools = [{ type: "function", function: { name: "get_weather", parameters: { type: "object" } } }];
  const ask = (content: string): object => ({ messages: [{ role: "user", content }], max_tokens: 40 });

  it("answers the prompts that match, to the end", () =>
    withEngine({ script }, async (engine) => {
      const { response } = await post(engine, "/v1/chat/completions", ask("What is the capital of France?"));
      const [choice] = (json(response) as ChatBody).choices;
      assert.deepEqual([choice?.message.content, choice?.finish_reason], ["Paris.", "stop"]);
    }));

  it("calls a function that is offered when the model may choose, and only then", () =>
    withEngine({ script }, async (engine) => {
      const called = await post(engine, "/v1/chat/completions", { ...ask("How is the weather?"), tools });
      const [choice] = (json(called.response) as ChatBody).choices;
      assert.equal(choice?.finish_reason, "tool_calls");
      assert.deepEqual(choice?.message.tool_calls?.[0]?.function, {
        name: "get_weather",
        arguments: '{"city":"Paris"}',
      });
      const none = await post(engine, "/v1/chat/completions", {
        ...ask("How is the weather?"),
        tools,
        tool_choice: "none",
      });
      assert.equal((json(none.response) as ChatBody).choices[0]?.message.tool_calls, undefined);
    }));

  it("streams the call as the named one is streamed", () =>
    withEngine({ script }, async (engine) => {
      const { response } = await post(engine, "/v1/chat/completions", { ...ask("weather"), tools, stream: true });
      const parts = events(response)
        .slice(0, -1)
        .map((event) => JSON.parse(event) as StreamPart);
      const pieces = parts.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? []);
      assert.equal(pieces[0]?.function.name, "get_weather");
      assert.equal(pieces.map((piece) => piece.function.arguments ?? "").join(""), '{"city":"Paris"}');
      assert.equal(parts.at(-1)?.choices[0]?.finish_reason, "tool_calls");
    }));
});

interface StreamPart {
  readonly choices: readonly {
    readonly delta: { readonly tool_calls?: readonly { readonly function: { name?: string; arguments?: string } }[] };
    readonly finish_reason: string | null;
  }[];
}

describe("adapters", () => {
  it("beyond --max-loras wait, deferred, while others go on", () =>
    withEngine(
      {
        preset: { id: "slow", b0Us: 2000, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 500 },
        loraModules: [
          { name: "a", path: "/a" },
          { name: "b", path: "/b" },
        ],
      },
      async (engine) => {
        const stop = new AbortController();
        const start = (model: string): Promise<Response> =>
          fetch(`${engine.url}/v1/completions`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ model, prompt: "x", max_tokens: 2000, ignore_eos: true, stream: true }),
            signal: stop.signal,
          });
        // one behind the other: the adapter that comes first is the one that runs
        await start("a");
        await Promise.all([start("b"), start("tiny")]);
        await until(() => engine.state().running === 2 && engine.state().waiting === 1, "one waits");
        // gauges are those of the last step, which may have come before the one that deferred it
        let text = "";
        for (let i = 0; i < 500 && !text.includes('reason="deferred"} 1.0'); i++) {
          text = (await send(engine, request("GET", "/metrics"))).response.chunks.join("");
        }
        assert.match(text, /reason="deferred"\} 1\.0/);
        assert.match(text, /lora_requests_info\{max_lora="1",running_lora_adapters="a",waiting_lora_adapters="b"\}/);
        stop.abort();
        await until(() => engine.state().inFlight === 0, "all are gone");
      },
    ));
});

describe("data-parallel ranks", () => {
  it("share the load, have metrics and caches of their own, and can be asked for", () =>
    withEngine({ dataParallelSize: 2 }, async (engine) => {
      const prompt = Array.from({ length: 64 }, (_, at) => at + 300);
      const ask = (rank: string): Promise<unknown> =>
        post(engine, "/v1/completions", { prompt, max_tokens: 1 }, { "x-data-parallel-rank": rank });
      await ask("1");
      await ask("1");
      await ask("0");
      const text = (await send(engine, request("GET", "/metrics"))).response.chunks.join("");
      assert.match(text, /vllm:prefix_cache_hits_total\{engine="0",model_name="tiny"\} 0\.0/);
      assert.match(text, /vllm:prefix_cache_hits_total\{engine="1",model_name="tiny"\} 48\.0/);
    }));
});

describe("a pooling model", () => {
  it("has its routes and none that generate", () =>
    withEngine({ runner: "pooling" }, async (engine) => {
      const classified = json((await post(engine, "/classify", { input: ["a", "b"] })).response) as {
        data: { probs: number[]; num_classes: number }[];
      };
      assert.equal(classified.data.length, 2);
      assert.ok(classified.data.every(({ probs }) => Math.abs(probs.reduce((a, b) => a + b, 0) - 1) < 1e-9));
      const pooled = json((await post(engine, "/pooling", { input: "a" })).response) as { data: { data: number[] }[] };
      assert.ok(Math.abs(Math.hypot(...(pooled.data[0]?.data ?? [])) - 1) < 1e-5);
      assert.match((await post(engine, "/v1/completions", { prompt: "x" })).response.statusLine, / 404 /);
    }));
});

it("the same seed gives the same answers on another engine, another seed others", async () => {
  const answer = async (seed: number): Promise<string> => {
    const engine = await startEngine({ preset: "fast", models: ["tiny"], seed });
    try {
      const body = { prompt: "Once", max_tokens: 200, ignore_eos: true, return_token_ids: true, stream: true };
      const { response } = await post(engine, "/v1/completions", body, { "x-request-id": "same" });
      return response.chunks.join("").replaceAll(/"created":\d+/g, "");
    } finally {
      await engine.close();
    }
  };
  const [first, again, other] = [await answer(1), await answer(1), await answer(2)];
  assert.equal(again, first);
  assert.notEqual(other, first);
});

it("kv_transfer_params are accepted and come back as null, as without a connector", () =>
  withEngine({}, async (engine) => {
    const { response } = await post(engine, "/v1/completions", {
      prompt: "x",
      max_tokens: 1,
      kv_transfer_params: { do_remote_decode: true },
    });
    assert.equal((json(response) as { kv_transfer_params: unknown }).kv_transfer_params, null);
  }));

describe("a model's own tokenizer", () => {
  it("counts and spells the model's tokens", async () => {
    const folder = mkdtempSync(join(tmpdir(), "lmstack-tokenizer-"));
    try {
      const vocab = { "[UNK]": 0, Hello: 1, world: 2, the: 3 };
      const definition = {
        version: "1.0",
        added_tokens: [
          { id: 4, content: "<|im_end|>", special: true, normalized: false, lstrip: false, rstrip: false },
        ],
        normalizer: null,
        pre_tokenizer: { type: "WhitespaceSplit" },
        post_processor: null,
        decoder: null,
        model: { type: "WordLevel", vocab, unk_token: "[UNK]" },
      };
      writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(definition));
      const vocabulary = await readTokenizer(folder);
      await withEngine({ vocabulary }, async (engine) => {
        const { response } = await post(engine, "/tokenize", { prompt: "Hello world", return_token_strs: true });
        const body = json(response) as { tokens: number[]; token_strs: string[] };
        assert.deepEqual(
          [body.tokens, body.token_strs],
          [
            [1, 2],
            ["Hello", "world"],
          ],
        );
        const made = await post(engine, "/v1/completions", { prompt: "Hello world", max_tokens: 3, ignore_eos: true });
        assert.equal((json(made.response) as { usage: { prompt_tokens: number } }).usage.prompt_tokens, 2);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("makes prompts by the model's own template, and passes its refusals on", async () => {
    const folder = mkdtempSync(join(tmpdir(), "lmstack-template-"));
    try {
      const vocab = { "[UNK]": 0, SYS: 1, user: 2, assistant: 3, hi: 4, f: 5, "1": 6, loud: 7, END: 8 };
      const definition = {
        version: "1.0",
        added_tokens: [],
        normalizer: null,
        pre_tokenizer: { type: "WhitespaceSplit" },
        post_processor: null,
        decoder: null,
        model: { type: "WordLevel", vocab, unk_token: "[UNK]" },
      };
      const template =
        "SYS {% if mood %}{{ mood }} {% endif %}{% for t in tools or [] %}{{ t.function.name }} {% endfor %}" +
        "{% for m in messages %}{% if m.role == 'judge' %}{{ raise_exception('no judges here') }}{% endif %}{{ m.role }} " +
        "{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments.n }} {% endfor %}" +
        "{{ m.content }} {{ eos_token }} {% endfor %}{% if add_generation_prompt %}assistant {% endif %}";
      writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(definition));
      const config = { eos_token: { content: "END" }, chat_template: [{ name: "default", template }] };
      writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
      const vocabulary = await readTokenizer(folder);
      await withEngine({ vocabulary }, async (engine) => {
        const tokens = async (body: object): Promise<unknown> =>
          (json((await post(engine, "/tokenize", body)).response) as { tokens: unknown }).tokens;
        const messages = [{ role: "user", content: "hi" }];
        assert.deepEqual(await tokens({ messages }), [1, 2, 4, 8, 3]);
        assert.deepEqual(await tokens({ messages, chat_template_kwargs: { mood: "loud" } }), [1, 7, 2, 4, 8, 3]);
        const begun = [...messages, { role: "assistant", content: "hi" }];
        const resumed = { messages: begun, add_generation_prompt: false, continue_final_message: true };
        assert.deepEqual(await tokens(resumed), [1, 2, 4, 8, 3, 4]);
        const called = { type: "function", id: "c", function: { name: "f", arguments: '{"n":1}' } };
        const tools = [{ type: "function", function: { name: "f" } }];
        const withCall = { messages: [{ role: "assistant", tool_calls: [called] }], tools };
        assert.deepEqual(await tokens(withCall), [1, 5, 3, 5, 6, 8, 3]);
        const asked = await post(engine, "/v1/chat/completions", { messages, max_tokens: 1 });
        assert.equal((json(asked.response) as { usage: { prompt_tokens: number } }).usage.prompt_tokens, 5);
        const refused = await post(engine, "/v1/chat/completions", { messages: [{ role: "judge", content: "hi" }] });
        assert.match(refused.response.statusLine, / 400 /);
        assert.match(refused.response.chunks.join(""), /no judges here/);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("says what to give when there is none", async () => {
    await assert.rejects(readTokenizer(join(tmpdir(), "no-such-model")), /holds no tokenizer\.json/);
  });
});

describe("what options name", () => {
  const file = (text: string): { read(): string } => ({ read: () => text });

  it("a script is a list of patterns and answers", () => {
    const [line] = readScript("s.json", file('[{"pattern":"a+","answer":"b"}]'));
    assert.deepEqual([line?.pattern.source, line?.answer, line?.tool], ["a+", "b", null]);
    assert.throws(() => readScript("s.json", file("{}")), /--script s\.json: not a list/);
    assert.throws(() => readScript("s.json", file('[{"pattern":"("  ,"answer":""}]')), /entry 1/);
    assert.throws(() => readScript("s.json", file('[{"pattern":"a"}]')), /no answer/);
  });

  it("adapters, faults and KV events are checked", () => {
    assert.deepEqual(readAdapters(["a=/x=y"]), [{ name: "a", path: "/x=y" }]);
    assert.throws(() => readAdapters(["a"]), /--lora-modules a/);
    assert.deepEqual(readFaults(["cut_mid_stream:reset:5"]), [{ fault: "cut_mid_stream", variant: "reset", after: 5 }]);
    assert.throws(() => readFaults(["nonsense"]), /--fault nonsense/);
    assert.throws(() => readKvEvents("x"), /--kv-events-config: not JSON/);
  });
});
