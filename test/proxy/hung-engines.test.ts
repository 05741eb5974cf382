// Row C7: an engine that hangs answers its checks like any other. What tells it is that it has work and makes no progress.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { dataOf, post, type ClientResponse } from "../helpers/http-client.ts";
import {
  chunk,
  done,
  event,
  jsonAnswer,
  lastChunk,
  startRawEngine,
  streamHead,
  wholeStream,
} from "../helpers/raw-engine.ts";
import type { RawConnection, RawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const chat = { model: "test-model", messages: [{ role: "user", content: "hi" }], stream: true };

interface Stage {
  readonly engines: readonly [RawEngine, RawEngine];
  readonly router: TestRouter;
  readonly clock: ManualClock;
  /** What the first engine's counters say; null = it has none. */
  count(steps: number | null): void;
  /** Requests for answers, by engine: their connections. */
  readonly asked: readonly [RawConnection[], RawConnection[]];
}

/**
 * Two engines. What the first is asked stays open, for the test to answer; the second answers at once, tokenizer included.
 */
async function stage(t: TestContext, argv: readonly string[] = []): Promise<Stage> {
  const engines = [await startRawEngine(t), await startRawEngine(t)] as const;
  const count = (steps: number | null): void => {
    engines[0].metrics =
      steps === null ? null : `vllm:iteration_tokens_total_count{engine="0",model_name="m"} ${steps}\n`;
  };
  count(7);
  const asked: [RawConnection[], RawConnection[]] = [[], []];
  for (const [i, engine] of engines.entries()) {
    engine.handler = ({ target, connection, body }) => {
      if (target.endsWith("tokenize")) connection.write(jsonAnswer(tokenizer(body.toString())));
      else {
        asked[i]?.push(connection);
        if (i === 1)
          connection.write(/"stream":true/.test(body.toString()) ? wholeStream("two", "three") : jsonAnswer({}));
      }
    };
  }
  const clock = new ManualClock();
  const urls = engines.map(({ url }) => url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls, ...argv], { clock });
  return { engines, router, clock, count, asked };
}

/** One letter is one token; a chat is its contents with a mark between. */
function tokenizer(body: string): object {
  const asked = JSON.parse(body) as {
    tokens?: number[];
    prompt?: string;
    messages?: { content: string }[];
    continue_final_message?: boolean;
  };
  if (asked.tokens !== undefined) return { prompt: String.fromCodePoint(...asked.tokens) };
  const { prompt, messages = [], continue_final_message: open } = asked;
  const text = prompt ?? messages.map(({ content }) => content).join("|") + (open === true ? "" : "|");
  return { tokens: Array.from(text, (letter) => letter.codePointAt(0)) };
}

/** Time passes, as it does for the router, while sockets are read. */
async function pass(on: Stage, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    on.clock.advance(100);
    await turns(4);
  }
}

async function begin(
  on: Stage,
  body: object = chat,
): Promise<{ answer: Promise<ClientResponse>; engine: RawConnection }> {
  const before = on.asked[0].length;
  const [, second] = on.router.context.registry.list();
  assert.ok(second);
  second.busyUntilMs = on.clock.nowMs() + 1;
  const answer = post(on.router.port, "/v1/chat/completions", body);
  await until(() => on.asked[0].length > before, "the first engine is asked");
  second.busyUntilMs = 0;
  const engine = on.asked[0].at(-1);
  assert.ok(engine);
  return { answer, engine };
}

async function streams(on: Stage, engine: RawConnection): Promise<void> {
  engine.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))]));
  await until(() => on.router.context.registry.list()[0]?.running === 1, "the stream has begun");
}

const suspect = (on: Stage): boolean => (on.router.context.registry.list()[0]?.busyUntilMs ?? 0) > on.clock.nowMs();

test("C7: after 3 s without progress an engine gets no new requests, after --stall-timeout-seconds its streams go on elsewhere", async (t) => {
  const s = await stage(t);
  const { answer, engine } = await begin(s);
  await streams(s, engine);
  await pass(s, 2_800);
  assert.ok(!suspect(s));
  await pass(s, 1_200);
  assert.ok(suspect(s));
  for (let i = 0; i < 4; i++) await post(s.router.port, "/v1/chat/completions", { ...chat, stream: false });
  assert.equal(s.asked[0].length, 1);
  await pass(s, 14_000);
  assert.ok(!engine.gone);
  await pass(s, 4_000);
  const response = await answer;
  assert.ok(engine.gone);
  const text = dataOf(response)
    .filter((data) => data !== "[DONE]")
    .flatMap((data) => (JSON.parse(data) as { choices: { delta: { content?: string } }[] }).choices)
    .map((choice) => choice.delta.content ?? "")
    .join("");
  assert.equal(text, "onetwothree");
  assert.equal(dataOf(response).at(-1), "[DONE]");
  // what the second engine is asked about the text is to be found in its log with the request
  const questions = s.engines[1].requests.filter(({ target }) => target.endsWith("tokenize"));
  assert.ok(questions.length > 0);
  for (const question of questions) assert.equal(question.header("x-request-id"), response.header("x-request-id"));
  await s.router.idle();
  assert.equal(s.router.metric('lmstack_migrations_total{cause="stall",result="continued"}'), 1);
  assert.equal(s.router.context.registry.list()[0]?.state(s.clock.nowMs()), "ejected");
});

test("C7: an engine whose counters move is not suspect, however silent it is", async (t) => {
  const s = await stage(t);
  const { answer, engine } = await begin(s);
  await streams(s, engine);
  for (let i = 0; i < 60; i++) {
    s.count(8 + i);
    await pass(s, 500);
    assert.ok(!suspect(s), `after ${i * 0.5} s`);
  }
  engine.write(Buffer.concat([chunk(event("two")), chunk(done), Buffer.from(lastChunk)]));
  assert.match((await answer).text, /\[DONE\]/);
});

test("C7: frames of one stream show that the engine works for all of them", async (t) => {
  const s = await stage(t);
  const waiting = await begin(s);
  const { answer, engine } = await begin(s);
  await streams(s, engine);
  for (let i = 0; i < 50; i++) {
    engine.write(chunk(event("x")));
    await pass(s, 500);
  }
  assert.ok(!suspect(s));
  engine.write(Buffer.concat([chunk(done), Buffer.from(lastChunk)]));
  waiting.engine.write(wholeStream("late"));
  assert.match((await answer).text, /\[DONE\]/);
  assert.match((await waiting.answer).text, /late/);
});

test("C7: an engine without counters is judged by its streams, and not by answers that are still to come", async (t) => {
  const s = await stage(t);
  s.count(null);
  const waiting = await begin(s, { ...chat, stream: false });
  await pass(s, 30_000);
  assert.ok(!suspect(s));
  waiting.engine.write(jsonAnswer({ ok: true }));
  assert.equal((await waiting.answer).status, 200);
  const { answer, engine } = await begin(s);
  await streams(s, engine);
  await pass(s, 4_500);
  assert.ok(suspect(s));
  await pass(s, 18_000);
  assert.match((await answer).text, /three.*\[DONE\]/s);
});

test("C7: requests that wait for their first event are tried elsewhere, streams and others", async (t) => {
  const s = await stage(t, ["--stall-timeout-seconds", "6"]);
  const one = await begin(s);
  const two = await begin(s, { ...chat, stream: false });
  await pass(s, 8_000);
  assert.match((await one.answer).text, /two/);
  assert.equal((await two.answer).status, 200);
  assert.ok(one.engine.gone && two.engine.gone);
  await s.router.idle();
});

test("C7: a stream that can't go on elsewhere is left to its engine, which may come back", async (t) => {
  const s = await stage(t);
  const { answer, engine } = await begin(s, { ...chat, n: 1, logprobs: true });
  await streams(s, engine);
  await pass(s, 40_000);
  assert.ok(!engine.gone);
  engine.write(Buffer.concat([chunk(event("back")), chunk(done), Buffer.from(lastChunk)]));
  assert.match((await answer).text, /back.*\[DONE\]/s);
});

test("C7: nothing is taken from an engine that has no other", async (t) => {
  const s = await stage(t);
  const { answer, engine } = await begin(s);
  await streams(s, engine);
  s.engines[1].kill();
  await pass(s, 30_000);
  assert.ok(!engine.gone);
  engine.write(Buffer.concat([chunk(event("back")), chunk(done), Buffer.from(lastChunk)]));
  assert.match((await answer).text, /back.*\[DONE\]/s);
});

// Each of its probes had been a client's request, which waited until the engine was found to hang again.
test("C7, E5: an engine that hung has to make a token for the router before a client's request tries it", async (t) => {
  const s = await stage(t);
  const { answer } = await begin(s);
  await pass(s, 25_000);
  assert.match((await answer).text, /two/, "it was tried elsewhere");
  const ask = async (): Promise<void> => {
    const { status } = await post(s.router.port, "/v1/chat/completions", { ...chat, stream: false });
    assert.equal(status, 200);
  };
  for (let i = 0; i < 60; i++) {
    await ask();
    await pass(s, 500);
  }
  const [hung] = s.engines;
  const own = hung.requests.slice(1);
  assert.ok(own.length >= 2, "it is asked again and again");
  for (const { target, body } of own) {
    assert.equal(target, "/v1/completions");
    assert.match(body.toString(), /"max_tokens":1\}$/);
  }
  assert.equal(s.router.context.registry.list()[0]?.state(s.clock.nowMs()), "ejected");
  // it wakes up: first for the router, then for clients
  hung.handler = ({ connection }) => connection.write(jsonAnswer({ choices: [] }));
  const back = (): boolean =>
    hung.requests.some(({ target, body }) => target.includes("chat") && !/stream":true/.test(body.toString()));
  for (let i = 0; i < 100 && !back(); i++) {
    await ask();
    await pass(s, 500);
  }
  assert.ok(back(), "clients' requests reach it again");
  assert.equal(s.router.context.registry.list()[0]?.state(s.clock.nowMs()), "ready");
});

test("C7, E5: a request that tries an engine which was out is not held up for the whole stall timeout", async (t) => {
  const s = await stage(t);
  const [first] = s.router.context.registry.list();
  assert.ok(first);
  for (let i = 0; i < 5; i++) first.breaker.failure(s.clock.nowMs());
  assert.equal(first.state(s.clock.nowMs()), "ejected");
  await pass(s, 600);
  const { answer, engine } = await begin(s);
  assert.equal(first.breaker.state(s.clock.nowMs()), "probing");
  await pass(s, 4_500);
  assert.match((await answer).text, /two/, "another engine has answered");
  assert.ok(engine.gone);
});
