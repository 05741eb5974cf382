// Row C2: a stream whose engine dies goes on at another engine, and the client sees the answer that it would have seen
// without it: the same text, one id, one role, tokens counted once, one end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dataOf } from "../../helpers/http-client.ts";
import { ask, assertSame, chat, completion, headBytes, model, stage, told } from "./stage.ts";

const asked: Readonly<Record<string, object>> = {
  "a completion": completion,
  "a completion without usage": { ...completion, stream_options: null },
  "a completion counted in every event": {
    ...completion,
    stream_options: { include_usage: true, continuous_usage_stats: true },
  },
  "a completion that carries its token ids": { ...completion, return_token_ids: true },
  "a completion of token ids": { ...completion, prompt: [9707, 11, 1879] },
  "a completion of a batch of one": { ...completion, prompt: ["Once upon a time"] },
  "a completion of the default length": { model, prompt: "x", stream: true },
  "a completion to its natural end": { ...completion, max_tokens: null, prompt: "The end of" },
  "a completion that a stop string ends": { ...completion, stop: [" the"] },
  "a completion that keeps its stop string": { ...completion, stop: [" the", "zzz"], include_stop_str_in_output: true },
  "a chat": chat,
  "a chat without a limit": { ...chat, max_tokens: undefined },
  "a chat with the newer name of the limit": { ...chat, max_tokens: undefined, max_completion_tokens: 20 },
  "a chat counted in every event": { ...chat, stream_options: { include_usage: true, continuous_usage_stats: true } },
  "a chat that carries its token ids": { ...chat, return_token_ids: true },
  "a chat whose answer the client has begun": {
    ...chat,
    messages: [...chat.messages, { role: "assistant", content: "Well, " }],
    continue_final_message: true,
    add_generation_prompt: false,
  },
  "a chat with everything that does no harm": {
    ...chat,
    temperature: 0.5,
    top_p: 0.9,
    seed: 7,
    n: 1,
    tools: [],
    tool_choice: "none",
    logprobs: false,
    presence_penalty: 0,
    response_format: { type: "text" },
    user: "me",
  },
};

for (const [what, body] of Object.entries(asked)) {
  test(`C2: ${what} is the same whole answer, after whichever event its engine dies`, async (t) => {
    const { router, cuts, proxies } = await stage(t);
    const wanted = told(await ask(router, body));
    const unbroken = wanted.events.length;
    const bytes = (await ask(router, body)).chunks.map((chunk) => chunk.length + chunk.length.toString(16).length + 4);
    // the head that vLLM sends is not the one that the client gets
    const head = await headBytes(proxies[0]?.port ?? 0, body);
    for (let events = 1; events <= unbroken && events <= 30; events++) {
      const upTo = head + bytes.slice(0, events).reduce((sum, size) => sum + size, 0);
      cuts.push({ bytes: upTo, how: events % 2 === 0 ? "reset" : "end" });
      const response = await ask(router, body);
      // of a text that may be a stop string's beginning an engine says only a part
      const holdsBack = "stop" in body && !("include_stop_str_in_output" in body);
      assertSame(told(response), wanted, `${what}, cut after ${events} events: ${response.text}`, holdsBack);
    }
    await router.idle();
    assert.equal(router.context.migrationBudget.usedBytes, 0);
    assert.ok(router.metric('lmstack_migrations_total{cause="reset",result="continued"}') > 0);
  });
}

test("C2: an answer survives several deaths", async (t) => {
  const { router, cuts, proxies } = await stage(t, [], {}, {}, 3);
  for (const body of [chat, completion]) {
    const wanted = told(await ask(router, body));
    for (let run = 0; run < 5; run++) {
      for (let death = 0; death < 5; death++) cuts.push({ bytes: 900 + 130 * run, how: "reset" });
      const response = await ask(router, body);
      assertSame(told(response), wanted, response.text);
    }
  }
  await router.idle();
  assert.ok(router.metric('lmstack_migrations_total{cause="reset",result="continued"}') >= 30);
  assert.ok(proxies.every((proxy) => proxy.bodies.length > 0));
});

test("C2: wherever in the bytes of two events and the end an engine is cut, the answer is the same", async (t) => {
  const { router, cuts, proxies } = await stage(t);
  const body = { ...chat, max_tokens: 3 };
  const first = await ask(router, body);
  const wanted = told(first);
  const head = await headBytes(proxies[0]?.port ?? 0, body);
  const size = (count: number): number =>
    head + first.chunks.slice(0, count).reduce((sum, { length }) => sum + length + length.toString(16).length + 4, 0);
  const places: number[] = [];
  // all of the second event and the beginning of the next; then from the last token to the last chunk
  for (let at = size(1) - 3; at < size(2) + 40; at++) places.push(at);
  for (let at = size(3); at <= size(first.chunks.length) + 5; at += 2) places.push(at);
  for (const [i, bytes] of places.entries()) {
    cuts.push({ bytes, how: i % 2 === 0 ? "reset" : "end" });
    const response = await ask(router, body);
    assertSame(told(response), wanted, `cut at ${bytes}: ${response.text}`);
    cuts.length = 0;
  }
  await router.idle();
});

test("C2: an engine's error in mid-stream, and its abort, are deaths like others", async (t) => {
  const { router, engines } = await stage(t);
  for (const body of [chat, completion]) {
    const wanted = told(await ask(router, body));
    for (let events = 1; events < 12; events++) {
      await fault(engines[events % 2]?.port ?? 0, { fault: "error_frame", after: events });
      const response = await ask(router, body);
      assertSame(told(response), wanted, response.text);
      const again = await ask(router, body);
      assertSame(told(again), wanted, again.text);
      await fault(engines[events % 2]?.port ?? 0, null);
    }
  }
  await router.idle();
  assert.ok(router.metric('lmstack_migrations_total{cause="error_frame",result="continued"}') > 5);
});

async function fault(port: number, what: object | null): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/sim/faults`, {
    method: what === null ? "DELETE" : "POST",
    headers: { "content-type": "application/json" },
    ...(what === null ? {} : { body: JSON.stringify(what) }),
  });
  assert.ok(response.ok, await response.text());
}

const refused: Readonly<Record<string, object>> = {
  "several choices": { ...chat, n: 2 },
  "log probabilities": { ...chat, logprobs: true },
  tools: { ...chat, tools: [{ type: "function", function: { name: "f", parameters: {} } }] },
  "a schema": { ...chat, response_format: { type: "json_object" } },
  penalties: { ...completion, presence_penalty: 0.5 },
  "the prompt back": { ...completion, echo: true },
  "a least number of tokens": { ...completion, min_tokens: 5 },
  "something unknown": { ...completion, frobnicate: 1 },
  "several prompts": { ...completion, prompt: ["a", "b"] },
};

for (const [what, body] of Object.entries(refused)) {
  test(`C2, C1: a stream that was asked for ${what} is not gone on with, and ends with an error`, async (t) => {
    const { router, cuts } = await stage(t);
    cuts.push({ bytes: 1800, how: "reset" });
    const response = await ask(router, body);
    const data = dataOf(response);
    assert.match(data.at(-1) ?? "", /"code":"stream_interrupted"/);
    assert.ok(response.complete);
    assert.ok(data.length > 2);
    await router.idle();
    assert.equal(router.context.migrationBudget.usedBytes, 0);
    const results = ["request", "stream"].map((result) =>
      router.metric(`lmstack_migrations_total{cause="reset",result="${result}"}`),
    );
    assert.deepEqual(
      results.toSorted((a, b) => a - b),
      [0, 1],
    );
  });
}
