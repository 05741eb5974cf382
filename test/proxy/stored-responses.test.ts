// Requests without a body: a stored response is asked for at the engine that holds it. Regression: the end of an empty body
// was told twice, when the reader asked for it and when the parser came to the end. Each GET was sent to the engine two
// times, and the first of the two was counted on its endpoint for ever.
import assert from "node:assert/strict";
import { test } from "node:test";
import { get, post, rawRequest, exchange } from "../helpers/http-client.ts";
import { jsonAnswer, startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";

test("a request without a body reaches the engine that holds the response, once", async (t) => {
  const engines = await Promise.all([1, 2, 3].map(() => startRawEngine(t)));
  for (const [i, engine] of engines.entries()) {
    engine.handler = (request) => request.connection.write(jsonAnswer({ id: `resp_${i}`, object: "response" }));
  }
  const router = await startTestRouter(t, ["--static-backends", engines.map((engine) => engine.url).join(",")]);
  const created = await post(router.port, "/v1/responses", { model: "test-model", input: "x" });
  const { id } = created.json() as { id: string };
  const holder = engines[Number(id.slice(5))];
  assert.ok(holder !== undefined);

  const asked = [
    () => get(router.port, `/v1/responses/${id}`),
    () => exchange(router.port, rawRequest("DELETE", `/v1/responses/${id}`, null)),
    () => post(router.port, `/v1/responses/${id}/cancel`, ""),
  ];
  for (const [i, ask] of asked.entries()) {
    assert.equal((await ask()).status, 200);
    await router.idle();
    assert.equal(holder.requests.length, i + 2);
  }
  assert.deepEqual(
    holder.requests.slice(1).map(({ method, target, body }) => [method, target, body.length]),
    [
      ["GET", `/v1/responses/${id}`, 0],
      ["DELETE", `/v1/responses/${id}`, 0],
      ["POST", `/v1/responses/${id}/cancel`, 0],
    ],
  );
  assert.equal(
    engines.reduce((sum, engine) => sum + engine.requests.length, 0),
    4,
  );
});
