// A stored response lives on one engine: what asks for it by its id, or goes on from it, must go there.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import { errorOf, exchange, get, post, rawRequest } from "../helpers/http-client.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import type { TestContext } from "node:test";

async function four(t: TestContext): Promise<TestRouter> {
  const engines = await Promise.all([0, 1, 2, 3].map((seed) => startEngine({ models: ["m"], preset: "fast", seed })));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  return await startTestRouter(t, [
    "--static-backends",
    engines.map((engine) => engine.url).join(","),
    "--routing-logic",
    "roundrobin",
  ]);
}

const idOf = (text: string): string => {
  const id = /"id": ?"(resp_[^"]+)"/.exec(text)?.[1];
  assert.ok(id !== undefined, text);
  return id;
};

for (const stream of [false, true]) {
  test(`a response made ${stream ? "by a stream" : "at once"} is found again on its engine of four`, async (t) => {
    const router = await four(t);
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) {
      const response = await post(router.port, "/v1/responses", {
        model: "m",
        input: "x",
        max_output_tokens: 3,
        store: true,
        stream,
      });
      assert.equal(response.status, 200, response.text);
      ids.push(idOf(response.text));
    }
    for (const path of ["/v1/responses", "/responses"]) {
      for (const id of ids) {
        const found = await get(router.port, `${path}/${id}`);
        assert.equal(found.status, 200, found.text);
        assert.equal(idOf(found.text), id);
      }
    }
    const homes = new Set(ids.map((id) => router.context.responses.find(id)));
    assert.equal(homes.size, 4);
  });
}

test("previous_response_id leads to the engine that holds it", async (t) => {
  const router = await four(t);
  const first = await post(router.port, "/v1/responses", { model: "m", input: "x", max_output_tokens: 3, store: true });
  const id = idOf(first.text);
  for (let i = 0; i < 5; i++) {
    const next = await post(router.port, "/v1/responses", {
      model: "m",
      input: "more",
      max_output_tokens: 3,
      previous_response_id: id,
    });
    assert.equal(next.status, 200, next.text);
    assert.equal(router.context.responses.find(idOf(next.text)), router.context.responses.find(id));
  }
});

test("a response that no engine here holds is 404, for each way to ask for it", async (t) => {
  const router = await four(t);
  const asked = [
    await get(router.port, "/v1/responses/resp_none"),
    await post(router.port, "/v1/responses/resp_none/cancel", ""),
    await exchange(router.port, rawRequest("DELETE", "/v1/responses/resp_none", null)),
    await post(router.port, "/v1/responses", { model: "m", input: "x", previous_response_id: "resp_none" }),
  ];
  for (const response of asked) {
    const error = errorOf(response);
    assert.equal(error.status, 404);
    assert.equal(error.code, "response_not_found");
    assert.match(error.message, /resp_none/);
  }
  await router.idle();
});

test("a response whose engine has left is 404 rather than asked of another", async (t) => {
  const router = await four(t);
  const id = idOf(
    (await post(router.port, "/v1/responses", { model: "m", input: "x", max_output_tokens: 3, store: true })).text,
  );
  const home = router.context.responses.find(id);
  const { dynamic } = router.context.config;
  router.running.apply(
    { ...dynamic, endpoints: dynamic.endpoints.filter(({ url }) => !url.endsWith(home ?? "")) },
    "without",
  );
  assert.equal((await get(router.port, `/v1/responses/${id}`)).status, 404);
});

// After a restart of the router, or asked at another replica, a response was 404 though its only engine still held it.
test("where there is only one engine it is asked for what this router knows nothing of", async (t) => {
  const engine = await startEngine({ models: ["m"], preset: "fast" });
  t.after(() => engine.close());
  const before = await startTestRouter(t, ["--static-backends", engine.url]);
  const made = await post(before.port, "/v1/responses", { model: "m", input: "x", max_output_tokens: 3, store: true });
  const id = idOf(made.text);
  const after = await startTestRouter(t, ["--static-backends", engine.url]);
  assert.equal(idOf((await get(after.port, `/v1/responses/${id}`)).text), id);
  const next = await post(after.port, "/v1/responses", {
    model: "m",
    input: "y",
    max_output_tokens: 3,
    previous_response_id: id,
  });
  assert.equal(next.status, 200, next.text);
});
