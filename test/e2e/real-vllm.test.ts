// A real vLLM behind the real program: the same request directly and through `lmstack router`, one at a time, at temperature
// 0. Status, headers and bodies have to be equal, but for ids, times and what the router says it adds.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net, { type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { start } from "../commands/process.ts";
import { ask, masked, toldBy, type Answer, type Request } from "./answers.ts";
import { requireVllm } from "./requires.ts";

const model = "tiny";
const messages = [
  { role: "system", content: "You answer in one short sentence." },
  { role: "user", content: "Name the capital of France. 你好 👋" },
];
const prompt = "The capital of France is";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", description: "Weather of a city", parameters } }];
const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"], additionalProperties: false };

const completion = { model, prompt, max_tokens: 16, temperature: 0 };
const chat = { model, messages, max_tokens: 16, temperature: 0 };
/** vLLM refuses several choices without chance. */
const seeded = { temperature: 0.7, seed: 7 };

/** Sent as they are, and again as streams. */
const generating: Readonly<Record<string, readonly [string, object]>> = {
  "a completion": ["/v1/completions", completion],
  "a completion under its path without /v1": ["/completions", completion],
  "a completion of token ids": ["/v1/completions", { ...completion, prompt: [504, 3575, 282, 4649, 314] }],
  "a completion of several prompts": ["/v1/completions", { ...completion, prompt: [prompt, "One, two,"] }],
  "a completion that echoes its prompt": ["/v1/completions", { ...completion, echo: true }],
  "a completion with log probabilities": ["/v1/completions", { ...completion, logprobs: 2 }],
  "a completion with two choices": ["/v1/completions", { ...completion, ...seeded, n: 2 }],
  "a completion that a stop string ends": ["/v1/completions", { ...completion, max_tokens: 60, stop: ["."] }],
  "a chat": ["/v1/chat/completions", chat],
  "a chat under its other name of the model": ["/v1/chat/completions", { ...chat, model: "tiny-alias" }],
  "a chat with two choices": ["/v1/chat/completions", { ...chat, ...seeded, n: 2 }],
  "a chat with log probabilities": ["/v1/chat/completions", { ...chat, logprobs: true, top_logprobs: 2 }],
  "a chat with token ids": ["/v1/chat/completions", { ...chat, return_token_ids: true }],
  "a chat with a forced tool": ["/v1/chat/completions", { ...chat, max_tokens: 60, tools, tool_choice: "required" }],
  "a chat with tools at will": ["/v1/chat/completions", { ...chat, max_tokens: 24, tools }],
  "a chat bound to a schema": [
    "/v1/chat/completions",
    { ...chat, max_tokens: 30, response_format: { type: "json_schema", json_schema: { name: "n", schema } } },
  ],
  "a response": ["/v1/responses", { model, input: "Name a river.", max_output_tokens: 16, temperature: 0 }],
  "a message": ["/v1/messages", { model, messages: messages.slice(1), max_tokens: 16, temperature: 0 }],
};

const usages: Readonly<Record<string, object>> = {
  "with its usage": { include_usage: true },
  "with its usage in every event": { include_usage: true, continuous_usage_stats: true },
};

const plain: Readonly<Record<string, Request>> = {
  "a count of tokens": { path: "/v1/messages/count_tokens", body: { model, messages: messages.slice(1) } },
  "tokens of a prompt": { path: "/tokenize", body: { model, prompt } },
  "tokens of a chat": { path: "/tokenize", body: { model, messages } },
  "the text of tokens": { path: "/detokenize", body: { model, tokens: [504, 3575, 282] } },
};

/** Refused by the engine; the router passes its words on. */
const refused: Readonly<Record<string, Request>> = {
  "without messages": { path: "/v1/chat/completions", body: { model } },
  "with empty messages": { path: "/v1/chat/completions", body: { model, messages: [] } },
  "with a negative temperature": { path: "/v1/chat/completions", body: { ...chat, temperature: -1 } },
  "with too many tokens": { path: "/v1/completions", body: { ...completion, max_tokens: 1_000_000 } },
  "with no tokens": { path: "/v1/completions", body: { ...completion, max_tokens: 0 } },
  "with a wrong type": { path: "/v1/completions", body: { ...completion, max_tokens: "many" } },
  "with a prompt over the context": { path: "/v1/completions", body: { ...completion, prompt: "word ".repeat(6000) } },
  "with such a prompt, as a stream": {
    path: "/v1/completions",
    body: { ...completion, stream: true, prompt: "word ".repeat(6000) },
  },
  "with stream_options and no stream": {
    path: "/v1/chat/completions",
    body: { ...chat, stream_options: { include_usage: true } },
  },
  "with an unknown tool": {
    path: "/v1/chat/completions",
    body: { ...chat, tools, tool_choice: { type: "function", function: { name: "nope" } } },
  },
  "of Anthropic's kind without max_tokens": { path: "/v1/messages", body: { model, messages: messages.slice(1) } },
  "for embeddings, which this model has not": { path: "/v1/embeddings", body: { model, input: "x" } },
  "for a score, which this model has not": { path: "/v1/score", body: { model, queries: "a", documents: "b" } },
};

interface Two {
  /** Directly; the first of two answers only warms the engine's cache. */
  readonly direct: Answer;
  readonly routed: Answer;
}

async function both(vllm: string, router: string, request: Request): Promise<Two> {
  // one id, so that it is in the body's id on both ways
  const same: Request = { ...request, headers: { "x-request-id": "e2e-same", ...request.headers } };
  // vLLM has no /completions: what it is compared with is the path that it stands for
  const engines: Request = { ...same, path: same.path === "/completions" ? "/v1/completions" : same.path };
  await ask(vllm, engines);
  return { direct: await ask(vllm, engines), routed: await ask(router, same) };
}

function assertEqual({ direct, routed }: Two, status: number): void {
  assert.equal(direct.status, status, direct.text);
  assert.equal(routed.status, status, routed.text);
  // between fields of different names the order means nothing
  assert.deepEqual(routed.headers.toSorted(), direct.headers.toSorted());
  if (direct.contentType.startsWith("text/event-stream")) {
    assert.deepEqual(toldBy(routed.text), toldBy(direct.text));
  } else {
    assert.equal(bodyOf(routed), bodyOf(direct));
  }
}

/** As text, so that the order of the keys counts too. */
function bodyOf({ text }: Answer): string {
  return JSON.stringify(masked(JSON.parse(text) as Parameters<typeof masked>[0]));
}

async function startRouter(t: TestContext, backend: string, ...argv: readonly string[]): Promise<string> {
  const router = start(t, ["router", "--host", "127.0.0.1", "--port", "0", "--static-backends", backend, ...argv]);
  const [, url = ""] = await router.says(/lmstack router listening on (http:\/\/127\.0\.0\.1:\d+)/);
  await router.says(/is ready and serves tiny, tiny-alias/);
  return url;
}

/** Value of a metric; every series of it added up. */
async function metric(origin: string, name: string): Promise<number> {
  const { text } = await ask(origin, { method: "GET", path: "/metrics" });
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

/** Asks a server again until it says what is waited for: each question is a round trip, so it needs no sleep. */
async function untilTold(question: () => Promise<boolean>, what: string, timeoutMs = 15_000): Promise<void> {
  const began = performance.now();
  while (!(await question())) {
    if (performance.now() - began > timeoutMs) throw new Error(`gave up waiting until ${what}`);
  }
}

test("a real vLLM answers through the router as it does directly:", async (t) => {
  const vllm = requireVllm(t);
  if (vllm === null) return;
  const router = await startRouter(t, vllm);
  for (const [what, [path, body]] of Object.entries(generating)) {
    await t.test(what, async () => {
      const two = await both(vllm, router, { path, body });
      assertEqual(two, 200);
      const { usage } = JSON.parse(two.routed.text) as { usage: object };
      assert.ok(Object.keys(usage).length >= 2);
    });
    await t.test(`${what}, as a stream`, async () => {
      const two = await both(vllm, router, { path, body: { ...body, stream: true } });
      assert.match(two.routed.contentType, /^text\/event-stream/);
      assertEqual(two, 200);
      assert.ok(Object.keys(toldBy(two.routed.text).texts).length > 0);
    });
  }
  for (const [what, stream_options] of Object.entries(usages)) {
    for (const [path, body] of [
      ["/v1/completions", completion],
      ["/v1/chat/completions", chat],
    ] as const) {
      await t.test(`a stream of ${path} ${what}`, async () => {
        const two = await both(vllm, router, { path, body: { ...body, stream: true, stream_options } });
        assertEqual(two, 200);
        assert.notEqual(toldBy(two.routed.text).usage, null);
      });
    }
  }
  for (const [what, request] of Object.entries(plain)) {
    await t.test(what, async () => assertEqual(await both(vllm, router, request), 200));
  }
  await t.test("models, each once, with all their fields", async () => {
    const { direct, routed } = await both(vllm, router, { method: "GET", path: "/v1/models" });
    assert.equal(bodyOf(routed), bodyOf(direct));
  });
  for (const [what, request] of Object.entries(refused)) {
    await t.test(`a request ${what}`, async () => {
      const two = await both(vllm, router, request);
      assert.ok(two.direct.status >= 400 && two.direct.status < 500, `${two.direct.status} ${two.direct.text}`);
      assertEqual(two, two.direct.status);
    });
  }

  await t.test("and nothing is in flight afterwards, nothing failed, and tokens were counted", async () => {
    await untilTold(async () => (await metric(router, "lmstack_requests_in_flight")) === 0, "no request is in flight");
    assert.equal(await metric(router, "lmstack_endpoint_in_flight"), 0);
    assert.equal(await metric(router, "lmstack_retries_total"), 0);
    assert.equal(await metric(vllm, "vllm:num_requests_running"), 0);
  });
});

test("a real vLLM reports its load where the router asks for it, in the form that is read, and the client does not see it", async (t) => {
  const vllm = requireVllm(t);
  if (vllm === null) return;
  const router = await startRouter(t, vllm, "--load-reports");
  const answer = await fetch(`${router}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(chat),
  });
  assert.equal(answer.status, 200, await answer.text());
  assert.equal(answer.headers.get("endpoint-load-metrics"), null);
  const { text } = await ask(router, { method: "GET", path: "/metrics" });
  assert.match(text, /^lmstack_load_reports_total\{result="used"\} 1$/m);
  for (const [format, pattern] of [
    ["TEXT", /^TEXT named_metrics\.num_requests_waiting=[0-9.]+, named_metrics\.kv_cache_usage_perc=[0-9.e-]+$/],
    ["JSON", /^JSON \{"named_metrics": \{"num_requests_waiting": [0-9.]+, "kv_cache_usage_perc": [0-9.e-]+\}\}$/],
  ] as const) {
    const direct = await fetch(`${vllm}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "endpoint-load-metrics-format": format },
      body: JSON.stringify(completion),
    });
    assert.equal(direct.status, 200, await direct.text());
    assert.match(direct.headers.get("endpoint-load-metrics") ?? "", pattern, "as the simulator writes it");
  }
});

test("what the router answers itself, a real vLLM would answer alike in status and shape", async (t) => {
  const vllm = requireVllm(t);
  if (vllm === null) return;
  const router = await startRouter(t, vllm);
  const cases: readonly (readonly [Request, number])[] = [
    [{ path: "/v1/chat/completions", body: { ...chat, model: "nope" } }, 404],
    [{ path: "/v1/messages", body: { ...chat, model: "nope" } }, 404],
    [{ path: "/v1/completions", body: '{"model": "tiny", ' }, 400],
    [{ method: "GET", path: "/v1/completions" }, 405],
    [{ method: "GET", path: "/nope" }, 404],
  ];
  for (const [request, status] of cases) {
    const { direct, routed } = await both(vllm, router, request);
    assert.equal(direct.status, status);
    assert.equal(routed.status, status, routed.text);
    const { error } = JSON.parse(routed.text) as { error: { type: string; message: string } };
    assert.ok(error.type.length > 0 && error.message.length > 0);
  }
});

test("a client that leaves in mid-stream frees a real vLLM", async (t) => {
  const vllm = requireVllm(t);
  if (vllm === null) return;
  const router = await startRouter(t, vllm);
  for (const stream of [true, false]) {
    const aborted = await metric(router, "lmstack_requests_total");
    const body = JSON.stringify({ ...chat, max_tokens: 3000, ignore_eos: true, stream });
    const request = http.request(`${router}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    });
    request.on("error", () => undefined); // it is cut by us
    request.end(body);
    if (stream) {
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      response.on("error", () => undefined);
      for (let frames = 0; frames < 3; frames++) await once(response, "data");
    }
    await untilTold(async () => (await metric(vllm, "vllm:num_requests_running")) === 1, "the engine runs it");
    request.destroy();
    const leftMs = performance.now();
    await untilTold(async () => (await metric(vllm, "vllm:num_requests_running")) === 0, "the engine has dropped it");
    t.diagnostic(`${stream ? "stream" : "whole answer"}: free after ${(performance.now() - leftMs).toFixed(0)} ms`);
    const { text } = await ask(vllm, { method: "GET", path: "/load" });
    assert.equal((JSON.parse(text) as { server_load: number }).server_load, 0);
    await untilTold(
      async () => (await metric(router, "lmstack_requests_total")) === aborted + 1,
      "the router has counted it",
    );
    assert.equal(await metric(router, "lmstack_endpoint_in_flight"), 0);
  }
});

test("a stream of a real vLLM whose connection is reset ends with an error frame", async (t) => {
  const vllm = requireVllm(t);
  if (vllm === null) return;
  const wire = await startWire(t, vllm);
  const router = await startRouter(t, wire.url);
  const body = JSON.stringify({ ...chat, max_tokens: 3000, ignore_eos: true, stream: true });
  const response = await fetch(`${router}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  assert.ok(response.body !== null);
  let text = "";
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (text.split("\n\n").length > 4) wire.cut();
  }
  const frames = text.split("\n\n").filter((frame) => frame !== "");
  const { error } = JSON.parse((frames.at(-1) ?? "").replace(/^data: /, "")) as { error: { code: string } };
  assert.equal(error.code, "stream_interrupted");
  assert.doesNotMatch(text, /\[DONE\]/);
  for (const frame of frames) assert.doesNotThrow(() => JSON.parse(frame.replace(/^data: /, "")) as unknown);
  await untilTold(async () => (await metric(vllm, "vllm:num_requests_running")) === 0, "the engine has dropped it");
});

/** A wire to the server that can be cut. */
async function startWire(t: TestContext, target: string): Promise<{ url: string; cut(): void }> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => undefined); // either end may leave
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  t.after(() => {
    server.close();
    cut();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, cut };
}
