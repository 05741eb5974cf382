// Traces as a collector gets them, on the wire, by both protocols; and that nothing of OpenTelemetry is there without one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { start } from "../commands/process.ts";
import { temporaryFile } from "../helpers/files.ts";
import { get, post } from "../helpers/http-client.ts";
import { jsonAnswer, startRawEngine, type RawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { startGrpcReceiver, startHttpReceiver, type OtlpReceiver, type ReceivedSpan } from "./otlp-receiver.ts";

const secret = "The-prompt-is-nobody's-business";
const parentTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const parentSpan = "00f067aa0ba902b7";

async function traced(
  t: TestContext,
  endpoint: string,
  flags: readonly string[] = [],
): Promise<{ bad: RawEngine; good: RawEngine; router: TestRouter }> {
  const [bad, good] = [await startRawEngine(t), await startRawEngine(t)];
  bad.handler = (request) => request.connection.reset();
  good.handler = (request) =>
    request.connection.write(
      jsonAnswer({ object: "test", usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 } }),
    );
  const router = await startTestRouter(t, [
    "--static-backends",
    `${bad.url},${good.url}`,
    "--routing-logic",
    "roundrobin",
    "--otel-endpoint",
    endpoint,
    ...flags,
  ]);
  return { bad, good, router };
}

/** Asks until a request has met the bad engine first; its trace ends up with two attempts. */
async function askWithRetry(router: TestRouter, bad: RawEngine, fields: readonly string[] = []): Promise<void> {
  for (let i = 0; i < 4 && bad.requests.length === 0; i++) {
    const answer = await post(router.port, "/v1/chat/completions", { model: "test-model", messages: [secret] }, fields);
    assert.equal(answer.status, 200);
  }
  await router.idle();
}

/** Spans of the trace that has a retry. */
async function withRetry(receiver: OtlpReceiver): Promise<ReceivedSpan[]> {
  const find = (): ReceivedSpan | undefined =>
    receiver.spans.find((span) => span.kind === 2 && span.attributes["lmstack.attempts"] === 2);
  await until(() => find() !== undefined, "the trace has arrived");
  const server = find();
  return receiver.spans.filter(
    (span) => span === server || (span.traceId === server?.traceId && span.parentSpanId === server.spanId),
  );
}

for (const protocol of ["grpc", "http"] as const) {
  test(`the spans of a request with a retry arrive by ${protocol}, each below its parent`, async (t) => {
    const receiver = await (protocol === "grpc" ? startGrpcReceiver(t) : startHttpReceiver(t));
    const endpoint = protocol === "grpc" ? `127.0.0.1:${receiver.port}` : `http://127.0.0.1:${receiver.port}/v1/traces`;
    const { bad, good, router } = await traced(t, endpoint, ["--otel-service-name", "my-router"]);
    await askWithRetry(router, bad, [`traceparent: 00-${parentTrace}-${parentSpan}-01`, "tracestate: a=b"]);
    const spans = await withRetry(receiver);

    const server = spans.find(({ kind }) => kind === 2);
    assert.ok(server !== undefined);
    assert.equal(server.name, "POST /v1/chat/completions");
    assert.equal(server.service, "my-router");
    assert.equal(server.traceId, parentTrace, "the client's trace goes on");
    assert.equal(server.parentSpanId, parentSpan);
    const { attributes } = server;
    assert.equal(attributes["http.response.status_code"], 200);
    assert.equal(attributes["gen_ai.operation.name"], "chat");
    assert.equal(attributes["gen_ai.request.model"], "test-model");
    assert.equal(attributes["gen_ai.usage.input_tokens"], 7);
    assert.equal(attributes["gen_ai.usage.output_tokens"], 5);
    assert.equal(attributes["lmstack.outcome"], "ok");
    assert.equal(server.status, 0);

    const routes = spans.filter(({ name }) => name === "route");
    assert.equal(routes.length, 2);
    assert.deepEqual(
      routes[0]?.attributes["lmstack.candidates"],
      [bad, good].map(({ port }) => `127.0.0.1:${port}`),
    );
    assert.equal(routes[0]?.attributes["lmstack.policy"], "roundrobin");
    assert.equal(routes[0]?.attributes["lmstack.reason"], "round_robin");

    const attempts = spans.filter(({ kind }) => kind === 3).toSorted((a, b) => Number(a.startNs - b.startNs));
    assert.deepEqual(
      attempts.map((span) => [
        span.name,
        span.attributes["server.port"],
        span.attributes["lmstack.outcome"],
        span.status,
      ]),
      [
        ["chat test-model", bad.port, "reset", 2],
        ["chat test-model", good.port, "ok", 0],
      ],
    );
    for (const span of [...routes, ...attempts]) {
      assert.ok(span.startNs >= server.startNs && span.endNs <= server.endNs && span.endNs >= span.startNs, span.name);
    }
    // each engine was told of the span of its own attempt
    const told = [bad.requests[0], good.requests.at(-1)].map((request) => [
      request?.header("traceparent"),
      request?.header("tracestate"),
      request?.headers.filter(([name]) => name.toLowerCase() === "traceparent").length,
    ]);
    assert.deepEqual(
      told,
      attempts.map(({ spanId }) => [`00-${parentTrace}-${spanId}-01`, "a=b", 1]),
    );
    assert.ok(
      !JSON.stringify(receiver.spans, (_, value: unknown) => (typeof value === "bigint" ? 0 : value)).includes(secret),
    );
    assert.deepEqual(
      [...new Set(receiver.calls)],
      protocol === "grpc"
        ? ["/opentelemetry.proto.collector.trace.v1.TraceService/Export application/grpc+proto"]
        : ["/v1/traces application/x-protobuf"],
    );

    // the trace is found from the metrics
    const metrics = await get(router.port, "/metrics", ["accept: application/openmetrics-text"]);
    assert.match(
      metrics.text,
      new RegExp(
        `^lmstack_request_duration_seconds_bucket\\{model="test-model",le="[^"]+"\\} \\d+ # \\{trace_id="${parentTrace}"\\}`,
        "m",
      ),
    );
  });
}

test("a route span has the scores of a policy that has some", async (t) => {
  const receiver = await startGrpcReceiver(t);
  const { bad, good, router } = await traced(t, `127.0.0.1:${receiver.port}`, ["--routing-logic", "prefixaware"]);
  bad.handler = good.handler;
  await post(router.port, "/v1/chat/completions", { model: "test-model", messages: [] });
  await until(() => receiver.spans.some(({ name }) => name === "route"), "the span has arrived");
  const attributes = receiver.spans.find(({ name }) => name === "route")?.attributes ?? {};
  assert.deepEqual(
    attributes["lmstack.scores.endpoint"],
    [bad, good].map(({ port }) => `127.0.0.1:${port}`),
  );
  for (const part of ["cost", "wait_ms", "prefill_ms", "cached_tokens"]) {
    const values = attributes[`lmstack.scores.${part}`];
    assert.ok(Array.isArray(values) && values.length === 2 && values.every(Number.isFinite), part);
  }
});

test("a trace that the client does not record is not recorded here, and engines are told so", async (t) => {
  const receiver = await startGrpcReceiver(t);
  const { good, bad, router } = await traced(t, `127.0.0.1:${receiver.port}`);
  await askWithRetry(router, bad, [`traceparent: 00-${parentTrace}-${parentSpan}-00`]);
  assert.match(good.requests.at(-1)?.header("traceparent") ?? "", new RegExp(`^00-${parentTrace}-[0-9a-f]{16}-00$`));
  await router.context.tracing?.stop();
  assert.deepEqual(receiver.spans, []);
});

test("a malformed traceparent begins a new trace", async (t) => {
  const receiver = await startGrpcReceiver(t);
  const { bad, router } = await traced(t, `127.0.0.1:${receiver.port}`);
  await askWithRetry(router, bad, [`traceparent: 00-${"0".repeat(32)}-${parentSpan}-01`]);
  const server = (await withRetry(receiver)).find(({ kind }) => kind === 2);
  assert.notEqual(server?.traceId, "0".repeat(32));
  assert.equal(server?.parentSpanId, "");
});

test("spans that a collector does not take are counted, and said once", async (t) => {
  const receiver = await startGrpcReceiver(t);
  receiver.grpcStatus = 7;
  const { bad, router } = await traced(t, `127.0.0.1:${receiver.port}`);
  const said: string[] = [];
  router.running.log.warn = (message) => void said.push(message);
  await askWithRetry(router, bad);
  await until(() => router.metric('lmstack_spans_total{result="failed"}') > 0, "the failure is counted");
  assert.equal(said.length, 1);
  assert.match(said[0] ?? "", /collector takes none: gRPC status 7/);
});

test("Server-Timing tells where the time went, and can be left out", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const shape = /^queue;dur=0\.0, route;dur=\d+\.\d, engine;dur=\d+\.\d, total;dur=\d+\.\d$/;
  const body = { model: "test-model" };
  assert.match((await post(router.port, "/v1/completions", body)).header("server-timing") ?? "", shape);
  const unknown = await post(router.port, "/v1/completions", { model: "nobody" });
  assert.match(unknown.header("server-timing") ?? "", shape);
  const silent = await startTestRouter(t, ["--static-backends", engine.url, "--no-server-timing"]);
  assert.equal((await post(silent.port, "/v1/completions", body)).header("server-timing"), undefined);
});

test("no module of OpenTelemetry is loaded unless a collector is configured", async (t) => {
  const engine = await startRawEngine(t);
  // a file: what a pipe takes of a process that may not wait for it depends on how fast it is read
  const list = temporaryFile(t, "loaded", "");
  const hook = temporaryFile(
    t,
    "hook.mjs",
    `import { registerHooks } from "node:module";
import { appendFileSync } from "node:fs";
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    if (resolved.url.includes("opentelemetry") || resolved.url.includes("/otel/")) appendFileSync(${JSON.stringify(list)}, specifier + "\\n");
    return resolved;
  },
});
`,
  );
  const args = ["router", "--host", "127.0.0.1", "--port", "0", "--static-backends", engine.url];
  const env = { NODE_OPTIONS: `--import ${hook}` };
  for (const flags of [[], ["--otel-endpoint", "127.0.0.1:1"]]) {
    const command = start(t, [...args, ...flags], env);
    const [, port] = await command.says(/listening on http:\/\/[^:]+:(\d+)/);
    await post(Number(port), "/v1/completions", { model: "test-model" });
    command.child.kill("SIGKILL");
    await command.exit();
    const loaded = readFileSync(list, "utf8");
    assert.equal(loaded !== "", flags.length > 0, loaded);
  }
});
