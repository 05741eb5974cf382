// `x-lmstack-explain: 1`: why a request went where it went, in the answer and in the log.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { post, type ClientResponse } from "../helpers/http-client.ts";
import { startRawEngine, wholeStream } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";

const model = "test-model";
const body = { model, prompt: "a word that is the same each time ".repeat(100), stream: true };
const ask = "x-lmstack-explain: 1";

interface Explained {
  policy: string;
  reason: string;
  endpoint: string;
  prompt_tokens: number;
  cached_tokens: number;
  candidates: number;
  scores: { endpoint: string; cost_ms: number; cached_tokens: number }[];
}

async function fleet(t: TestContext, ...argv: string[]) {
  const engines = await Promise.all([0, 1, 2].map(() => startRawEngine(t)));
  for (const engine of engines) engine.handler = (request) => request.connection.write(wholeStream("a"));
  const router = await startTestRouter(t, ["--static-backends", engines.map(({ url }) => url).join(","), ...argv]);
  return { engines, router };
}

function explanationOf(response: ClientResponse): Explained | null {
  const line = response.header("x-lmstack-explain");
  return line === undefined ? null : (JSON.parse(line) as Explained);
}

test("policy, reason, endpoint and scores stand in the answer of who asks, and of nobody else", async (t) => {
  const { engines, router } = await fleet(t);
  const send = (...fields: string[]) => post(router.port, "/v1/completions", body, fields);
  assert.equal(explanationOf(await send()), null);
  assert.equal(explanationOf(await send("x-lmstack-explain: 0")), null);
  const explained = explanationOf(await send(ask));
  assert.ok(explained !== null);
  const home = engines.find((engine) => engine.requests.length === 3);
  assert.ok(home !== undefined);
  assert.equal(explained.policy, "prefixaware");
  assert.equal(explained.reason, "prefix_hit");
  assert.equal(explained.endpoint, `127.0.0.1:${home.port}`);
  assert.equal(explained.prompt_tokens, 850);
  assert.equal(explained.candidates, 3);
  assert.equal(explained.scores.length, 3);
  const [best, second] = explained.scores;
  assert.ok(best !== undefined && second !== undefined);
  assert.equal(best.endpoint, explained.endpoint);
  assert.equal(best.cached_tokens, explained.cached_tokens);
  assert.ok(best.cached_tokens > 700 && second.cached_tokens === 0 && best.cost_ms < second.cost_ms);
  // no engine is told of it
  assert.equal(home.requests[2]?.header("x-lmstack-explain"), undefined);
});

test("a policy without scores tells its reason", async (t) => {
  const { router } = await fleet(t, "--routing-logic", "roundrobin");
  const explained = explanationOf(await post(router.port, "/v1/completions", body, [ask]));
  assert.equal(explained?.reason, "round_robin");
  assert.deepEqual(explained.scores, []);
});

test("with an administrator's key the engines' names are for who has it, and no engine sees it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "lmstack-explain-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "admin"), "admin-secret\n");
  writeFileSync(join(folder, "client"), "client-secret\n");
  const { engines, router } = await fleet(
    t,
    "--admin-key-file",
    join(folder, "admin"),
    "--api-key-file",
    join(folder, "client"),
  );
  const send = (...fields: string[]) =>
    post(router.port, "/v1/completions", body, ["authorization: Bearer client-secret", ask, ...fields]);
  assert.equal(explanationOf(await send()), null);
  assert.equal(explanationOf(await send("x-lmstack-admin-key: wrong")), null);
  assert.notEqual(explanationOf(await send("x-lmstack-admin-key: admin-secret")), null);
  for (const engine of engines) {
    for (const { head } of engine.requests) assert.doesNotMatch(head, /secret|x-lmstack/);
  }
});
