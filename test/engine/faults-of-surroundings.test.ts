// Faults of what surrounds generation: slow headers and bodies, wrong metrics, a wrong clock, an engine killed for its
// memory. On real sockets, timed by what arrives and not by the clock.

import assert from "node:assert/strict";
import net from "node:net";
import { describe, it } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import type { EngineOptions, RunningEngine } from "../../src/engine/serve.ts";
import { json, post, request, send, until } from "./support.ts";

async function withEngine(use: (engine: RunningEngine) => Promise<void>, options: EngineOptions = {}): Promise<void> {
  const engine = await startEngine({ preset: "fast", simApi: true, models: ["tiny"], ...options });
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

const metrics = async (engine: RunningEngine): Promise<string> =>
  (await send(engine, request("GET", "/metrics"))).response.chunks.join("");

describe("slowness", () => {
  it("slow_headers: the answer begins late, and a client that leaves first is never served", () =>
    withEngine(async (engine) => {
      const start = performance.now();
      const body = { prompt: "x", max_tokens: 1 };
      const slow = await post(engine, "/v1/completions", body, { "x-sim-fault": "slow_headers:0.1" });
      assert.equal(slow.response.statusLine, "HTTP/1.1 200 OK");
      assert.ok(performance.now() - start >= 99);
      const tokens = engine.state().generatedTokens;
      const socket = net.connect(engine.port, "127.0.0.1");
      socket.write(request("POST", "/v1/completions", body, { "x-sim-fault": "slow_headers:0.05" }));
      await until(() => engine.state().inFlight === 1, "the request is there");
      socket.destroy();
      await until(() => engine.state().inFlight === 0, "the client is gone");
      await post(engine, "/v1/completions", body, { "x-sim-fault": "slow_headers:0.06" });
      assert.equal(engine.state().generatedTokens, tokens + 1);
    }));

  it("slow_body_read: the body stays in the socket, then the request goes on", () =>
    withEngine(async (engine) => {
      const start = performance.now();
      const fault = { "x-sim-fault": "slow_body_read:0.1" };
      const { response } = await post(engine, "/v1/completions", { prompt: "x".repeat(200_000), max_tokens: 1 }, fault);
      assert.match(response.statusLine, / (200|400) /);
      assert.ok(performance.now() - start >= 99);
    }));

  it("metrics_slow", () =>
    withEngine(async (engine) => {
      await post(engine, "/sim/faults", { fault: "metrics_slow", seconds: 0.05 });
      const start = performance.now();
      assert.match(await metrics(engine), /vllm:num_requests_running/);
      assert.ok(performance.now() - start >= 49);
    }));
});

describe("metrics that are wrong", () => {
  it("stale: the text does not change while the engine does", () =>
    withEngine(async (engine) => {
      const before = await metrics(engine);
      await post(engine, "/sim/faults", { fault: "metrics_stale" });
      await post(engine, "/v1/completions", { prompt: "x", max_tokens: 3 });
      assert.equal(await metrics(engine), before);
      await post(engine, "/sim/faults", { fault: "none" });
      assert.notEqual(await metrics(engine), before);
    }));

  it("missing and garbage", () =>
    withEngine(async (engine) => {
      await post(engine, "/sim/faults", { fault: "metrics_missing" });
      assert.match((await send(engine, request("GET", "/metrics"))).response.statusLine, / 404 /);
      await post(engine, "/sim/faults", { fault: "none" });
      await post(engine, "/sim/faults", { fault: "metrics_garbage" });
      const text = await metrics(engine);
      assert.ok(text.length > 0 && !text.includes("# TYPE"));
    }));
});

it("clock_skew: dates and created are wrong, time goes on as before", () =>
  withEngine(async (engine) => {
    await post(engine, "/sim/faults", { fault: "clock_skew", seconds: 86_400 });
    const { response } = await post(engine, "/v1/completions", { prompt: "x", max_tokens: 1 });
    const { created } = json(response) as { created: number };
    const date = response.headers.find(([name]) => name === "date")?.[1] ?? "";
    const now = Date.now() / 1000;
    assert.ok(created - now > 86_000 && Date.parse(date) / 1000 - now > 86_000);
  }));

it("the header gives one scrape or one list of models its fault, and is refused where a fault is of the whole engine", () =>
  withEngine(async (engine) => {
    const get = (path: string, fault: string): ReturnType<typeof send> =>
      send(engine, request("GET", path, undefined, { "x-sim-fault": fault }));
    assert.match((await get("/metrics", "metrics_garbage")).response.chunks.join(""), /upstream said no/);
    assert.match((await get("/metrics", "metrics_missing")).response.statusLine, / 404 /);
    assert.match(await metrics(engine), /vllm:num_requests_running\{/);
    assert.match((await get("/v1/models", "wrong_models")).response.chunks.join(""), /some\/other-model/);
    assert.match((await send(engine, request("GET", "/v1/models"))).response.chunks.join(""), /"tiny"/);
    for (const fault of ["clock_skew:60", "kv_events_lost"]) {
      const { response } = await get("/v1/models", fault);
      assert.match(response.statusLine, / 400 /);
      assert.match(response.chunks.join(""), /is of the whole engine and not of a request: POST \/sim\/faults/);
    }
  }));

it("a shutdown timeout lets requests finish, refuses new ones with 500, and keeps health at 200", async () => {
  const preset = { id: "slow", b0Us: 1000, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 100 };
  const engine = await startEngine({ preset, shutdownTimeoutSeconds: 0.25 });
  const streaming = post(engine, "/v1/completions", { prompt: "x", max_tokens: 50, ignore_eos: true, stream: true });
  await until(() => engine.state().running === 1, "it runs");
  const closed = engine.close();
  const late = await post(engine, "/v1/completions", { prompt: "x", max_tokens: 1 });
  assert.deepEqual(json(late.response), {
    error: {
      message: "cannot schedule new futures after shutdown",
      type: "InternalServerError",
      param: null,
      code: 500,
    },
  });
  assert.match((await send(engine, request("GET", "/health"))).response.statusLine, / 200 /);
  const { response } = await streaming;
  assert.ok(response.complete);
  assert.match(response.chunks.join(""), /"finish_reason":"length"/);
  await closed;
  assert.equal((await send(engine, request("GET", "/health"))).end, "refused");
});

it("oom: as a crash, and the process ends as one that was killed", async () => {
  const codes: number[] = [];
  const engine = await startEngine({ preset: "fast", simApi: true, onCrash: (code) => void codes.push(code) });
  await post(engine, "/sim/faults", { fault: "oom" });
  await until(() => codes.length === 1, "it is told");
  assert.deepEqual(codes, [137]);
  assert.equal((await send(engine, request("GET", "/health"))).end, "refused");
});
