// What bad input gets: every error of the request path with its status, code and field, and a message that says what
// happened and what to do; each is readable by a plain client.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RawClient, errorOf, exchange, get, post, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import { chunk, lastChunk, startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

interface Expected {
  readonly status: number;
  readonly code: string;
  readonly param?: string;
  readonly message: RegExp;
}

const json = (text: string): Buffer => rawRequest("POST", "/v1/chat/completions", text);
const form = (parts: string, type = "multipart/form-data; boundary=b"): Buffer =>
  rawRequest("POST", "/v1/audio/transcriptions", parts, [`content-type: ${type}`]);

const cases: Readonly<Record<string, readonly [Buffer | string, Expected]>> = {
  "no HTTP at all": ["hello\r\n\r\n", { status: 400, code: "malformed_http", message: /METHOD TARGET VERSION/ }],
  "a bare LF": ["GET /health HTTP/1.1\nhost: x\n\n", { status: 400, code: "malformed_http", message: /bare LF/ }],
  "both framings": [
    "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
    { status: 400, code: "malformed_http", message: /both Content-Length and Transfer-Encoding/ },
  ],
  "no host": ["GET /health HTTP/1.1\r\n\r\n", { status: 400, code: "malformed_http", message: /Host/ }],
  "a broken chunk": [
    "POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    { status: 400, code: "malformed_http", message: /chunk size/ },
  ],
  "a head over the limit": [
    `GET /health HTTP/1.1\r\nhost: x\r\nx-long: ${"a".repeat(70_000)}\r\n\r\n`,
    { status: 431, code: "head_too_large", message: /65536 bytes/ },
  ],
  "an unknown expectation": [
    "POST /v1/completions HTTP/1.1\r\nhost: x\r\nexpect: 200-ok\r\ncontent-length: 2\r\n\r\n{}",
    { status: 417, code: "expectation_failed", message: /100-continue/ },
  ],
  "JSON that ends early": [
    json('{"model":"test-model","mess'),
    { status: 400, code: "invalid_json", message: /ends at byte 27/ },
  ],
  "JSON that breaks": [
    json('{"model":"test-model" "x":1}'),
    { status: 400, code: "invalid_json", message: /comma.*at byte 22/ },
  ],
  "JSON with a comma at its end": [
    json('{"model":"test-model",}'),
    { status: 400, code: "invalid_json", message: /at byte 22/ },
  ],
  "brackets that do not match": [
    json('{"model":"test-model","x":[}'),
    { status: 400, code: "invalid_json", message: /at byte 27/ },
  ],
  "a list": [json("[]"), { status: 400, code: "invalid_json", message: /not a JSON object/ }],
  text: [json("model=test-model"), { status: 400, code: "invalid_json", message: /not a JSON object/ }],
  "two objects": [
    json('{"model":"test-model"}{}'),
    { status: 400, code: "invalid_json", message: /something follows/ },
  ],
  "an empty body": [json(""), { status: 400, code: "invalid_json", message: /empty/ }],
  "no body": [
    rawRequest("POST", "/v1/chat/completions", null),
    { status: 400, code: "invalid_json", message: /empty/ },
  ],
  "a compressed body": [
    rawRequest("POST", "/v1/chat/completions", "\u001f", ["content-encoding: gzip"]),
    { status: 400, code: "invalid_json", message: /content-encoding "gzip".*uncompressed/ },
  ],
  "no model": [
    json('{"messages":[]}'),
    { status: 400, code: "missing_model", param: "model", message: /"model" is missing.*\/v1\/models/ },
  ],
  "an empty model": [
    json('{"model":""}'),
    { status: 400, code: "missing_model", param: "model", message: /"model" is empty/ },
  ],
  "a model that is null": [
    json('{"model":null}'),
    { status: 400, code: "missing_model", param: "model", message: /must be a string, not null/ },
  ],
  "a model that is a number": [
    json('{"model":1}'),
    { status: 400, code: "missing_model", param: "model", message: /must be a string, not a number/ },
  ],
  "a model that is a list": [
    json('{"model":["a"]}'),
    { status: 400, code: "missing_model", param: "model", message: /must be a string, not an array/ },
  ],
  "a model that is an object": [
    json('{"model":{}}'),
    { status: 400, code: "missing_model", param: "model", message: /must be a string, not an object/ },
  ],
  "a model that nobody serves": [
    json('{"model":"gpt-4"}'),
    { status: 404, code: "model_not_found", param: "model", message: /`gpt-4`.*known: test-model/ },
  ],
  "a form where its type says JSON": [
    form("{}", "application/json"),
    { status: 400, code: "missing_model", param: "model", message: /missing/ },
  ],
  "a form without boundary": [
    form("x", "multipart/form-data"),
    { status: 400, code: "invalid_form", message: /boundary/ },
  ],
  "a form without its end": [
    form('--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ntest-model'),
    { status: 400, code: "invalid_form", message: /no end/ },
  ],
  "a form without model": [
    form('--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n'),
    { status: 400, code: "missing_model", param: "model", message: /form field "model" is missing/ },
  ],
  "a response that nobody holds": [
    rawRequest("GET", "/v1/responses/resp%20none", null),
    { status: 404, code: "response_not_found", message: /resp none/ },
  ],
};

for (const [what, [bytes, expected]] of Object.entries(cases)) {
  test(`${what}: ${expected.status} ${expected.code}`, async (t) => {
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const response = await exchange(router.port, bytes);
    check(response, expected);
    assert.equal(engine.requests.length, 0);
    await router.idle();
  });
}

function check(response: ClientResponse, { status, code, param, message }: Expected): void {
  assert.ok(response.complete, response.text);
  assert.equal(response.header("content-type"), "application/json");
  const error = errorOf(response);
  assert.equal(error.status, status, error.message);
  assert.equal(error.code, code);
  assert.equal(error.param, param ?? null);
  assert.match(error.message, message);
  assert.equal(error.type, "invalid_request_error");
  assert.equal(response.header("x-should-retry"), "false");
  assert.ok((response.header("x-request-id") ?? "").length > 0);
}

test("malformed HTTP closes the connection, wrong JSON does not", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const broken = await RawClient.connect(router.port);
  broken.write("GET / HTTP/1.1\r\nhost : x\r\n\r\n");
  assert.equal((await broken.response()).header("connection"), "close");
  assert.equal(await broken.ended(), "closed");
  const wrong = await RawClient.connect(router.port);
  for (let i = 0; i < 3; i++) {
    wrong.write(json("{"));
    assert.equal((await wrong.response()).status, 400);
  }
  wrong.write(json('{"model":"test-model"}'));
  assert.equal((await wrong.response()).status, 200);
  wrong.close();
});

for (const framing of ["a length", "chunks"] as const) {
  test(`A6: a body over the limit in ${framing} gets 413 that names the limit, while the client is still sending`, async (t) => {
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url, "--max-body-bytes", "100000"]);
    const head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\n";
    const text = `{"model":"test-model","prompt":"${"x".repeat(3_000_000)}"}`;
    const client = await RawClient.connect(router.port);
    if (framing === "a length") client.write(`${head}content-length: ${text.length}\r\n\r\n${text}`);
    else {
      client.write(`${head}transfer-encoding: chunked\r\n\r\n`);
      for (let at = 0; at < text.length; at += 50_000) client.write(chunk(text.slice(at, at + 50_000)));
      client.write(lastChunk);
    }
    const response = await client.response();
    check(response, { status: 413, code: "body_too_large", message: /100000 bytes \(--max-body-bytes\)/ });
    assert.equal(response.end, "open");
    assert.equal(response.header("connection"), "close");
    client.close();
    assert.equal(engine.requests.length, 0);
  });
}

test("A6: a body of exactly the limit passes, one byte more does not", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--max-body-bytes", "2048"]);
  const sized = (bytes: number): string => `{"model":"test-model","p":"${"x".repeat(bytes - 29)}"}`;
  assert.equal(sized(2048).length, 2048);
  assert.equal((await post(router.port, "/v1/completions", sized(2048))).status, 200);
  assert.equal((await post(router.port, "/v1/completions", sized(2049))).status, 413);
});

test("on /v1/messages errors are in Anthropic's shape, whatever the error", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const types: readonly [string, number, string][] = [
    ["{", 400, "invalid_request_error"],
    ["{}", 400, "invalid_request_error"],
    ['{"model":"gpt-4"}', 404, "invalid_request_error"],
  ];
  for (const [text, status, type] of types) {
    const response = await post(router.port, "/v1/messages", text);
    assert.equal(response.status, status);
    const shape = response.json() as { type: string; error: { type: string; message: string }; request_id: string };
    assert.equal(shape.type, "error");
    assert.match(shape.error.type, new RegExp(`${type}|not_found_error`));
    assert.equal(shape.request_id, response.header("x-request-id"));
  }
});

async function withoutEngines(t: Parameters<typeof startRawEngine>[0]): Promise<TestRouter> {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--static-models", "test-model"]);
  engine.kill();
  const endpoint = router.context.registry.list()[0];
  assert.ok(endpoint);
  router.running.apply(
    {
      ...router.context.config.dynamic,
      endpoints: [{ url: "http://127.0.0.1:1", models: ["test-model"], label: null, modelType: null }],
    },
    "test",
  );
  await until(() => router.context.registry.list().length === 1, "the old endpoint is gone");
  return router;
}

test("G2: a known model without a ready endpoint: 503 no_endpoint with retry-after, in both spellings, and their states", async (t) => {
  const router = await withoutEngines(t);
  const response = await post(router.port, "/v1/chat/completions", '{"model":"test-model"}');
  const error = errorOf(response);
  assert.equal(error.status, 503);
  assert.equal(error.code, "no_endpoint");
  assert.equal(error.type, "overloaded_error");
  assert.match(error.message, /`test-model`.*127\.0\.0\.1:1 starting/);
  const seconds = Number(response.header("retry-after"));
  const ms = Number(response.header("retry-after-ms"));
  assert.ok(seconds >= 1 && seconds <= 2 && ms >= 1000 && ms <= 2000 && ms <= seconds * 1000);
  assert.equal(response.header("x-should-retry"), "true");
  assert.equal(router.metric('lmstack_requests_total{model="test-model",api="chat",outcome="no_endpoint"}'), 1);
  assert.equal(
    (await get(router.port, "/ready")).status,
    200,
    "the absence of engines is no reason to leave the Service",
  );
});

test("F5, G2: request bodies beyond --max-buffered-bytes in all: 503 overloaded, and the memory is given back", async (t) => {
  const engine = await startRawEngine(t, { handler: () => undefined });
  const router = await startTestRouter(t, [
    "--static-backends",
    engine.url,
    "--max-buffered-bytes",
    "200000",
    "--max-body-bytes",
    "150000",
  ]);
  const text = `{"model":"test-model","prompt":"${"x".repeat(120_000)}"}`;
  const first = await RawClient.connect(router.port);
  first.write(rawRequest("POST", "/v1/completions", text));
  await until(() => engine.requests.length === 1, "the engine has the first request");
  const response = await post(router.port, "/v1/completions", text);
  assert.equal(errorOf(response).code, "overloaded");
  assert.equal(response.status, 503);
  assert.equal(response.header("x-should-retry"), "true");
  // whoever asks how the router is must not be told that it is dead
  for (const path of ["/health", "/ready", "/metrics"]) assert.equal((await get(router.port, path)).status, 200);
  first.close();
  await router.idle();
  assert.equal(router.context.bufferedBytes, 0);
});

test("a head, and a body, that do not come are ended with 408", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, [
    "--static-backends",
    engine.url,
    "--head-timeout-seconds",
    "0.05",
    "--body-idle-timeout-seconds",
    "0.05",
  ]);
  for (const part of ["GET /health HT", json('{"model":"test-model"}').subarray(0, -3)]) {
    const response = await exchange(router.port, part);
    check(response, { status: 408, code: "request_timeout", message: /not received within 0\.05 s/ });
  }
  assert.equal(engine.requests.length, 0);
});

// The first second of `lmstack up` said 404 for its own model.
test("while endpoints are on their way a model is not unknown, it has to be waited for", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const ask = (): Promise<ClientResponse> => post(router.port, "/v1/completions", '{"model":"later","prompt":""}');
  router.context.registry.expecting = true;
  const response = await ask();
  assert.deepEqual([response.status, errorOf(response).code], [503, "no_endpoint"]);
  assert.match(errorOf(response).message, /try again shortly/);
  assert.equal(response.header("x-should-retry"), "true");
  router.context.registry.expecting = false;
  check(await ask(), { status: 404, code: "model_not_found", param: "model", message: /later/ });
});
