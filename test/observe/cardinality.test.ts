// What clients send never becomes a series, and what the fleet's size costs stays bounded. The bugs behind it: a rival counts
// requests before it checks the model, so that any string of a client becomes a label value for ever.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { temporaryFile } from "../helpers/files.ts";
import { RawClient, rawRequest } from "../helpers/http-client.ts";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { busyFleet } from "./busy-fleet.ts";

/** Names and labels of all series. */
function seriesOf(router: TestRouter): string[] {
  return router.context.metrics.registry
    .render()
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.slice(0, line.lastIndexOf(" ")));
}

const random = (): string => randomBytes(6).toString("hex");

/** Requests of every kind that a stranger may send, none of them like another. */
function strangers(count: number, key: string): Buffer[] {
  const kinds: (() => Buffer)[] = [
    () => rawRequest("POST", "/v1/chat/completions", `{"model":"${random()}"}`, [`authorization: Bearer ${key}`]),
    () => rawRequest("POST", "/v1/completions", '{"model":"test-model"}', [`authorization: Bearer ${random()}`]),
    () => rawRequest("POST", `/${random()}/${random()}`, "{}", [`authorization: Bearer ${key}`]),
    () => rawRequest("GET", `/v1/models/${random()}?${random()}=${random()}`, null, [`authorization: Bearer ${key}`]),
    () =>
      rawRequest("POST", "/v1/completions", `{"model":"test-model","prompt":"${random()}","user":"${random()}"}`, [
        `authorization: Bearer ${key}`,
        `x-request-id: ${random()}`,
        `x-session-id: ${random()}`,
        `x-user-id: ${random()}`,
        `traceparent: 00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`,
        `x-${random()}: ${random()}`,
      ]),
  ];
  return Array.from({ length: count }, (_, i) => kinds[i % kinds.length]?.() ?? Buffer.alloc(0));
}

async function send(port: number, requests: readonly Buffer[]): Promise<void> {
  let client = await RawClient.connect(port);
  for (const request of requests) {
    client.write(request);
    const response = await client.response();
    assert.ok(response.complete);
    if (response.header("connection") === "close") {
      client.close();
      client = await RawClient.connect(port);
    }
  }
  client.close();
}

test("10,000 requests with random models, keys, paths and headers add no series", async (t) => {
  const key = "sk-known";
  const engine = await startRawEngine(t);
  const keys = ["--api-key-file", temporaryFile(t, "keys", `${key}\n`)];
  const router = await startTestRouter(t, ["--static-backends", engine.url, ...keys]);
  await send(router.port, strangers(25, key));
  await router.idle();
  const before = seriesOf(router);
  // few enough on a connection that what the client keeps of it stays small
  for (let i = 0; i < 10; i++)
    await Promise.all(Array.from({ length: 4 }, () => send(router.port, strangers(250, key))));
  await router.idle();
  assert.deepEqual(seriesOf(router), before);
  assert.equal(router.metric('vllm:num_incoming_requests_total{model="test-model"}'), 2_005);
});

test("/metrics of 1,000 endpoints stays under 3 MB", () => {
  const bytes = Buffer.byteLength(busyFleet(1_000, false).metrics.registry.render());
  assert.ok(bytes < 3_000_000, `${bytes} bytes`);
});

test("endpoints that are gone leave no series behind", () => {
  const { metrics, shrinkTo } = busyFleet(3, true);
  assert.match(metrics.registry.render(), /10\.244\.100\.2/);
  const before = metrics.registry.size;
  shrinkTo(1);
  assert.doesNotMatch(metrics.registry.render(), /10\.244\.100\.[12]/);
  assert.ok(metrics.registry.size < before);
  assert.match(metrics.registry.render(), /lmstack_attempts_total\{endpoint="10\.244\.100\.0:8000",outcome="ok"\} 1/);
});
