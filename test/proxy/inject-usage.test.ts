// Row A11 with --inject-stream-usage: the router asks for the usage of each stream, and the client gets the stream that it has
// asked for.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { startEngine } from "../../src/engine/serve.ts";
import { dataOf, post, type ClientResponse } from "../helpers/http-client.ts";
import { chunk, done, event, lastChunk, startRawEngine, streamHead, wholeStream } from "../helpers/raw-engine.ts";
import type { RawConnection, RawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";

const chat = "/v1/chat/completions";
const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };
const usageEvent = `data: ${JSON.stringify({ id: "1", choices: [], usage })}\n\n`;
const answer = [event("one"), event(""), event('says "usage": and "choices":[]'), event("three")];
const streamed = [...answer, done].map((text) => text.slice("data: ".length).trimEnd());

async function stage(t: TestContext, ...argv: string[]): Promise<{ engine: RawEngine; router: TestRouter }> {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--inject-stream-usage", ...argv]);
  return { engine, router };
}

const count = (router: TestRouter, name: string, label = ""): number =>
  router.metric(`lmstack_${name}{model="test-model"${label}}`);

test("A11: with --inject-stream-usage a stream's tokens are counted, and the client sees no other stream for it", async (t) => {
  const { engine, router } = await stage(t);
  engine.handler = ({ connection }) => {
    connection.write(streamHead());
    for (const text of [...answer, usageEvent, done]) connection.write(chunk(text));
    connection.write(lastChunk);
  };
  for (const path of [chat, "/v1/completions"]) {
    const sent = `{ "model": "test-model", "unknown": 1e2, "stream": true, "messages": [ ] } `;
    const response = await post(router.port, path, sent);
    assert.deepEqual(dataOf(response), streamed);
    const body = engine.requests.at(-1)?.body.toString();
    assert.equal(body, sent.replace("] } ", '] ,"stream_options":{"include_usage":true}} '));
  }
  assert.deepEqual([count(router, "prompt_tokens_total"), count(router, "generated_tokens_total")], [22, 14]);
  assert.deepEqual(
    [count(router, "usage_total", ',usage="present"'), count(router, "usage_total", ',usage="absent"')],
    [2, 0],
  );
});

test("A11: wherever the engine's bytes are cut, the event with the usage does not pass and nothing else is lost", async (t) => {
  const { engine, router } = await stage(t);
  const frames = [...answer, usageEvent, done].join("");
  const cuts = fc.array(fc.nat(frames.length), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(cuts, cuts, async (chunks, segments) => {
      const split = (bytes: Buffer, at: number[]): Buffer[] => {
        const places = [0, ...at.map((place) => place % bytes.length).toSorted((a, b) => a - b), bytes.length];
        return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
      };
      const pieces = split(Buffer.from(frames), chunks).filter((piece) => piece.length > 0);
      const wire = Buffer.concat([
        Buffer.from(streamHead()),
        ...pieces.map((piece) => chunk(piece.toString("latin1"))),
        Buffer.from(lastChunk),
      ]);
      const send = async (connection: RawConnection): Promise<void> => {
        for (const part of split(wire, segments)) await connection.flushed(part);
      };
      engine.script(({ connection }) => void send(connection));
      const response = await post(router.port, chat, { model: "test-model", messages: [], stream: true });
      assert.ok(response.complete);
      assert.deepEqual(dataOf(response), streamed);
    }),
    { numRuns: 150 },
  );
  assert.equal(count(router, "usage_total", ',usage="absent"'), 0);
});

const asked = {
  "the client asks for usage itself": '{"model":"test-model","stream":true,"stream_options":{"include_usage":true}}',
  "there is no stream": '{"model":"test-model","stream":false}',
  "its options are no object": '{"model":"test-model","stream":true,"stream_options":"yes"}',
};

for (const [what, sent] of Object.entries(asked)) {
  test(`A11: with --inject-stream-usage, where ${what}, body and answer are left alone`, async (t) => {
    const { engine, router } = await stage(t);
    engine.handler = ({ connection }) => {
      connection.write(streamHead());
      for (const text of [...answer, usageEvent, done]) connection.write(chunk(text));
      connection.write(lastChunk);
    };
    const response = await post(router.port, chat, sent);
    assert.equal(engine.requests[0]?.body.toString(), sent);
    assert.equal(dataOf(response).length, 6);
    assert.equal(count(router, "usage_total", ',usage="present"'), 1);
  });
}

test("A11: options that ask for no usage are asked for it at their place, beside an alias", async (t) => {
  const { engine, router } = await stage(t, "--static-models", "test-model", "--static-aliases", "nick:test-model");
  engine.handler = ({ connection }) => connection.write(wholeStream("one"));
  const sent =
    '{"stream":true,"stream_options":{"include_usage":false,"continuous_usage_stats":true,"other":1},"model":"nick","x":1}';
  assert.equal((await post(router.port, chat, sent)).status, 200);
  assert.equal(
    engine.requests[0]?.body.toString(),
    '{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":false,"other":1},"model":"test-model","x":1}',
  );
});

test("A11: the stream of a simulated vLLM is the same with and without", async (t) => {
  const engines = await Promise.all([1, 2].map(() => startEngine({ models: ["test-model"], simApi: true })));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  const urls = engines.map(({ url }) => url).join(",");
  const [plain, asking] = await Promise.all([
    startTestRouter(t, ["--static-backends", urls]),
    startTestRouter(t, ["--static-backends", urls, "--inject-stream-usage"]),
  ]);
  const body = { model: "test-model", messages: [{ role: "user", content: "Tell me" }], stream: true, max_tokens: 12 };
  // vLLM puts its fingerprint into the last event, which is then the one that is taken out
  const shown = (response: ClientResponse): string[] =>
    dataOf(response).map((data) => data.replace(/,?"(?:id|system_fingerprint)":"[^"]*"|"created":\d+/g, ""));
  const [left, right] = await Promise.all([post(plain.port, chat, body), post(asking.port, chat, body)]);
  assert.deepEqual(shown(right), shown(left));
  assert.equal(count(asking, "generated_tokens_total"), 12);
  assert.equal(count(plain, "generated_tokens_total"), 0);
});
