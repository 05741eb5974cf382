// Prefix-aware routing through its real surface: which engine gets which prompt, and who waits in the router meanwhile.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { RawClient, post, rawRequest } from "../helpers/http-client.ts";
import { startRawEngine, wholeStream, type RawEngine, type RawRequest } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

const model = "test-model";

async function fleet(
  t: TestContext,
  count: number,
  ...argv: string[]
): Promise<{ engines: RawEngine[]; router: TestRouter }> {
  const engines = await Promise.all(Array.from({ length: count }, () => startRawEngine(t)));
  const router = await startTestRouter(t, [
    "--static-backends",
    engines.map((engine) => engine.url).join(","),
    ...argv,
  ]);
  return { engines, router };
}

const words = (count: number, salt: string): string =>
  Array.from({ length: count }, (_, i) => `${salt}${i * 7919}`).join(" ");

const chat = (...texts: string[]): object => ({
  model,
  messages: texts.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content })),
});

test("each turn of a conversation goes where its beginning was sent", async (t) => {
  const { engines, router } = await fleet(t, 4);
  for (const name of ["a", "b", "c"]) {
    const texts = [words(400, name)];
    const before = engines.map((engine) => engine.requests.length);
    for (let turn = 0; turn < 5; turn++) {
      assert.equal((await post(router.port, "/v1/chat/completions", chat(...texts))).status, 200);
      texts.push(`answer ${turn}`, words(100, `${name}${turn}`));
    }
    const got = engines.map((engine, i) => engine.requests.length - (before[i] ?? 0));
    assert.deepEqual(
      got.toSorted((x, y) => x - y),
      [0, 0, 0, 5],
      got.join(" "),
    );
  }
  assert.equal(router.metric('lmstack_choices_total{policy="prefixaware",reason="prefix_hit"}'), 12);
});

test("a prompt whose home is busy goes to another engine rather than wait for longer than it would save", async (t) => {
  const { engines, router } = await fleet(t, 2);
  const ask = (text: string): Promise<unknown> => post(router.port, "/v1/chat/completions", chat(text));
  const shared = words(200, "shared");
  await ask(shared);
  const home = engines.find((engine) => engine.requests.length === 1);
  assert.ok(home !== undefined);
  // a further turn that is much longer is all that the home can think of
  let held: RawRequest | null = null;
  home.script((request) => {
    held = request;
  });
  const long = RawClient.connect(router.port);
  (await long).write(
    rawRequest("POST", "/v1/chat/completions", JSON.stringify(chat(shared, "answer", words(20_000, "x")))),
  );
  await until(() => held !== null, "the home works on the long one");
  await ask(`${shared} and more`);
  assert.equal(home.requests.length, 2);
  assert.equal(router.metric('lmstack_choices_total{policy="prefixaware",reason="prefix_elsewhere"}'), 1);
  (await long).reset();
});

interface Held {
  readonly engines: RawEngine[];
  readonly router: TestRouter;
  /** Requests that the engines have and say nothing to. */
  readonly held: RawRequest[];
}

/** Made once: words take longer to make than to send. */
const long = { a: words(150_000, "a"), b: words(150_000, "b") };

/** Two engines that both have a prompt of a million bytes to compute. */
async function full(t: TestContext, ...argv: string[]): Promise<Held> {
  const { engines, router } = await fleet(t, 2, ...argv);
  const held: RawRequest[] = [];
  for (const engine of engines) engine.handler = (request) => held.push(request);
  for (const text of [long.a, long.b]) {
    const client = await RawClient.connect(router.port);
    t.after(() => client.reset());
    const body = JSON.stringify({ ...chat(text), stream: true });
    client.write(rawRequest("POST", "/v1/chat/completions", body));
  }
  await until(() => held.length === 2, "both engines have their fill");
  return { engines, router, held };
}

const queueLength = (router: TestRouter): number => router.metric(`lmstack_queue_length{model="${model}"}`);

test("a request waits in the router while all engines have their fill, and goes to the first that has room", async (t) => {
  const { engines, router, held } = await full(t);
  assert.deepEqual(
    engines.map((engine) => engine.requests.length),
    [1, 1],
  );
  const third = post(router.port, "/v1/chat/completions", chat(words(300, "c")));
  await until(() => queueLength(router) === 1, "the third waits");
  assert.equal(held.length, 2);
  const [first] = held;
  const engine = engines.find((one) => one.requests[0] === first);
  assert.ok(engine !== undefined);
  engine.handler = (request) => request.connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
  first?.connection.write(wholeStream("a"));
  assert.equal((await third).status, 200);
  assert.equal(engine.requests.length, 2);
  assert.equal(queueLength(router), 0);
  assert.equal(router.metric(`lmstack_queue_time_seconds_count{model="${model}"}`), 1);
});

test("D2: a client that leaves while its request waits is forgotten at once, and no engine hears of it", async (t) => {
  const { router, held } = await full(t);
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", JSON.stringify(chat(words(300, "c")))));
  await until(() => queueLength(router) === 1, "it waits");
  client.reset();
  await until(() => queueLength(router) === 0, "it is forgotten");
  assert.equal(held.length, 2);
  assert.equal(router.metric(`lmstack_requests_total{model="${model}",api="chat",outcome="client_gone"}`), 1);
});

test("a request that waits for endpoints that are taken away is answered 503", async (t) => {
  const { router } = await full(t);
  const third = post(router.port, "/v1/chat/completions", chat(words(300, "c")));
  await until(() => queueLength(router) === 1, "it waits");
  router.running.apply({ ...router.context.config.dynamic, endpoints: [] }, "none");
  const { status, text } = await third;
  assert.equal(status, 503, text);
  assert.match(text, /no_endpoint/);
});

test("F1: over the limit of the queue a request is 429, to be sent again, and those that wait go on waiting", async (t) => {
  const { router, held } = await full(t, "--max-queued-requests", "1");
  const waits = RawClient.connect(router.port);
  (await waits).write(rawRequest("POST", "/v1/chat/completions", JSON.stringify(chat(words(300, "c")))));
  await until(() => queueLength(router) === 1, "one waits");
  const answer = await post(router.port, "/v1/chat/completions", chat(words(300, "d")));
  assert.equal(answer.status, 429, answer.text);
  assert.match(answer.text, /"code": ?"queue_full"/);
  assert.equal(answer.header("x-should-retry"), "true");
  assert.ok(Number(answer.header("retry-after")) > 0);
  assert.equal(queueLength(router), 1);
  assert.equal(held.length, 2);
  (await waits).reset();
});

test("F1: the prompts that wait have a limit in tokens, too", async (t) => {
  const { router } = await full(t, "--max-queued-tokens", "3000");
  const waits = await RawClient.connect(router.port);
  t.after(() => waits.reset());
  waits.write(rawRequest("POST", "/v1/chat/completions", JSON.stringify(chat(words(1000, "c")))));
  await until(() => queueLength(router) === 1, "one waits");
  assert.equal((await post(router.port, "/v1/chat/completions", chat(words(1000, "d")))).status, 429);
});

for (const field of ["x-request-timeout", "X-Stainless-Timeout"]) {
  test(`F1: a request waits no longer than its client says by ${field}`, async (t) => {
    const { router, held } = await full(t);
    const answer = await post(router.port, "/v1/chat/completions", chat(words(300, "c")), [`${field}: 0.3`]);
    assert.equal(answer.status, 503, answer.text);
    assert.match(answer.text, /"code": ?"queue_timeout"/);
    assert.equal(queueLength(router), 0);
    assert.equal(held.length, 2);
  });
}

test("F1: with --max-queued-requests 0 nobody waits in the router", async (t) => {
  const { router, held } = await full(t, "--max-queued-requests", "0");
  const third = await RawClient.connect(router.port);
  t.after(() => third.reset());
  third.write(rawRequest("POST", "/v1/chat/completions", JSON.stringify(chat(words(300, "c")))));
  await until(() => held.length === 3, "the third is on an engine");
});

for (const [what, path, body] of [
  ["no tokens", "/v1/completions", { prompt: [] }],
  ["no text", "/v1/completions", { prompt: "" }],
  ["token ids", "/v1/completions", { prompt: Array.from({ length: 3000 }, (_, i) => i) }],
  ["lists of token ids", "/v1/completions", { prompt: [Array.from({ length: 3000 }, (_, i) => i), [1]] }],
  ["ids that are none", "/v1/completions", { prompt: Array.from({ length: 300 }, () => -1.5) }],
  [
    "an image",
    "/v1/chat/completions",
    {
      messages: [
        {
          role: "user",
          content: [{ type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(1e6)}` } }],
        },
      ],
    },
  ],
  ["10 MB", "/v1/completions", { prompt: "x y ".repeat(2.5e6) }],
  ["10 MB of token ids", "/v1/completions", { prompt: Array.from({ length: 1.7e6 }, (_, i) => i % 150_000) }],
  ["messages that are none", "/v1/chat/completions", { messages: "x".repeat(3000) }],
  ["a tree of lists", "/v1/chat/completions", { messages: [[[["x".repeat(3000)]]]] }],
] as const) {
  test(`a prompt of ${what} reaches an engine as it came`, async (t) => {
    const { engines, router } = await fleet(t, 2);
    const text = JSON.stringify({ model, ...body });
    for (let i = 0; i < 2; i++) assert.equal((await post(router.port, path, text)).status, 200);
    const got = engines.flatMap((engine) => engine.requests);
    assert.equal(got.length, 2);
    for (const request of got) assert.ok(request.body.equals(Buffer.from(text)));
  });
}
