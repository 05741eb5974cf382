// Keys on real sockets: what each kind guards, how a refusal looks in either API, and that no credential goes where it
// should not.
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { apiTable } from "../../src/api/table.ts";
import { errorOf, exchange, get, post, rawRequest } from "../helpers/http-client.ts";
import { temporaryFile } from "../helpers/files.ts";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";

const body = '{"model":"test-model","messages":[]}';
const bearer = (key: string): string[] => [`authorization: Bearer ${key}`];

test("client keys guard every inference path and the models, and no health", async (t) => {
  const engine = await startRawEngine(t);
  const file = temporaryFile(t, "keys", "# clients\none\n\n  two  \r\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--api-key-file", file]);
  for (const row of apiTable) {
    const guarded = row.kind === "relay" || (row.kind === "own" && row.guard === "client");
    const path = row.path.replace("{id}", "resp_1").replace("{rest}", "test-model");
    if (!guarded || path === "/") continue;
    for (const spelling of [path, path.replace(/^\/v1/, "")]) {
      const response = await exchange(
        router.port,
        rawRequest(row.methods[0] ?? "", spelling, row.methods[0] === "GET" ? null : body),
      );
      assert.equal(response.status, 401, `${row.methods[0]} ${spelling}`);
    }
  }
  assert.equal(engine.requests.length, 0);
  for (const path of ["/health", "/ready", "/version", "/metrics"])
    assert.equal((await get(router.port, path)).status, 200, path);
  for (const key of ["one", "two"]) {
    assert.equal((await post(router.port, "/v1/chat/completions", body, bearer(key))).status, 200);
    assert.equal((await get(router.port, "/v1/models", bearer(key))).status, 200);
  }
});

test("client keys do not open what belongs to administrators, nor the other way round", async (t) => {
  const engine = await startRawEngine(t);
  const clients = temporaryFile(t, "keys", "client\n");
  const admins = temporaryFile(t, "keys", "admin\n");
  const router = await startTestRouter(t, [
    "--static-backends",
    engine.url,
    "--api-key-file",
    clients,
    "--admin-key-file",
    admins,
  ]);
  const status = async (path: string, key: string): Promise<number> =>
    (await get(router.port, path, bearer(key))).status;
  assert.equal(await status("/engines", "admin"), 200);
  assert.equal(await status("/engines", "client"), 401);
  assert.equal((await get(router.port, "/engines")).status, 401);
  assert.equal(await status("/v1/models", "client"), 200);
  assert.equal(await status("/v1/models", "admin"), 401);
  assert.equal((await post(router.port, "/sleep", "{}", bearer("client"))).status, 401);
  assert.equal((await post(router.port, "/sleep", "{}", bearer("admin"))).status, 501);
});

test("an admin key alone guards administration and leaves inference open", async (t) => {
  const engine = await startRawEngine(t);
  const admins = temporaryFile(t, "keys", "admin\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--admin-key-file", admins]);
  assert.equal((await get(router.port, "/engines")).status, 401);
  assert.equal((await post(router.port, "/v1/chat/completions", body)).status, 200);
});

test("a key comes as bearer, in any case of the scheme, or as x-api-key as Anthropic's clients send it", async (t) => {
  const engine = await startRawEngine(t);
  const file = temporaryFile(t, "keys", "secret\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--api-key-file", file]);
  for (const field of [
    "authorization: Bearer secret",
    "Authorization: bearer  secret",
    "x-api-key: secret",
    "X-API-Key: secret",
  ]) {
    assert.equal((await post(router.port, "/v1/messages", body, [field])).status, 200, field);
  }
  for (const field of [
    "authorization: Basic secret",
    "authorization: secret",
    "authorization: Bearer",
    "authorization: Bearer secret2",
    "authorization: Bearer secre",
    "x-api-key: ",
    "cookie: secret",
  ]) {
    assert.equal((await post(router.port, "/v1/messages", body, [field])).status, 401, field);
  }
  assert.equal((await get(router.port, "/v1/models?api_key=secret")).status, 401);
  assert.equal((await get(router.port, "/v1/models", ["authorization: Bearer # clients"])).status, 401);
});

test("a refusal is in the shape of the API, says what to send, and is not worth repeating", async (t) => {
  const engine = await startRawEngine(t);
  const file = temporaryFile(t, "keys", "secret\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--api-key-file", file]);
  const response = await post(router.port, "/v1/chat/completions", body);
  assert.deepEqual(errorOf(response), {
    status: 401,
    message: "An API key is needed: send `Authorization: Bearer KEY`.",
    type: "authentication_error",
    param: null,
    code: "invalid_api_key",
  });
  assert.equal(response.header("www-authenticate"), "Bearer");
  assert.equal(response.header("x-should-retry"), "false");
  const wrong = await post(router.port, "/v1/chat/completions", body, bearer("guess"));
  assert.equal(errorOf(wrong).code, "invalid_api_key");
  assert.doesNotMatch(wrong.text, /guess|secret/);
  const anthropic = await post(router.port, "/v1/messages", body, ["x-request-id: mine"]);
  assert.equal(anthropic.status, 401);
  assert.deepEqual(anthropic.json(), {
    type: "error",
    error: { type: "authentication_error", message: "An API key is needed: send `Authorization: Bearer KEY`." },
    request_id: "mine",
  });
});

test("a refusal leaves a client that is still sending its body alive to read it", async (t) => {
  const engine = await startRawEngine(t);
  const file = temporaryFile(t, "keys", "secret\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--api-key-file", file]);
  const response = await post(
    router.port,
    "/v1/completions",
    JSON.stringify({ model: "test-model", prompt: "x".repeat(5_000_000) }),
  );
  assert.equal(response.status, 401);
  assert.ok(response.complete);
});

test("with client keys on, the client's credential does not reach the engine", async (t) => {
  const engine = await startRawEngine(t);
  const file = temporaryFile(t, "keys", "secret\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--api-key-file", file]);
  await post(router.port, "/v1/messages", body, [...bearer("secret"), "x-api-key: secret"]);
  assert.ok(engine.requests[0]);
  assert.doesNotMatch(engine.requests[0].head, /secret|authorization|x-api-key/i);
});

test("the engine's key is sent to engines, with requests and checks, and never a client's beside it", async (t) => {
  const engine = await startRawEngine(t);
  const file = temporaryFile(t, "keys", "engine-secret\n");
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--engine-api-key-file", file]);
  await post(router.port, "/v1/chat/completions", body, [...bearer("clients-own"), "x-api-key: clients-own"]);
  const sent = [...engine.requests, ...engine.checks];
  assert.ok(sent.length >= 3);
  for (const { head, header } of sent) {
    assert.equal(header("authorization"), "Bearer engine-secret");
    assert.doesNotMatch(head, /clients-own/);
  }
});

test("changed key files are read anew; emptied or lost ones leave the old keys in force", async (t) => {
  const engine = await startRawEngine(t);
  const clients = temporaryFile(t, "keys", "old\n");
  const engines = temporaryFile(t, "keys", "engine-old\n");
  const clock = new ManualClock();
  const router = await startTestRouter(
    t,
    ["--static-backends", engine.url, "--api-key-file", clients, "--engine-api-key-file", engines],
    { clock },
  );
  const status = async (key: string): Promise<number> =>
    (await post(router.port, "/v1/chat/completions", body, bearer(key))).status;
  assert.equal(await status("old"), 200);
  writeFileSync(clients, "new\n");
  writeFileSync(engines, "engine-new\n");
  assert.equal(await status("old"), 200);
  clock.advance(6000);
  assert.equal(await status("old"), 401);
  assert.equal(await status("new"), 200);
  assert.equal(engine.requests.at(-1)?.header("authorization"), "Bearer engine-new");
  writeFileSync(clients, "\n# none\n");
  clock.advance(6000);
  assert.equal(await status("new"), 200);
  assert.equal(await status("old"), 401);
  rmSync(clients);
  rmSync(engines);
  clock.advance(6000);
  assert.equal(await status("new"), 200);
  assert.equal(engine.requests.at(-1)?.header("authorization"), "Bearer engine-new");
});
