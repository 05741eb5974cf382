// `kvaware` on real sockets against simulated engines: what was predicted is what the engines count, turn after turn, and where
// that can't be, the router goes on and says why.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";

import { loadRouterConfig } from "../../src/config/parse-command.ts";
import { loadModelTokenizer, startEngine, type EngineOptions, type RunningEngine } from "../../src/engine/serve.ts";
import { ChaosProxy } from "../chaos/tcp-proxy.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { startRawEngine, jsonAnswer } from "../helpers/raw-engine.ts";
import { until } from "../helpers/until.ts";

const model = "m";
const blockSize = 16;
const portOf = (endpoint: string | null | undefined): string => /:(\d+)$/.exec(endpoint ?? "")?.[1] ?? "0";

async function startEngines(t: TestContext, count: number, options: EngineOptions = {}): Promise<RunningEngine[]> {
  const kvEvents = {
    enable_kv_cache_events: true,
    endpoint: "tcp://127.0.0.1:*",
    replay_endpoint: "tcp://127.0.0.1:*",
  };
  const settings: EngineOptions = { preset: "fast", blockSize, models: [model], simApi: true, kvEvents, ...options };
  const engines = await Promise.all(Array.from({ length: count }, () => startEngine(settings)));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  return engines;
}

/** Where the events of engines are, as the option takes it. */
const places = (engines: readonly RunningEngine[]): string =>
  engines
    .map(({ kvEvents: [one] }) => (one === undefined ? "off" : `${portOf(one.endpoint)}:${portOf(one.replayEndpoint)}`))
    .join(",");

const kvAware = (urls: string, ...argv: readonly string[]): string[] => {
  return ["--routing-logic", "kvaware", "--static-backends", urls, ...argv];
};

interface Routed {
  readonly router: TestRouter;
  state(index: number): string;
}

/** A router whose limit for tokens holds on a busy machine too. */
async function startKvAware(
  t: TestContext,
  engines: readonly RunningEngine[],
  argv: readonly string[] = [],
): Promise<Routed> {
  const urls = engines.map((engine) => engine.url).join(",");
  const router = await startTestRouter(
    t,
    kvAware(urls, "--static-kv-events", places(engines), "--tokenize-timeout-seconds", "10", ...argv),
  );
  const state = (index: number): string => {
    const { sources } = router.context.kv;
    return sources.stateOf(router.context.registry.list()[index]?.id ?? "");
  };
  const steady = ["exact", "no_events", "off"];
  await until(() => engines.every((_, index) => steady.includes(state(index))), "each engine's events are followed");
  return { router, state };
}

interface Counted {
  readonly prompt: number;
  readonly cached: number;
}

async function ask(router: TestRouter, path: string, body: object): Promise<Counted & { readonly text: string }> {
  const response = await fetch(`${router.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, max_tokens: 24, ...body }),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const answer = JSON.parse(text) as {
    usage: { prompt_tokens: number; prompt_tokens_details?: { cached_tokens?: number } | null };
    choices: { message?: { content: string } }[];
  };
  return {
    prompt: answer.usage.prompt_tokens,
    cached: answer.usage.prompt_tokens_details?.cached_tokens ?? 0,
    text: answer.choices[0]?.message?.content ?? "",
  };
}

const predictions = (router: TestRouter, result: string): number =>
  router.metric(`lmstack_kv_predictions_total{result="${result}"}`);
const lookups = (router: TestRouter, view: string, reason: string): number =>
  router.metric(`lmstack_kv_lookups_total{view="${view}",reason="${reason}"}`);

/** All that was sent has been reported. */
async function settled(router: TestRouter, engines: readonly RunningEngine[]): Promise<void> {
  await router.idle();
  const { kv, registry } = router.context;
  const reported = (): boolean =>
    engines.every((engine, index) => {
      const id = registry.list()[index]?.id ?? "";
      return kv.sources.blocksOf(id) === engine.state().kvBlocksCached;
    });
  await until(reported, "the index holds as many blocks as the engines");
}

const words = (seed: number, count: number): string =>
  Array.from({ length: count }, (_, at) => `w${(seed * 7919 + at * 104_729) % 9973}`).join(" ");

describe("a multi-turn run", () => {
  test("is predicted to the token", async (t) => {
    const engines = await startEngines(t, 3);
    const { router } = await startKvAware(t, engines);
    const system = { role: "system", content: words(1, 80) };
    const sessions = Array.from({ length: 8 }, (_, at) => [system, { role: "user", content: words(at + 2, 40) }]);
    let cached = 0;
    for (let turn = 0; turn < 5; turn++) {
      for (const [at, messages] of sessions.entries()) {
        const answer = await ask(router, "/v1/chat/completions", { messages });
        cached += answer.cached;
        messages.push({ role: "assistant", content: answer.text });
        messages.push({ role: "user", content: words(100 * turn + at, 30) });
        await settled(router, engines);
      }
    }
    assert.ok(cached > 5000, `${cached} tokens were cached`);
    // those before an engine has told of any cached token are not counted
    assert.ok(predictions(router, "equal") >= 32, `${predictions(router, "equal")} of 40`);
    assert.equal(predictions(router, "less") + predictions(router, "more"), 0);
    assert.equal(lookups(router, "exact", "exact"), 40);
  });
});

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, at) => from + at);

/** A request is sent twice, and the second one's cached tokens are as predicted. */
async function repeated(t: TestContext, path: string, body: object, options: EngineOptions = {}): Promise<Counted> {
  const engines = await startEngines(t, 1, options);
  const { router } = await startKvAware(t, engines);
  await ask(router, path, body);
  await settled(router, engines);
  const second = await ask(router, path, body);
  await router.idle();
  assert.ok(second.cached > 0);
  assert.equal(lookups(router, "exact", "exact"), 2);
  assert.equal(predictions(router, "equal"), 1);
  assert.equal(predictions(router, "less") + predictions(router, "more"), 0);
  return second;
}

describe("what is read as tokens and judged by the exact index:", () => {
  const lora = { loraModules: [{ name: "ada", path: "/models/ada" }] };
  const weather = { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } };
  const messages = [{ role: "user", content: words(3, 60) }];
  const cases: Readonly<Record<string, readonly [string, object, EngineOptions?]>> = {
    "a prompt of token ids": ["/v1/completions", { prompt: range(1000, 70) }],
    "a prompt of text": ["/v1/completions", { prompt: words(5, 70) }],
    "a list of one prompt": ["/v1/completions", { prompt: [words(5, 70)] }],
    "a chat": ["/v1/chat/completions", { messages }],
    "a chat with tools": ["/v1/chat/completions", { messages, tools: [weather], tool_choice: "none" }],
    "a chat whose answer goes on": [
      "/v1/chat/completions",
      {
        messages: [...messages, { role: "assistant", content: "Well, " }],
        add_generation_prompt: false,
        continue_final_message: true,
      },
    ],
    "a chat with a salt": ["/v1/chat/completions", { messages, cache_salt: "pepper" }],
    "a chat with an adapter": ["/v1/chat/completions", { messages, model: "ada" }, lora],
    "text in parts": [
      "/v1/chat/completions",
      { messages: [{ role: "user", content: [{ type: "text", text: words(4, 60) }] }] },
    ],
  };
  for (const [what, [path, body, options]] of Object.entries(cases)) {
    test(what, async (t) => {
      const { prompt, cached } = await repeated(t, path, body, options ?? {});
      assert.equal(cached, Math.floor((prompt - 1) / blockSize) * blockSize);
    });
  }

  test("Anthropic's messages, and Responses, where they are plain text", async (t) => {
    const engines = await startEngines(t, 1);
    const { router } = await startKvAware(t, engines);
    const asks: readonly (readonly [string, object])[] = [
      [
        "/v1/messages",
        { max_tokens: 8, system: "You are brief.", messages: [{ role: "user", content: words(3, 60) }] },
      ],
      ["/v1/responses", { max_output_tokens: 8, input: words(4, 60) }],
    ];
    for (const [path, body] of asks) {
      for (let turn = 0; turn < 2; turn++) {
        const response = await fetch(`${router.url}${path}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model, ...body }),
        });
        assert.equal(response.status, 200, await response.text());
        await settled(router, engines);
      }
    }
    assert.equal(lookups(router, "exact", "exact"), 4);
    assert.equal(predictions(router, "less") + predictions(router, "more"), 0);
  });
});

describe("what is not exact goes on as text, and is counted with its reason:", () => {
  const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
  const cases: readonly (readonly [string, string, object, string, number])[] = [
    ["images", "/v1/chat/completions", { messages: [{ role: "user", content: [image] }] }, "images", 400],
    ["several prompts at once", "/v1/completions", { prompt: ["a b c", "d e f"] }, "several_prompts", 200],
    ["an empty list for a prompt", "/v1/completions", { prompt: [] }, "other_shape", 400],
    [
      "a prompt that the engine cuts",
      "/v1/completions",
      { prompt: "a b", truncate_prompt_tokens: 1 },
      "other_shape",
      200,
    ],
  ];
  for (const [what, path, body, reason, status] of cases) {
    test(what, async (t) => {
      const engines = await startEngines(t, 1);
      const { router } = await startKvAware(t, engines);
      const response = await fetch(`${router.url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model, max_tokens: 2, ...body }),
      });
      await response.text();
      assert.equal(response.status, status);
      assert.equal(lookups(router, "approximate", reason), 1);
    });
  }

  test("a prompt without tokens", async (t) => {
    const engines = await startEngines(t, 2);
    const { router } = await startKvAware(t, engines);
    for (const prompt of ["", []]) {
      const response = await fetch(`${router.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model, prompt, max_tokens: 1 }),
      });
      await response.text();
      assert.ok(response.status < 500, `${response.status}`);
    }
  });

  test("an engine without events, beside one that has them", async (t) => {
    const [with_, without] = [
      (await startEngines(t, 1))[0] as RunningEngine,
      await startEngine({ preset: "fast", blockSize, models: [model] }),
    ];
    t.after(() => without.close());
    const urls = `${with_.url},${without.url}`;
    const router = await startTestRouter(
      t,
      kvAware(urls, "--static-kv-events", `${places([with_])},ask`, "--tokenize-timeout-seconds", "10"),
    );
    const { sources } = router.context.kv;
    const ids = router.context.registry.list().map(({ id }) => id);
    await until(
      () => sources.stateOf(ids[1] ?? "") === "no_events" && sources.stateOf(ids[0] ?? "") === "exact",
      "both are known",
    );
    for (let at = 0; at < 12; at++) await ask(router, "/v1/completions", { prompt: range(at * 1000, 40) });
    assert.ok(lookups(router, "exact", "exact") > 0 && lookups(router, "approximate", "no_events") > 0);
    assert.equal(router.metric(`lmstack_kv_event_state{endpoint="${ids[1] ?? ""}",state="no_events"}`), 1);
    const engines = (await (await fetch(`${router.url}/engines`)).json()) as {
      kv_events: { state: string; detail: string };
    }[];
    assert.deepEqual(
      engines.map(({ kv_events }) => kv_events.state),
      ["exact", "no_events"],
    );
    assert.match(engines[1]?.kv_events.detail ?? "", /give it --kv-events-config/);
  });

  test("a tokenizer that answers with an error, or not in time, or with nonsense", async (t) => {
    const answers: Record<string, (write: (text: string) => void) => void> = {
      tokenizer_failed: (write) => write(jsonAnswer({ detail: "no" }, 500)),
      tokenizer_timeout: () => undefined,
    };
    for (const [reason, answer] of Object.entries(answers)) {
      const engine = await startRawEngine(t, {
        handler: ({ target, connection }) => {
          if (target === "/tokenize") answer((text) => connection.write(text));
          else if (target === "/kv_event_sources") connection.write(jsonAnswer({}));
          else connection.write(jsonAnswer({ usage: { prompt_tokens: 5, completion_tokens: 1 } }));
        },
      });
      const limit = reason === "tokenizer_timeout" ? "0.05" : "10";
      const router = await startTestRouter(t, kvAware(engine.url, "--tokenize-timeout-seconds", limit));
      const response = await fetch(`${router.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "test-model", prompt: "a b c" }),
      });
      assert.equal(response.status, 200, await response.text());
      assert.equal(lookups(router, "approximate", reason), 1);
    }
  });
});

/** A tokenizer whose tokens are bytes, with a ChatML template: what the simulated engine and the router read alike. */
function byteTokenizer(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "tokenizer-"));
  t.after(() => rmSync(folder, { recursive: true }));
  // GPT-2's letters for bytes: printable ones stand for themselves, the others come behind
  const printable = [...range(33, 94), ...range(161, 12), ...range(174, 82)];
  const others = range(0, 256).filter((byte) => !printable.includes(byte));
  const letters = new Map([
    ...printable.map((byte) => [byte, byte] as const),
    ...others.map((byte, at) => [byte, 256 + at] as const),
  ]);
  const vocab = Object.fromEntries(range(0, 256).map((byte) => [String.fromCharCode(letters.get(byte) ?? 0), byte]));
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added = ["<|im_start|>", "<|im_end|>"].map((content, at) => ({ id: 256 + at, content, ...special }));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const tokenizer = {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges: [] },
  };
  const chat_template =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ eos_token: "<|im_end|>", chat_template }));
  return folder;
}

describe("a tokenizer in the router", () => {
  test("reads what the engine reads, without asking it", async (t) => {
    const folder = byteTokenizer(t);
    const engines = await startEngines(t, 2, { vocabulary: await loadModelTokenizer(folder), maxModelLen: 8192 });
    const { router } = await startKvAware(t, engines, ["--tokenizers", `${model}:${folder}`]);
    const messages = [
      { role: "system", content: words(1, 100) },
      { role: "user", content: "How are you, ünd was? 你好" },
    ];
    for (let turn = 0; turn < 3; turn++) {
      const { text } = await ask(router, "/v1/chat/completions", { messages });
      messages.push({ role: "assistant", content: text }, { role: "user", content: words(turn, 20) });
      await settled(router, engines);
    }
    await ask(router, "/v1/completions", { prompt: words(9, 50) });
    await router.idle();
    assert.equal(lookups(router, "exact", "exact"), 4);
    assert.ok(predictions(router, "equal") >= 2);
    assert.equal(predictions(router, "less") + predictions(router, "more"), 0);
    const asked = engines.reduce((sum, engine) => sum + engine.state().requests, 0);
    assert.equal(asked, 4);
  });

  test("that fails to load is told of, and prompts are compared as text", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "tokenizer-"));
    t.after(() => rmSync(folder, { recursive: true }));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "tokenizer.json"), "{ this is no tokenizer");
    const engines = await startEngines(t, 1);
    const { router } = await startKvAware(t, engines, ["--tokenizers", `${model}:${folder}`]);
    await ask(router, "/v1/completions", { prompt: "a b c" });
    assert.equal(lookups(router, "approximate", "tokenizer_failed"), 1);
  });

  test("whose folder holds none is a mistake of the command line", () => {
    const argv = ["--static-backends", "http://e:1", "--tokenizers", "m:/nonexistent"];
    assert.throws(
      () => loadRouterConfig(argv, {}),
      /--tokenizers m:\/nonexistent: tokenizer\.json: .*; give the folder of a model/,
    );
  });
});

describe("a policy that changes while the router runs", () => {
  test("begins and ends to follow events", async (t) => {
    const engines = await startEngines(t, 1);
    const { router } = await startKvAware(t, engines);
    const { dynamic } = router.context.config;
    router.running.apply({ ...dynamic, policy: "leastload" }, "2");
    assert.deepEqual([...router.context.kv.sources.endpoints], []);
    assert.equal(router.context.kv.index.blocks, 0);
    await ask(router, "/v1/completions", { prompt: range(0, 64) });
    assert.equal(lookups(router, "exact", "exact"), 0);
    router.running.apply(dynamic, "3");
    await settled(router, engines);
    assert.equal((await ask(router, "/v1/completions", { prompt: range(0, 64) })).cached, 48);
    assert.equal(lookups(router, "exact", "exact"), 1);
  });
});

test("after lost messages, a cut subscription and a restart of the engine it is exact again, and the router goes on", async (t) => {
  const options: EngineOptions = { preset: "fast", blockSize, models: [model], simApi: true };
  const kvEvents = {
    enable_kv_cache_events: true,
    endpoint: "tcp://127.0.0.1:*",
    replay_endpoint: "tcp://127.0.0.1:*",
  };
  let engine = await startEngine({ ...options, kvEvents });
  const { port } = engine;
  t.after(() => engine.close());
  const wires = [engine.kvEvents[0]?.endpoint, engine.kvEvents[0]?.replayEndpoint].map(
    (endpoint) => new ChaosProxy(Number(portOf(endpoint)), () => ({ kind: "pass" })),
  ) as [ChaosProxy, ChaosProxy];
  for (const wire of wires) {
    await wire.listen();
    t.after(() => wire.close());
  }
  const router = await startTestRouter(
    t,
    kvAware(engine.url, "--static-kv-events", `${wires[0].port}:${wires[1].port}`, "--tokenize-timeout-seconds", "10"),
  );
  const { sources } = router.context.kv;
  const [endpoint] = router.context.registry.list();
  const id = endpoint?.id ?? "";
  const exact = (): Promise<void> => until(() => sources.stateOf(id) === "exact", "its events are followed");
  await exact();

  /** Conversations of three turns: all that is predicted comes true. */
  async function converse(seed: number): Promise<void> {
    const [equal, wrong] = [predictions(router, "equal"), predictions(router, "less") + predictions(router, "more")];
    let tokens: readonly number[] = range(seed, 40);
    for (let turn = 0; turn < 3; turn++) {
      await ask(router, "/v1/completions", { prompt: tokens });
      await settled(router, [engine]);
      tokens = [...tokens, ...range(seed + 500 * (turn + 1), 40)];
    }
    assert.equal(predictions(router, "less") + predictions(router, "more"), wrong);
    assert.ok(predictions(router, "equal") >= equal + 2);
  }

  await converse(1000);
  engine.setFault({ fault: "kv_events_lost" });
  await ask(router, "/v1/completions", { prompt: range(50_000, 64) });
  engine.clearFaults();
  await settled(router, [engine]);
  await converse(10_000);

  for (const wire of wires) wire.draw = () => ({ kind: "cut", direction: "down", afterBytes: 0, ending: "reset" });
  for (const wire of wires) wire.cutAll();
  await ask(router, "/v1/completions", { prompt: range(60_000, 64) });
  for (const wire of wires) wire.draw = () => ({ kind: "pass" });
  await settled(router, [engine]);
  await exact();
  await converse(20_000);

  await engine.close();
  engine = await startEngine({ ...options, kvEvents, port });
  wires[0].targetPort = Number(portOf(engine.kvEvents[0]?.endpoint));
  wires[1].targetPort = Number(portOf(engine.kvEvents[0]?.replayEndpoint));
  for (const wire of wires) wire.cutAll();
  await until(() => sources.blocksOf(id) === 0, "nothing of the engine before is left");
  await exact();
  await until(() => endpoint?.breaker.steady === true, "the engine is back");
  await converse(30_000);
});
