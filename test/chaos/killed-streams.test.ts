// An engine dies in mid-stream under a hundred streams, ten times over. Each stream that can go on elsewhere is the very text
// of an unbroken run; each of the others is whole or ends with exactly one error in its API's shape, and no `[DONE]`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { startEngine, type EngineOptions, type RunningEngine } from "../../src/engine/serve.ts";
import { post, type ClientResponse } from "../helpers/http-client.ts";
import { startTestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";
import { textOf, type Api } from "./asks.ts";
import { judgeStream } from "./oracle.ts";

const rounds = 10;
const perRound = 100;
const tokens = 40;

interface Kind {
  readonly api: Api;
  readonly path: string;
  readonly body: object;
  /** Another engine can go on with it. */
  readonly goesOn: boolean;
  readonly errorShape: RegExp;
}

const messages = [{ role: "user", content: "Tell me of rivers" }];
const openai = /^data: \{"error":\{"message":"[^\n]*"type":"api_error"[^\n]*"code":"stream_interrupted"\}\}$/m;
const kinds: readonly Kind[] = [
  {
    api: "completions",
    path: "/v1/completions",
    body: { prompt: "Once upon a time", max_tokens: tokens, temperature: 0 },
    goesOn: true,
    errorShape: openai,
  },
  {
    api: "chat",
    path: "/v1/chat/completions",
    body: { messages, max_tokens: tokens, temperature: 0 },
    goesOn: true,
    errorShape: openai,
  },
  {
    api: "chat",
    path: "/v1/chat/completions",
    body: { messages, max_tokens: tokens, temperature: 0, logprobs: true },
    goesOn: false,
    errorShape: openai,
  },
  {
    api: "messages",
    path: "/v1/messages",
    body: { messages, max_tokens: tokens, temperature: 0 },
    goesOn: false,
    errorShape: /^event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":/m,
  },
  {
    api: "responses",
    path: "/v1/responses",
    body: { input: "Tell me of rivers", max_output_tokens: tokens, temperature: 0 },
    goesOn: false,
    errorShape: /^event: (?:error|response\.failed)\ndata: \{"type":"(?:error|response\.failed)"/m,
  },
];

test("C1, C2: engines that die under a hundred streams, ten times: whole answers where they can go on, else one error", async (t) => {
  // The engines' time is driven: it stands still until the hundred have come, so that an engine dies in the middle of all that it
  // has however slowly a busy machine sends them.
  const clock = new ManualClock();
  const stepMs = 32;
  let still = false;
  const driver = setInterval(() => still || clock.advance(stepMs), 25);
  // a step takes 30 ms, a little less than what each stroke of the driver gives it
  const options: EngineOptions = { models: ["m"], preset: "fast", speed: 0.00165, clock };
  const engines: RunningEngine[] = [];
  t.after(async () => {
    await Promise.all(engines.map((engine) => engine.close()));
    clearInterval(driver);
  });
  for (let i = 0; i < 4; i++) engines.push(await startEngine(options));
  const router = await startTestRouter(t, ["--static-backends", engines.map(({ url }) => url).join(",")]);
  const expected = await Promise.all(
    kinds.map(async ({ api, path, body }) =>
      textOf(api, (await post(router.port, path, { model: "m", ...body })).json()),
    ),
  );
  const migrations = (): string[] =>
    router.context.metrics.registry
      .render()
      .split("\n")
      .filter((line) => line.startsWith("lmstack_migrations_total{"));
  let broken = 0;
  let whole = 0;
  for (let round = 0; round < rounds; round++) {
    still = true;
    const visits = Array.from({ length: perRound }, async (_, i): Promise<[number, ClientResponse]> => {
      const kind = i % kinds.length;
      const { path, body } = kinds[kind] ?? { path: "", body: {} };
      return [kind, await post(router.port, path, { model: "m", stream: true, ...body })];
    });
    const arrived = (): number =>
      engines.map((engine) => engine.state()).reduce((sum, { running, waiting }) => sum + running + waiting, 0);
    await until(() => arrived() === perRound, "all have come to an engine");
    // Those that have just come back get few. Of the others the one with the fewest dies, nearly all of whose requests are
    // streams by then: with two engines in their slow start another one has seventy, and ten rounds of those asked again would be
    // more than may be retried.
    const doomable = (): number => {
      const endpoints = router.context.registry.list();
      const fit = endpoints.filter(({ running, inFlight }) => running >= 20 && inFlight - running <= 8);
      const least = Math.min(...fit.map(({ running }) => running));
      return endpoints.findIndex((endpoint) => fit.includes(endpoint) && endpoint.running === least);
    };
    let doomed = -1;
    // the first step of an engine has its first request only, the second all others
    for (let step = 0; step < 4; step++) {
      clock.advance(stepMs);
      await turns(20);
    }
    await until(() => (doomed = doomable()) >= 0, "streams run on an engine");
    const dying = engines[doomed] as RunningEngine;
    dying.crash();
    still = false;
    for (const [kind, response] of await Promise.all(visits)) {
      const { api, goesOn, errorShape } = kinds[kind] as Kind;
      assert.equal(response.status, 200, response.text);
      assert.equal(judgeStream(api, response.text, expected[kind] ?? "", true, response.complete), null, response.text);
      const error = errorShape.test(response.text);
      if (error) broken++;
      else whole++;
      if (goesOn) assert.ok(!error, `round ${round}: ${response.text}${migrations().join("\n")}`);
    }
    await router.idle();
    engines[doomed] = await startEngine({ ...options, port: dying.port });
  }
  assert.equal(broken + whole, rounds * perRound);
  // each round three in five of some 25 streams could not go on
  assert.ok(broken >= 5 * rounds, `${broken} streams broke`);
  const moved = migrations().filter((line) => line.includes('result="continued"'));
  const continued = moved.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  assert.ok(continued >= 5 * rounds, `${continued} streams went on elsewhere`);
  t.diagnostic(
    `${rounds} deaths: ${whole} whole answers, ${continued} of them from two engines or more, ${broken} with an error`,
  );
});
