// Row C6: an engine that is told to stop ends its answers with `finish_reason` `abort`, a good status and, in a stream, `[DONE]`.
// The client did not ask for that: it is the engine's death.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dataOf, post } from "../helpers/http-client.ts";
import { startLmstack } from "../helpers/process.ts";
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
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { told } from "./migration/stage.ts";

const chat = { model: "test-model", messages: [{ role: "user", content: "hi" }], stream: true };

function aborted(content: string): string {
  const choice = { index: 0, delta: { content }, logprobs: null, finish_reason: "abort", stop_reason: null };
  return `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "test-model", choices: [choice] })}\n\n`;
}

test("C6, C1: a stream that its engine aborts ends with an error, and neither the abort nor its [DONE] passes", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--no-migrate-streams"]);
  for (const together of [true, false]) {
    engine.script(({ connection }) => {
      const pieces = [streamHead(), chunk(event("one")), chunk(aborted("two")), chunk(done), lastChunk].map((piece) =>
        Buffer.from(piece),
      );
      if (together) connection.write(Buffer.concat(pieces));
      else
        void (async () => {
          for (const piece of pieces) await connection.flushed(piece);
        })();
    });
    const response = await post(router.port, "/v1/chat/completions", chat);
    const [first, last, ...rest] = dataOf(response);
    assert.equal(`data: ${first}\n\n`, event("one"));
    assert.match(last ?? "", /"code":"stream_interrupted"/);
    assert.deepEqual(rest, []);
  }
  await router.idle();
  assert.equal(router.metric('lmstack_migrations_total{cause="abort",result="off"}'), 2);
  assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="cut"}'), 2);
});

test("C6: an abort before the first token, and one in an answer that is no stream, are tried elsewhere unseen", async (t) => {
  const engines = [await startRawEngine(t), await startRawEngine(t)];
  const urls = engines.map(({ url }) => url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls]);
  let asked = 0;
  for (const engine of engines) {
    engine.handler = ({ connection, body }) => {
      const stream = /"stream":true/.test(body.toString());
      const stops = asked++ % 2 === 0;
      const choice = {
        index: 0,
        message: { content: stops ? "ha" : "whole" },
        finish_reason: stops ? "abort" : "stop",
      };
      if (!stream) connection.write(jsonAnswer({ choices: [choice] }));
      else if (stops) connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(aborted("")), chunk(done)]));
      else connection.write(wholeStream("whole"));
    };
  }
  const response = await post(router.port, "/v1/chat/completions", chat);
  assert.match(response.text, /whole.*\[DONE\]/s);
  assert.doesNotMatch(response.text, /abort/);
  const answer = await post(router.port, "/v1/chat/completions", { ...chat, stream: false });
  assert.equal(answer.status, 200);
  assert.match(answer.text, /whole/);
  assert.equal(asked, 4);
  await router.idle();
});

test("C6, C4: a long answer that turns out to be aborted at its end is cut", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const choice = { index: 0, message: { content: "x".repeat(300_000) }, finish_reason: "abort" };
  engine.script(({ connection }) => connection.write(jsonAnswer({ choices: [choice] })));
  const response = await post(router.port, "/v1/chat/completions", { ...chat, stream: false });
  assert.equal(response.complete, false);
  assert.doesNotMatch(response.text, /abort/);
  await router.idle();
});

test("C6, C2: streams of an engine that gets SIGTERM go on at another one", async (t) => {
  const argv = ["engine", "--host", "127.0.0.1", "--port", "0", "--model", "m", "--speed", "0.5"];
  const engines = await Promise.all([startLmstack(t, argv), startLmstack(t, argv)]);
  const router = await startTestRouter(t, ["--static-backends", engines.map(({ url }) => url).join(",")]);
  const ask = {
    model: "m",
    messages: chat.messages,
    stream: true,
    max_tokens: 40,
    stream_options: { include_usage: true },
  };
  const answers = Array.from({ length: 8 }, () => post(router.port, "/v1/chat/completions", ask));
  const endpoint = router.context.registry.list()[0];
  assert.ok(endpoint);
  await until(() => endpoint.running >= 2, "streams run on the engine that is told to stop");
  engines[0]?.child.kill("SIGTERM");
  const texts = new Set(
    (await Promise.all(answers)).map((answer) =>
      JSON.stringify([told(answer).text, told(answer).usage?.completion_tokens]),
    ),
  );
  assert.equal(texts.size, 1, [...texts].join("\n"));
  await router.idle();
  assert.ok(router.metric('lmstack_migrations_total{cause="abort",result="continued"}') >= 2);
});
