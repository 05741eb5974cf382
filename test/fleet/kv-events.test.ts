// Subscriptions on real ZeroMQ sockets against simulated engines: what the index says after messages were lost, doubled and
// swapped, after connections were cut and engines started anew, and what is said where nothing can be had.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { encode } from "@msgpack/msgpack";
import { Publisher, Router } from "zeromq";

import { ExactIndex } from "../../src/cache/exact.ts";
import { TokenPrompt } from "../../src/cache/token-blocks.ts";
import { systemClock } from "../../src/clock.ts";
import type { KvEvents } from "../../src/config/types.ts";
import { startEngine, type EngineOptions, type RunningEngine } from "../../src/engine/serve.ts";
import { Endpoint } from "../../src/fleet/endpoint.ts";
import { addressesFrom, addressesOf } from "../../src/fleet/kv-events/addresses.ts";
import { KvEventSources, type KvState } from "../../src/fleet/kv-events/sources.ts";
import type { EnginePool } from "../../src/http/engine-pool.ts";
import { Sweeper } from "../../src/http/sweeper.ts";
import { ChaosProxy } from "../chaos/tcp-proxy.ts";
import { until } from "../helpers/until.ts";

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, at) => from + at);
const blockSize = 16;

/** An engine on 127.0.0.1 whose events are on free ports. */
async function startPublisher(t: TestContext, options: EngineOptions = {}): Promise<RunningEngine> {
  const kvEvents = {
    enable_kv_cache_events: true,
    endpoint: "tcp://127.0.0.1:*",
    replay_endpoint: "tcp://127.0.0.1:*",
    topic: "kv",
    ...options.kvEvents,
  };
  const engine = await startEngine({ preset: "fast", blockSize, models: ["m"], simApi: true, ...options, kvEvents });
  t.after(() => engine.close());
  return engine;
}

const portOf = (endpoint: string | null | undefined): number => Number(/:(\d+)$/.exec(endpoint ?? "")?.[1] ?? 0);

interface Told {
  readonly state: KvState;
  readonly detail: string;
}

/** The sources of one endpoint, and what they said. */
function follow(t: TestContext, url: string, kvEvents: KvEvents, loadTools?: () => Promise<never>) {
  const index = new ExactIndex({ maxBytes: 16 * 1024 * 1024 });
  const endpoint = new Endpoint(
    { url, models: ["m"], label: null, modelType: null },
    null,
    systemClock,
    new Sweeper<EnginePool>(systemClock, 500),
    4000,
    () => undefined,
  );
  endpoint.kvEvents = kvEvents;
  endpoint.becameReady(systemClock.nowMs());
  const told: Told[] = [];
  const recoveries: string[] = [];
  const lags: number[] = [];
  const sources = new KvEventSources({
    clock: systemClock,
    index,
    engineKey: () => null,
    timeoutMs: 5000,
    onState: (_endpoint, state, detail) => told.push({ state, detail }),
    onRecovery: (_endpoint, reason) => recoveries.push(reason),
    onLag: (seconds) => lags.push(seconds),
    ...(loadTools === undefined ? {} : { loadTools }),
  });
  t.after(() => sources.close());
  sources.sync([endpoint]);
  const { id } = endpoint;
  return {
    index,
    endpoint,
    sources,
    told,
    recoveries,
    lags,
    state: () => sources.stateOf(id),
    reaches: (state: KvState) => until(() => sources.stateOf(id) === state, `its state is ${state}`),
    /** Blocks at the start of such a prompt that the index knows. */
    match: (tokens: readonly number[]) => index.match(id, new TokenPrompt([...tokens, 0], null, null)) / blockSize,
    knows: (tokens: readonly number[], blocks: number) =>
      until(
        () => index.match(id, new TokenPrompt([...tokens, 0], null, null)) === blocks * blockSize,
        `${blocks} blocks of it are known`,
      ),
  };
}

function portsOf(engine: RunningEngine, more: Partial<Exclude<KvEvents, string>> = {}): KvEvents {
  const [first] = engine.kvEvents;
  return { port: portOf(first?.endpoint), replayPort: portOf(first?.replayEndpoint), ranks: 1, topic: "kv", ...more };
}

async function generate(engine: RunningEngine, prompt: readonly number[], headers: object = {}): Promise<void> {
  const response = await fetch(`${engine.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ prompt, max_tokens: 1 }),
  });
  assert.equal(response.status, 200, await response.text());
}

async function fault(engine: RunningEngine, name: string): Promise<void> {
  const response = await fetch(`${engine.url}/sim/faults`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ fault: name }),
  });
  assert.ok(response.ok, await response.text());
}

const [first, second, third, fourth] = [1000, 2000, 3000, 4000].map((from) => range(from, 64)) as [
  number[],
  number[],
  number[],
  number[],
];

describe("an engine's events", () => {
  for (const [kvEventsEncoding, kvReplayFraming, kvEventsIntHashes] of [
    ["map", "topic", true],
    ["array", "legacy", false],
  ] as const) {
    test(`are followed, those from before too (${kvEventsEncoding}, replay with ${kvReplayFraming} framing)`, async (t) => {
      const engine = await startPublisher(t, { kvEventsEncoding, kvReplayFraming, kvEventsIntHashes });
      await generate(engine, first);
      const follower = follow(t, engine.url, portsOf(engine));
      await follower.reaches("exact");
      await follower.knows(first, 4);
      await generate(engine, [...first, ...second]);
      await follower.knows([...first, ...second], 8);
      assert.deepEqual(follower.recoveries.slice(0, 1), ["join"]);
      assert.equal(follower.sources.blocksOf(follower.endpoint.id), 8);
      assert.equal(follower.sources.countsOf(follower.endpoint.id).bad, 0);
      // of what was had again nobody can say how late it was
      assert.ok(follower.lags.length > 0 && follower.lags.every((lag) => lag >= 0 && lag < 20), String(follower.lags));
    });
  }

  test("say what was evicted", async (t) => {
    const engine = await startPublisher(t, { numGpuBlocks: 10, maxModelLen: 128 });
    const follower = follow(t, engine.url, portsOf(engine));
    await follower.reaches("exact");
    await generate(engine, first);
    await follower.knows(first, 4);
    for (const prompt of [second, third, fourth]) await generate(engine, prompt);
    await follower.knows(fourth, 4);
    assert.equal(follower.match(first), 0);
  });

  test("are found by asking the engine where they are", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "kv-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const kvEvents = { endpoint: `ipc://${folder}/events`, replay_endpoint: "tcp://127.0.0.1:*" };
    const engine = await startPublisher(t, { kvEvents });
    const follower = follow(t, engine.url, "ask");
    await until(() => follower.sources.stateOf(follower.endpoint.id) !== "asking", "it was asked");
    await generate(engine, first);
    await follower.knows(first, 4);
  });

  test("of each data-parallel rank are on ports of its own", async (t) => {
    const base = await startPublisher(t);
    const port = portOf(base.kvEvents[0]?.endpoint);
    assert.deepEqual(
      addressesOf({ port, replayPort: 9000, ranks: 2, topic: "kv" }, "10.0.0.1").map(({ events, replay }) => [
        events,
        replay,
      ]),
      [
        [`tcp://10.0.0.1:${port}`, "tcp://10.0.0.1:9000"],
        [`tcp://10.0.0.1:${port + 1}`, "tcp://10.0.0.1:9001"],
      ],
    );
  });
});

describe("after", () => {
  test("a lost message, what it said is had again", async (t) => {
    const engine = await startPublisher(t);
    const follower = follow(t, engine.url, portsOf(engine));
    await follower.reaches("exact");
    await generate(engine, first);
    await follower.knows(first, 4);
    await fault(engine, "kv_events_lost");
    await generate(engine, second);
    await fault(engine, "none");
    await generate(engine, third);
    await follower.knows(second, 4);
    await follower.knows(third, 4);
    assert.equal(follower.state(), "exact");
    assert.ok(follower.recoveries.includes("gap"));
  });

  // No later message betrays this one.
  test("a lost last message, a look is taken without being told", async (t) => {
    const engine = await startPublisher(t);
    const follower = follow(t, engine.url, portsOf(engine));
    await follower.reaches("exact");
    await fault(engine, "kv_events_lost");
    await generate(engine, first);
    await follower.knows(first, 4);
  });

  for (const name of ["kv_events_duplicated", "kv_events_reordered"]) {
    test(`${name.slice(10)} messages, all is as if they had come in order`, async (t) => {
      const engine = await startPublisher(t);
      const follower = follow(t, engine.url, portsOf(engine));
      await follower.reaches("exact");
      await fault(engine, name);
      for (const prompt of [first, second, third, fourth]) await generate(engine, prompt);
      await fault(engine, "none");
      await generate(engine, range(9000, 64));
      for (const prompt of [first, second, third, fourth]) await follower.knows(prompt, 4);
      assert.equal(follower.state(), "exact");
    });
  }

  test("a cut connection, what was missed is had again", async (t) => {
    const engine = await startPublisher(t);
    const wire = new ChaosProxy(portOf(engine.kvEvents[0]?.endpoint), () => ({ kind: "pass" }));
    await wire.listen();
    t.after(() => wire.close());
    const follower = follow(t, engine.url, portsOf(engine, { port: wire.port }));
    await follower.reaches("exact");
    await generate(engine, first);
    await follower.knows(first, 4);
    wire.draw = () => ({ kind: "cut", direction: "down", afterBytes: 0, ending: "reset" });
    wire.cutAll();
    await generate(engine, second);
    await follower.reaches("disconnected");
    assert.match(follower.sources.detailOf(follower.endpoint.id), /is gone/);
    assert.equal(follower.sources.believes(follower.endpoint.id), false);
    wire.draw = () => ({ kind: "pass" });
    await follower.knows(second, 4);
    await follower.reaches("exact");
    assert.ok(follower.recoveries.includes("reconnect"));
  });

  test("a restart of the engine, nothing of the one before is left", async (t) => {
    const [before, after] = [await startPublisher(t), await startPublisher(t)];
    await generate(after, fourth);
    // the same addresses lead to another process
    const targets = [before, after].map((engine) => engine.kvEvents[0]);
    const wires = await Promise.all(
      [portOf(targets[0]?.endpoint), portOf(targets[0]?.replayEndpoint)].map(async (port) => {
        const wire = new SwitchedWire(port);
        await wire.listen();
        t.after(() => wire.close());
        return wire;
      }),
    );
    const [events, replay] = wires as [SwitchedWire, SwitchedWire];
    const follower = follow(t, before.url, portsOf(before, { port: events.port, replayPort: replay.port }));
    await follower.reaches("exact");
    for (const prompt of [first, second, third]) await generate(before, prompt);
    await follower.knows(third, 4);
    events.switchTo(portOf(targets[1]?.endpoint));
    replay.switchTo(portOf(targets[1]?.replayEndpoint));
    await follower.knows(fourth, 4);
    assert.equal(follower.match(first), 0);
    await follower.reaches("exact");
  });

  test("a publisher that counts from 0 again, it is followed anew", async (t) => {
    const engine = await startPublisher(t);
    const follower = follow(t, engine.url, portsOf(engine));
    await follower.reaches("exact");
    for (const prompt of [first, second]) await generate(engine, prompt);
    await follower.knows(second, 4);
    await fault(engine, "kv_events_restarted");
    await generate(engine, third);
    await fault(engine, "none");
    await follower.knows(third, 4);
    assert.equal(follower.match(first), 0);
    assert.ok(follower.recoveries.includes("restart"));
  });

  test("joining too late for the buffer, what is known is a part and is called so", async (t) => {
    const engine = await startPublisher(t, { kvEvents: { buffer_steps: 2 } });
    for (const prompt of [first, second, third, fourth]) await generate(engine, prompt);
    const follower = follow(t, engine.url, portsOf(engine));
    await follower.reaches("partial");
    await follower.knows(fourth, 4);
    assert.equal(follower.match(first), 0);
    await until(() => follower.told.some(({ detail }) => detail.startsWith("joined late")), "it says so");
  });
});

/** A TCP relay whose target can change; what is open is cut. */
class SwitchedWire extends ChaosProxy {
  switchTo(port: number): void {
    this.targetPort = port;
    this.cutAll();
  }

  constructor(port: number) {
    super(port, () => ({ kind: "pass" }));
  }
}

describe("what can't be had is said:", () => {
  test("an engine without events", async (t) => {
    const engine = await startEngine({ preset: "fast", models: ["m"] });
    t.after(() => engine.close());
    const follower = follow(t, engine.url, "ask");
    await follower.reaches("no_events");
    assert.match(follower.sources.detailOf(follower.endpoint.id), /publishes none: give it --kv-events-config/);
    assert.equal(follower.sources.believes(follower.endpoint.id), false);
  });

  test("an engine that connects where it should bind", () => {
    const recorded = {
      "0": {
        enable_kv_cache_events: true,
        publisher: "zmq",
        endpoint: "tcp://127.0.0.1:5557",
        replay_endpoint: "tcp://127.0.0.1:5558",
        topic: "kv@test",
      },
    };
    const found = addressesFrom(recorded, "10.0.0.1");
    assert.ok("problem" in found && found.problem === "engine_connects");
    assert.match(found.detail, /"endpoint":"tcp:\/\/\*:5557"/);
    const bound = addressesFrom({ "0": { ...recorded["0"], endpoint: "tcp://*:5557" } }, "10.0.0.1");
    assert.deepEqual(bound, {
      ranks: [{ events: "tcp://10.0.0.1:5557", replay: "tcp://10.0.0.1:5558", topic: "kv@test" }],
    });
    for (const nothing of [null, [], "x", {}, { "0": { enable_kv_cache_events: false } }, { "0": 4 }]) {
      const none = addressesFrom(nothing, "h");
      assert.ok("problem" in none && none.problem === "no_events");
    }
  });

  test("an engine whose events are not wanted", async (t) => {
    const engine = await startPublisher(t);
    await follow(t, engine.url, "off").reaches("off");
  });

  test("a package that is missing", async (t) => {
    const engine = await startPublisher(t);
    const follower = follow(t, engine.url, portsOf(engine), () =>
      Promise.reject(new Error("npm install zeromq @msgpack/msgpack")),
    );
    await follower.reaches("no_package");
    assert.match(follower.sources.detailOf(follower.endpoint.id), /npm install zeromq/);
  });

  test("a port where nobody listens", async (t) => {
    const engine = await startPublisher(t);
    const follower = follow(t, engine.url, portsOf(engine, { port: 1 }));
    await follower.reaches("connecting");
    assert.equal(follower.index.match(follower.endpoint.id, new TokenPrompt(first, null, null)), 0);
    assert.equal(follower.sources.believes(follower.endpoint.id), false);
  });

  test("a topic that nobody publishes: requests are served and no word comes of it", async (t) => {
    const engine = await startPublisher(t);
    const follower = follow(t, engine.url, portsOf(engine, { topic: "kx", replayPort: null }));
    await follower.reaches("exact");
    for (let at = 0; at < 8; at++) {
      await generate(engine, range(at * 100, 64));
      follower.sources.served(follower.endpoint.id, 200);
    }
    await follower.reaches("silent");
    assert.match(follower.sources.detailOf(follower.endpoint.id), /is that its port, and its topic "kx"/);
  });

  test("a publisher of something else", async (t) => {
    const { pub, follower } = await startForger(t);
    const seq = Buffer.alloc(8);
    const garbage: Buffer[][] = [
      [Buffer.from("one frame")],
      [Buffer.from("t"), Buffer.from("no number"), Buffer.from("x")],
      [Buffer.from("t"), seq, Buffer.from("c1c1", "hex")],
      [Buffer.from("t"), seq, Buffer.from([0x93, 1, 2, 3])],
    ];
    for (const frames of garbage) await pub.send(frames);
    await follower.reaches("garbage");
    assert.match(follower.sources.detailOf(follower.endpoint.id), /sends what are no KV events/);
    assert.equal(follower.sources.countsOf(follower.endpoint.id).bad >= 3, true);
  });

  test("sizes of blocks that can't be, or change: good events count, the others are told of, nothing is invented", async (t) => {
    const { pub, follower } = await startForger(t);
    const stored = (id: number, tokens: readonly number[], size: unknown): object => {
      const block = { block_hashes: [id], parent_block_hash: null, token_ids: tokens, block_size: size };
      return { type: "BlockStored", lora_id: null, medium: "GPU", ...block };
    };
    const tokens = first.slice(0, 16);
    const bad = [-16, 1.5, "16", null, 0, 7, 2 ** 40].map((size, at) => stored(100 + at, second.slice(0, 16), size));
    const events = [stored(1, tokens, 16), ...bad, stored(2, third.slice(0, 8), 8), stored(3, fourth.slice(0, 16), 16)];
    const seq = Buffer.alloc(8);
    await pub.send([Buffer.from(""), seq, Buffer.from(encode([1, events]))]);
    await follower.knows(fourth, 1);
    assert.equal(follower.match(tokens), 1);
    assert.equal(follower.match(second), 0);
    assert.equal(follower.match(third), 0);
    const { stored: good, ignored, bad: refused } = follower.sources.countsOf(follower.endpoint.id);
    assert.deepEqual({ good, ignored, refused }, { good: 2, ignored: 1, refused: 1 }, "one message has all of them");
    await follower.reaches("partial");
    assert.match(follower.sources.detailOf(follower.endpoint.id), /an event could not be read/);
    assert.equal(follower.index.blockSize(follower.endpoint.id), 16);
  });
});

/** A publisher that sends what the test likes, beside an engine, and what follows it. It replays nothing. */
async function startForger(t: TestContext) {
  const pub = new Publisher({ linger: 0 });
  const router = new Router({ linger: 0 });
  await pub.bind("tcp://127.0.0.1:*");
  await router.bind("tcp://127.0.0.1:*");
  t.after(() => {
    pub.close();
    router.close();
  });
  // answers every question with nothing
  void (async () => {
    for await (const [client = Buffer.alloc(0)] of router) {
      await router.send([client, Buffer.alloc(0), Buffer.alloc(0), Buffer.alloc(8, 0xff), Buffer.alloc(0)]);
    }
  })().catch(() => undefined);
  const engine = await startPublisher(t);
  const ports = { port: portOf(pub.lastEndpoint), replayPort: portOf(router.lastEndpoint), ranks: 1, topic: "" };
  const follower = follow(t, engine.url, ports);
  await follower.reaches("exact");
  return { pub, follower };
}
