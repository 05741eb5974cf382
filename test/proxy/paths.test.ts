// Rows A7 and A8: only the paths of the table exist, with and without `/v1`; what vLLM leaves outside of its key can't be
// reached through the router.
import assert from "node:assert/strict";
import { test } from "node:test";
import { apiTable } from "../../src/api/table.ts";
import { errorOf, exchange, get, post, rawRequest } from "../helpers/http-client.ts";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";

const body = '{"model":"test-model","prompt":"x"}';

/** What vLLM serves and nobody may reach from outside (its docs/usage/security.md), and spellings that might slip by. */
const closed = [
  "/collective_rpc",
  "/v1/collective_rpc",
  "/invocations",
  "/pause",
  "/resume",
  "/v1/load_lora_adapter",
  "/v1/unload_lora_adapter",
  "/reset_prefix_cache",
  "/reset_mm_cache",
  "/server_info",
  "/start_profile",
  "/stop_profile",
  "/update_weights",
  "/scale_elastic_ep",
  "/inference/v1/generate",
  "/ping",
  "/load",
  "/docs",
  "/openapi.json",
  "/v1",
  "/v1/",
  "//v1/completions",
  "/v1//completions",
  "/v1/./completions",
  "/v1/../collective_rpc",
  "/v1/completions/../../collective_rpc",
  "/v1/completions/x",
  "/v1/%63ompletions",
  "/v1/completions%2f..%2f..%2fcollective_rpc",
  "/v1/v1/completions",
  "/V1/completions",
  "/sim/state",
  "/v1/responses/a/b",
  "/v1/responses/../../collective_rpc",
];

for (const path of closed) {
  test(`A7: POST ${path} is answered 404 and reaches no engine`, async (t) => {
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const response = await post(router.port, path, body);
    const error = errorOf(response);
    assert.equal(error.status, 404);
    assert.equal(error.code, "path_not_found");
    assert.equal(response.header("x-should-retry"), "false");
    assert.equal(engine.requests.length, 0);
  });
}

test("A7: sleep, wake and files are known and not built; they reach no engine either", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const path of ["/sleep", "/wake_up", "/v1/files", "/v1/batches"]) {
    const error = errorOf(await post(router.port, path, "{}"));
    assert.equal(error.status, 501, path);
    assert.equal(error.code, "not_implemented");
  }
  assert.equal(engine.requests.length, 0);
});

test("A7: a response's id is never part of another path: one that no engine gave is 404 here", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const id of [
    "..%2f..%2fcollective_rpc",
    "..",
    "%2e%2e",
    "resp_1%2f..%2f..",
    "a%0d%0ax: y".replace(" ", "%20"),
    "%zz",
  ]) {
    for (const path of [`/v1/responses/${id}`, `/responses/${id}`]) {
      assert.equal(errorOf(await get(router.port, path)).code, "response_not_found", path);
    }
  }
  assert.equal(engine.requests.length, 0);
});

test("A7: a wrong method gets 405 with the methods that are allowed, and reaches no engine", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const cases: readonly [string, string, string][] = [
    ["GET", "/v1/completions", "POST"],
    ["DELETE", "/v1/chat/completions", "POST"],
    ["PUT", "/v1/responses/resp_1", "GET, DELETE"],
    ["GET", "/v1/responses/resp_1/cancel", "POST"],
    ["OPTIONS", "/v1/embeddings", "POST"],
    ["POST", "/v1/models", "GET, HEAD"],
    ["POST", "/engines", "GET, HEAD"],
    ["POST", "/metrics", "GET, HEAD"],
  ];
  for (const [method, path, allow] of cases) {
    const response = await exchange(router.port, rawRequest(method, path, method === "GET" ? null : "{}"));
    const error = errorOf(response);
    assert.equal(error.status, 405, `${method} ${path}`);
    assert.equal(error.code, "method_not_allowed");
    assert.equal(response.header("allow"), allow);
    assert.match(error.message, new RegExp(`use ${allow}`));
  }
  assert.equal(engine.requests.length, 0);
});

test("A8: each path of the table works with and without /v1, with a slash at its end, and reaches the engine's spelling", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const row of apiTable) {
    if (row.kind !== "relay" || row.modelIn === "response") continue;
    const bare = row.path.replace(/^\/v1/, "");
    for (const path of [bare, `/v1${bare}`, `/v1${bare}/`, `${bare}?x=1`]) {
      const form = row.modelIn === "form";
      const sent = form ? '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ntest-model\r\n--b--\r\n' : body;
      const fields = form ? ["content-type: multipart/form-data; boundary=b"] : [];
      const response = await post(router.port, path, sent, fields);
      assert.equal(response.status, 200, `${path}: ${response.text}`);
      assert.equal(engine.requests.at(-1)?.target, row.path + (path.endsWith("?x=1") ? "?x=1" : ""));
    }
  }
});

test("A8: the router's own answers have both spellings too", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const path of [
    "/models",
    "/v1/models",
    "/models/test-model",
    "/v1/models/test-model",
    "/health",
    "/ready",
    "/version",
    "/metrics",
    "/engines",
  ]) {
    assert.equal((await get(router.port, path)).status, 200, path);
  }
  assert.equal(engine.requests.length, 0);
});

test("A8: below --root-path, and at the root as behind a proxy that strips it", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--root-path", "/llm"]);
  for (const path of ["/llm/v1/completions", "/llm/completions", "/v1/completions"]) {
    assert.equal((await post(router.port, path, body)).status, 200, path);
    assert.equal(engine.requests.at(-1)?.target, "/v1/completions");
  }
  for (const path of ["/llmx/v1/completions", "/llm/collective_rpc", "/llm/llm/v1/completions"]) {
    assert.equal((await post(router.port, path, body)).status, 404, path);
  }
});

test("A8: a model's name may hold slashes and escapes in its path", async (t) => {
  const engine = await startRawEngine(t, { models: ["facebook/opt-125m"] });
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const path of ["/v1/models/facebook/opt-125m", "/v1/models/facebook%2Fopt-125m"]) {
    const response = await get(router.port, path);
    assert.equal(response.status, 200);
    assert.deepEqual(response.json(), {
      id: "facebook/opt-125m",
      object: "model",
      created: 1,
      owned_by: "vllm",
      root: "facebook/opt-125m",
      max_model_len: 2048,
    });
  }
});

// Some load balancers probe with HEAD; 405 took the router out of their rotation.
test("the router's own paths answer HEAD as GET, without a body", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const path of ["/health", "/ready", "/version", "/v1/models"]) {
    const response = await exchange(router.port, rawRequest("HEAD", path, null), true);
    assert.equal(response.status, 200, path);
    assert.ok(Number(response.header("content-length")) > 0, path);
    assert.equal(response.body.length, 0, path);
  }
});
