// Rows A11 and B6: what the metrics and the log say of tokens and of retries is what has happened.
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadRouterConfig } from "../../src/config/parse-command.ts";
import { systemClock } from "../../src/clock.ts";
import { RouterLog } from "../../src/observe/log.ts";
import { startRouter } from "../../src/proxy/start-router.ts";
import { RawClient, post, rawRequest } from "../helpers/http-client.ts";
import { chunk, done, event, jsonAnswer, lastChunk, startRawEngine, streamHead } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

const chat = "/v1/chat/completions";
const body = (stream: boolean): object => ({ model: "test-model", messages: [], stream });
const usage = {
  prompt_tokens: 11,
  completion_tokens: 7,
  total_tokens: 18,
  prompt_tokens_details: { cached_tokens: 4 },
};
const usageEvent = (): string => `data: ${JSON.stringify({ id: "1", choices: [], usage })}\n\n`;

test("A11: tokens are counted from usage, however many of them an event carries", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const count = (name: string, label = ""): number => router.metric(`lmstack_${name}{model="test-model"${label}}`);
  // three events, the first with several tokens, the second with none
  engine.script(({ connection }) => {
    connection.write(streamHead());
    for (const text of [event("a b c d e f"), event(""), event(" g"), usageEvent(), done])
      connection.write(chunk(text));
    connection.write(lastChunk);
  });
  assert.equal((await post(router.port, chat, body(true))).status, 200);
  assert.deepEqual(
    [count("prompt_tokens_total"), count("generated_tokens_total"), count("cached_tokens_total")],
    [11, 7, 4],
  );
  assert.equal(count("usage_total", ',usage="present"'), 1);
  // vLLM can tell usage with every event: it is a running total
  engine.script(({ connection }) => {
    connection.write(streamHead());
    for (const made of [1, 5, 7]) {
      const value = {
        id: "1",
        choices: [{ index: 0, delta: { content: "x" } }],
        usage: { ...usage, completion_tokens: made },
      };
      connection.write(chunk(`data: ${JSON.stringify(value)}\n\n`));
    }
    connection.write(chunk(done));
    connection.write(lastChunk);
  });
  await post(router.port, chat, body(true));
  assert.deepEqual([count("prompt_tokens_total"), count("generated_tokens_total")], [22, 14]);
  engine.script(({ connection }) => connection.write(jsonAnswer({ choices: [], usage })));
  await post(router.port, chat, body(false));
  assert.deepEqual([count("prompt_tokens_total"), count("generated_tokens_total")], [33, 21]);
  assert.equal(count("usage_total", ',usage="absent"'), 0);
});

test("A11: an answer that tells no usage is counted as such, and its events as nothing", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  engine.script(({ connection }) => {
    connection.write(streamHead());
    for (const text of [event("a"), event(" b"), done]) connection.write(chunk(text));
    connection.write(lastChunk);
  });
  await post(router.port, chat, body(true));
  assert.equal(router.metric('lmstack_usage_total{model="test-model",usage="absent"}'), 1);
  assert.equal(router.metric('lmstack_generated_tokens_total{model="test-model"}'), 0);
});

test("B6: a retry goes to the next best endpoint by the same policy, and log and metrics say so", async (t) => {
  const engines = await Promise.all([0, 1, 2].map(() => startRawEngine(t)));
  const { config } = loadRouterConfig(
    [
      "--host",
      "127.0.0.1",
      "--port",
      "0",
      "--log-format",
      "json",
      "--routing-logic",
      "leastload",
      "--static-backends",
      engines.map(({ url }) => url).join(","),
    ],
    {},
  );
  let lines = "";
  const log = new RouterLog(config.log, {
    write: (text) => (lines += text),
    flush: () => undefined,
    flushSync: () => undefined,
  });
  const router = await startRouter(config, { clock: systemClock, random: Math.random, version: "t", page: null, log });
  t.after(() => router.close());
  await until(() => router.context.registry.list().every((endpoint) => endpoint.known), "the engines are known");
  // two streams on one engine, one on another, none on the third
  for (const engine of engines) {
    engine.handler = ({ connection }) => {
      connection.write(streamHead());
      connection.write(chunk(event("one")));
    };
  }
  for (let i = 0; i < 4; i++) {
    const client = await RawClient.connect(router.port);
    t.after(() => client.close());
    client.write(rawRequest("POST", chat, JSON.stringify(body(true))));
    await client.sees("one");
  }
  const [free, second] = engines.filter(({ requests }) => requests.length === 1);
  assert.ok(free && second);
  free.requests[0]?.connection.write(Buffer.concat([chunk(done), Buffer.from(lastChunk)]));
  const endpoint = router.context.registry.list().find(({ url }) => url === free.url);
  free.requests[0]?.connection.end();
  await until(() => endpoint?.inFlight === 0 && endpoint.pool.size === 0, "the third has none, and no connection");
  free.handler = ({ connection }) => connection.reset();
  second.handler = ({ connection }) => connection.write(jsonAnswer({ from: "second" }));
  const response = await post(router.port, chat, body(false), ["x-request-id: retried"]);
  assert.deepEqual(response.json(), { from: "second" });
  assert.equal(free.requests.length, 2, "the best one was tried first");
  const line = lines.split("\n").find((text) => text.includes('"requestId":"retried"')) ?? "{}";
  const said = JSON.parse(line) as Record<string, unknown>;
  assert.deepEqual(
    { attempts: said["attempts"], endpoint: said["endpoint"], outcome: said["outcome"] },
    { attempts: 2, endpoint: `127.0.0.1:${second.port}`, outcome: "ok" },
  );
  const metrics = router.context.metrics.registry.render();
  assert.match(metrics, /^lmstack_retries_total\{reason="reset"\} 1$/m);
  assert.match(
    metrics,
    new RegExp(`^lmstack_attempts_total\\{endpoint="127.0.0.1:${free.port}",outcome="reset"\\} 1$`, "m"),
  );
  assert.match(
    metrics,
    new RegExp(`^lmstack_attempts_total\\{endpoint="127.0.0.1:${second.port}",outcome="ok"\\} 1$`, "m"),
  );
});
