// Every fault, on real sockets: what a client of a failing engine sees, byte for byte where it matters.

import assert from "node:assert/strict";
import net from "node:net";
import { describe, it } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import type { EngineOptions, RunningEngine } from "../../src/engine/serve.ts";
import { events, json, post, request, send, until } from "./support.ts";

async function withEngine(use: (engine: RunningEngine) => Promise<void>, options: EngineOptions = {}): Promise<void> {
  const engine = await startEngine({ preset: "fast", simApi: true, models: ["tiny"], ...options });
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

const generate = { prompt: "Once upon a time", max_tokens: 12, stream: true, ignore_eos: true };

const setFault = (engine: RunningEngine, fault: Record<string, unknown>): Promise<unknown> =>
  post(engine, "/sim/faults", fault);

/** Opens a connection, sends, and leaves it to the test. */
function open(engine: RunningEngine, text: string): { socket: net.Socket; received: () => string } {
  const socket = net.connect(engine.port, "127.0.0.1");
  let received = "";
  socket.setEncoding("utf8");
  socket.on("data", (data: string) => (received += data));
  socket.on("error", () => undefined);
  socket.write(text);
  return { socket, received: () => received };
}

describe("faults before an answer", () => {
  it("refuse: the port refuses connections for the given time, then accepts again", () =>
    withEngine(async (engine) => {
      await setFault(engine, { fault: "refuse", seconds: 0.3 });
      assert.equal((await send(engine, request("GET", "/health"))).end, "refused");
      for (;;) {
        const { end, response } = await send(engine, request("GET", "/health"));
        if (end === "refused") continue;
        assert.equal(response.statusLine, "HTTP/1.1 200 OK");
        return;
      }
    }));

  // Found by chaos, seed 39: the timer of the second made a server listen that did so already, which ended the process.
  it("refuse, told again while it refuses, lasts from then and ends once", () =>
    withEngine(async (engine) => {
      engine.setFault({ fault: "refuse", seconds: 0.001 });
      engine.setFault({ fault: "refuse", seconds: 0.2 });
      const toldMs = performance.now();
      while ((await send(engine, request("GET", "/health"))).end === "refused");
      assert.ok(performance.now() - toldMs > 190, "it listened before the time was up");
    }));

  it("hang: the connection is accepted and nothing is ever answered", () =>
    withEngine(async (engine) => {
      await setFault(engine, { fault: "hang" });
      const { socket, received } = open(engine, request("GET", "/health"));
      await until(() => engine.state().connections === 1, "the connection is there");
      // Another exchange goes through in the meantime, so the silence is not slowness.
      assert.equal((await send(engine, request("GET", "/sim/state"))).response.statusLine, "HTTP/1.1 200 OK");
      assert.equal(received(), "");
      socket.destroy();
    }));

  it("hang_before_headers: the engine works, but not even a status line comes", () =>
    withEngine(async (engine) => {
      const { socket, received } = open(
        engine,
        request("POST", "/v1/completions", generate, { "x-sim-fault": "hang_before_headers" }),
      );
      await until(() => engine.state().finished === 1, "the engine is done");
      assert.equal((await send(engine, request("GET", "/health"))).response.statusLine, "HTTP/1.1 200 OK");
      assert.equal(received(), "");
      socket.destroy();
    }));

  for (const status of [500, 502, 503, 429]) {
    it(`error_status: ${status}, with retry-after when told`, () =>
      withEngine(async (engine) => {
        await setFault(engine, { fault: "error_status", status, retryAfter: 7 });
        const { response } = await post(engine, "/v1/completions", generate);
        assert.match(response.statusLine, new RegExp(`^HTTP/1.1 ${status} `));
        assert.equal(response.headers.find(([name]) => name === "retry-after")?.[1], "7");
        const other = await send(engine, request("GET", "/v1/models"));
        assert.equal(other.response.statusLine, "HTTP/1.1 200 OK");
      }));
  }

  it("error_status: hits the given share of the requests", () =>
    withEngine(async (engine) => {
      await setFault(engine, { fault: "error_status", status: 500, share: 0.5 });
      let failed = 0;
      for (let at = 0; at < 40; at++) {
        const { response } = await post(engine, "/v1/completions", { ...generate, stream: false });
        if (response.statusLine.includes("500")) failed++;
      }
      assert.ok(failed > 8 && failed < 32, `${failed} of 40 failed`);
    }));

  it("queue_full: the 503 of a full queue, without retry-after", () =>
    withEngine(async (engine) => {
      const { response } = await post(engine, "/v1/completions", generate, { "x-sim-fault": "queue_full" });
      assert.equal(response.statusLine, "HTTP/1.1 503 Service Unavailable");
      assert.ok(!response.headers.some(([name]) => name === "retry-after"));
    }));

  it("wrong_models: another model is listed", () =>
    withEngine(async (engine) => {
      await setFault(engine, { fault: "wrong_models" });
      const { response } = await send(engine, request("GET", "/v1/models"));
      assert.doesNotMatch(response.chunks.join(""), /"id":"tiny"/);
    }));

  it("an unknown fault is refused, not ignored", () =>
    withEngine(async (engine) => {
      const { response } = await post(engine, "/v1/completions", generate, { "x-sim-fault": "explode" });
      assert.equal(response.statusLine, "HTTP/1.1 400 Bad Request");
    }));

  it("without simApi neither the header nor /sim exists", () =>
    withEngine(
      async (engine) => {
        const { response } = await post(engine, "/v1/completions", generate, { "x-sim-fault": "error_status:500" });
        assert.equal(response.statusLine, "HTTP/1.1 200 OK");
        const state = await send(engine, request("GET", "/sim/state"));
        assert.equal(state.response.statusLine, "HTTP/1.1 404 Not Found");
      },
      { simApi: false },
    ));
});

describe("faults in mid-stream", () => {
  const stream = (engine: RunningEngine, fault: string): ReturnType<typeof post> =>
    post(engine, "/v1/completions", generate, { "x-sim-fault": fault });

  it("stall: some events, then silence, and the connection stays open", () =>
    withEngine(async (engine) => {
      const text = request("POST", "/v1/completions", generate, { "x-sim-fault": "stall_mid_stream:2" });
      const { socket, received } = open(engine, text);
      await until(() => engine.state().finished === 1, "the engine is done");
      await until(() => (received().match(/data: /g) ?? []).length === 2, "two events are here");
      assert.equal((await send(engine, request("GET", "/health"))).response.statusLine, "HTTP/1.1 200 OK");
      assert.equal((received().match(/data: /g) ?? []).length, 2);
      assert.equal(socket.readyState, "open");
      socket.destroy();
    }));

  it("cut clean: the zero chunk comes and [DONE] does not", () =>
    withEngine(async (engine) => {
      const { response } = await stream(engine, "cut_mid_stream:clean:3");
      assert.ok(response.complete);
      assert.equal(events(response).length, 3);
      assert.ok(!events(response).includes("[DONE]"));
    }));

  it("cut reset: the connection is reset", () =>
    withEngine(async (engine) => {
      const { end, response } = await stream(engine, "cut_mid_stream:reset");
      assert.equal(end, "reset");
      assert.ok(!response.complete);
      await until(() => engine.state().running === 0, "the sequence is gone");
      assert.equal(engine.state().aborted, 0, "a fault is not a client abort");
    }));

  it("cut half_frame: well-framed HTTP around a broken event", () =>
    withEngine(async (engine) => {
      const { response } = await stream(engine, "cut_mid_stream:half_frame");
      assert.ok(response.complete);
      assert.doesNotMatch(response.chunks.at(-1) ?? "", /\n\n$/);
    }));

  it("cut half_chunk: the connection ends inside a chunk", () =>
    withEngine(async (engine) => {
      const { response, end } = await stream(engine, "cut_mid_stream:half_chunk");
      assert.equal(end, "closed");
      assert.ok(!response.complete);
      assert.equal(response.chunks.length, 3);
    }));

  it("cut hits a body that is no stream as well", () =>
    withEngine(async (engine) => {
      const body = { ...generate, stream: false };
      const { response } = await post(engine, "/v1/completions", body, { "x-sim-fault": "cut_mid_stream:clean" });
      assert.equal(response.statusLine, "HTTP/1.1 200 OK");
      assert.ok(!response.complete);
    }));

  it("error_frame: the error event, then [DONE] and a clean end, as recorded", () =>
    withEngine(async (engine) => {
      const { response } = await stream(engine, "error_frame:2");
      assert.ok(response.complete);
      assert.equal(events(response).length, 4);
      assert.equal(
        response.chunks[2],
        'data: {"error": {"message": "EngineCore encountered an issue. See stack trace (above) for the root cause.", ' +
          '"type": "InternalServerError", "param": null, "code": 500}}\n\n',
      );
      assert.equal(response.chunks[3], "data: [DONE]\n\n");
    }));
});

describe("faults of the whole engine", () => {
  it("engine_dead: streams end with the error event, bodies with 500, health is 503", () =>
    withEngine(
      async (engine) => {
        const long = { ...generate, max_tokens: 2000 };
        const streaming = post(engine, "/v1/completions", long);
        const plain = post(engine, "/v1/completions", { ...long, stream: false });
        await until(() => engine.state().running === 2, "both run");
        await setFault(engine, { fault: "engine_dead" });
        const events_ = events((await streaming).response);
        assert.match(events_.at(-2) ?? "", /^\{"error": \{"message": "EngineCore/);
        assert.equal(events_.at(-1), "[DONE]");
        assert.equal((await plain).response.statusLine, "HTTP/1.1 500 Internal Server Error");
        const { response } = await send(engine, request("GET", "/health"));
        assert.equal(response.statusLine, "HTTP/1.1 503 Service Unavailable");
      },
      { preset: "llama-3.1-8b-1xh100" },
    ));

  it("crash: every connection is reset and the port refuses", () =>
    withEngine(async (engine) => {
      let crashed = 0;
      const other = await startEngine({ simApi: true, onCrash: () => void crashed++ });
      const streaming = post(other, "/v1/completions", { ...generate, max_tokens: 2000 });
      await until(() => other.state().running === 1, "it runs");
      await setFault(other, { fault: "crash" });
      const { response, end } = await streaming;
      assert.equal(end, "reset");
      assert.ok(!response.complete);
      await until(() => crashed === 1, "the process is told");
      assert.equal((await send(other, request("GET", "/health"))).end, "refused");
      assert.equal((await send(engine, request("GET", "/health"))).end, "open", "another engine lives on");
    }));

  it("faults can be listed and cleared", () =>
    withEngine(async (engine) => {
      await setFault(engine, { fault: "error_status", status: 502 });
      const listed = await send(engine, request("GET", "/sim/faults"));
      assert.deepEqual(json(listed.response), { faults: [{ fault: "error_status", status: 502 }] });
      await setFault(engine, { fault: "none" });
      const { response } = await post(engine, "/v1/completions", generate);
      assert.equal(response.statusLine, "HTTP/1.1 200 OK");
    }));
});
