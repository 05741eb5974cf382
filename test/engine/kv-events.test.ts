// KV events against recordings of a real server: hashes and messages byte for byte, then real ZMQ sockets: what a
// subscriber sees of a cache that evicts, and what the replay socket answers.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { Dealer, Publisher, Subscriber } from "zeromq";
import { cacheKeyOf } from "../../src/engine/kv-events/block-key.ts";
import { KvEventLog } from "../../src/engine/kv-events/event-log.ts";
import { bindsTo, parseKvEventsConfig, resolveKvEventsConfig } from "../../src/engine/kv-events/config.ts";
import { sha256BlockHasher } from "../../src/engine/kv-events/sha256.ts";
import { startEngine } from "../../src/engine/serve.ts";
import type { EngineOptions, RunningEngine } from "../../src/engine/serve.ts";
import type { BlockHash, StoredBlocks } from "../../src/engine/core/index.ts";
import { unpack } from "./msgpack-reader.ts";
import { post, request, send } from "./support.ts";

const root = new URL("fixtures/kv_events/", import.meta.url);

interface StoredEvent {
  readonly type: "BlockStored";
  readonly block_hashes: readonly (bigint | Buffer)[];
  readonly parent_block_hash: bigint | Buffer | null;
  readonly token_ids: readonly number[];
  readonly block_size: number;
  readonly lora_id: number | null;
  readonly lora_name: string | null;
  readonly extra_keys: readonly (readonly string[] | null)[];
}
interface RemovedEvent {
  readonly type: "BlockRemoved";
  readonly block_hashes: readonly (bigint | Buffer)[];
}
type KvEvent = StoredEvent | RemovedEvent | { readonly type: "AllBlocksCleared" };
type Payload = readonly [seconds: number, events: readonly KvEvent[], rank: number];

interface Recording {
  readonly name: string;
  readonly frames: readonly Buffer[];
  readonly payload: Payload;
}

/** The messages of a folder, in order: 4 bytes of length before each frame. */
function recordings(folder: string): Recording[] {
  return readdirSync(new URL(`${folder}/`, root))
    .toSorted()
    .map((name) => {
      const bytes = readFileSync(new URL(`${folder}/${name}`, root));
      const frames: Buffer[] = [];
      for (let at = 0; at < bytes.length;) {
        const length = bytes.readUInt32BE(at);
        frames.push(bytes.subarray(at + 4, at + 4 + length));
        at += 4 + length;
      }
      return { name, frames, payload: unpack(frames[2] ?? Buffer.alloc(0)) as Payload };
    });
}

const folders = [
  ["main_block32", "sha256"],
  ["eviction_48_blocks_sha256_cbor", "sha256_cbor"],
  ["lora_and_bytes_hashes", "sha256"],
] as const;

/** A hash as the wire shows it, as text. */
const wire = (hash: bigint | Buffer): string => (typeof hash === "bigint" ? hash.toString() : hash.toString("hex"));

const wireOf = (hash: BlockHash, like: bigint | Buffer): string => {
  const bytes = Buffer.from(String(hash), "latin1");
  return wire(typeof like === "bigint" ? bytes.readBigUInt64BE(24) : bytes);
};

const keyOf = (event: StoredEvent): string | null => {
  const salt = event.extra_keys[0]?.find((key) => key !== event.lora_name) ?? null;
  return cacheKeyOf(event.lora_name === null ? null : { name: event.lora_name, path: "/opt/example" }, salt);
};

describe("block hashes are vLLM's", () => {
  for (const [folder, algorithm] of folders) {
    it(`${folder} (${algorithm})`, () => {
      const hasher = sha256BlockHasher(algorithm);
      const full = new Map<string, BlockHash>();
      let checked = 0;
      for (const { name, payload } of recordings(folder)) {
        for (const event of payload[1]) {
          if (event.type !== "BlockStored") continue;
          const above = event.parent_block_hash;
          let parent = above === null ? null : full.get(wire(above));
          assert.ok(parent !== undefined, `${name}: the parent was stored before`);
          event.block_hashes.forEach((hash, at) => {
            // A salt enters the first block of a sequence only, so the place must be right: block 1 is not block 0.
            const first = above === null && at === 0;
            const tokens = first ? event.token_ids : [0, ...event.token_ids];
            const from = at * event.block_size + (first ? 0 : 1);
            const made = hasher(parent ?? null, tokens, from, from + event.block_size, keyOf(event));
            full.set(wire(hash), made);
            // vLLM hashes the adapter's path too, and the recordings do not have the path that it was.
            if (event.lora_name !== null) return;
            assert.equal(wireOf(made, hash), wire(hash), `${name}, block ${at}`);
            parent = made;
            checked++;
          });
        }
      }
      assert.ok(checked > 0);
    });
  }
});

describe("messages are vLLM's, byte for byte", () => {
  for (const [folder, algorithm] of folders) {
    it(folder, () => {
      const hasher = sha256BlockHasher(algorithm);
      const full = new Map<string, BlockHash>();
      for (const { name, frames, payload } of recordings(folder)) {
        const [seconds, events, rank] = payload;
        const sample = events.flatMap((event) => ("block_hashes" in event ? event.block_hashes : []))[0];
        let made: Buffer | null = null;
        const log = new KvEventLog({
          rank,
          blockSize: folder === "lora_and_bytes_hashes" ? 128 : 32,
          encoding: "map",
          intHashes: typeof sample !== "object",
          wallMs: () => seconds * 1000,
          adapterId: (adapter) => (adapter === "lora-static" ? 1 : 2),
          publish: (bytes) => {
            made = bytes;
          },
        });
        for (const event of events) feed(log, event, hasher, full);
        log.flush();
        // Behind the moment: 1 byte of array, 9 of a float.
        const hex = (bytes: Buffer | null | undefined): string => bytes?.toString("hex", 10) ?? "none";
        assert.equal(hex(made), hex(frames[2]), name);
      }
    });
  }
});

function feed(
  log: KvEventLog,
  event: KvEvent,
  hasher: ReturnType<typeof sha256BlockHasher>,
  full: Map<string, BlockHash>,
): void {
  if (event.type === "AllBlocksCleared") log.cleared();
  else if (event.type === "BlockRemoved") {
    // Blocks that were stored before the recording began are known by the end of their hash only.
    const end = Buffer.alloc(32);
    const hash = event.block_hashes[0] ?? 0n;
    if (typeof hash === "bigint") end.writeBigUInt64BE(hash, 24);
    log.removed(full.get(wire(hash)) ?? end.toString("latin1"));
  } else {
    const parent = event.parent_block_hash === null ? null : (full.get(wire(event.parent_block_hash)) ?? null);
    const isRoot = event.parent_block_hash === null;
    const tokens = isRoot ? event.token_ids : [...Array<number>(event.block_size).fill(0), ...event.token_ids];
    const from = isRoot ? 0 : event.block_size;
    const hashes: BlockHash[] = [];
    event.block_hashes.forEach((hash, at) => {
      const start = from + at * event.block_size;
      const made =
        typeof hash === "object"
          ? hash.toString("latin1")
          : hasher(hashes.at(-1) ?? parent, tokens, start, start + event.block_size, keyOf(event));
      full.set(wire(hash), made);
      hashes.push(made);
    });
    const stored = { sequence: { request: { cacheKey: keyOf(event) }, tokens }, parent, hashes, fromToken: from };
    log.stored(stored as unknown as StoredBlocks);
  }
}

const base = {
  models: ["tiny"],
  preset: "fast",
  blockSize: 32,
  devMode: true,
  kvEvents: {
    enable_kv_cache_events: true,
    publisher: "zmq",
    endpoint: "tcp://127.0.0.1:*",
    replay_endpoint: "tcp://127.0.0.1:*",
    topic: "kv@test",
  },
} as const satisfies EngineOptions;

interface Message {
  readonly topic: string;
  readonly seq: bigint;
  readonly events: readonly KvEvent[];
  readonly payload: Buffer;
}

function parse([topic, seq, payload]: readonly Buffer[]): Message {
  assert.ok(topic !== undefined && seq !== undefined && payload !== undefined);
  const [, events] = unpack(payload) as Payload;
  return { topic: topic.toString("utf8"), seq: seq.readBigUInt64BE(0), events, payload };
}

/** Runs `body` with an engine and a subscriber that misses nothing. */
async function withEngine(
  options: EngineOptions,
  body: (engine: RunningEngine, next: () => Promise<Message>) => Promise<void>,
): Promise<void> {
  const engine = await startEngine({ ...base, ...options });
  const sub = new Subscriber({ linger: 0, receiveTimeout: 4000 });
  try {
    sub.connect(engine.kvEvents[0]?.endpoint ?? "");
    sub.subscribe();
    const next = async (): Promise<Message> => parse(await sub.receive());
    await joined(engine, next);
    await body(engine, next);
  } finally {
    sub.close();
    await engine.close();
  }
}

/** PUB drops what it sends before a subscription has arrived: makes events until one comes through. */
async function joined(engine: RunningEngine, next: () => Promise<Message>): Promise<void> {
  let arrived = false;
  const wait = async (): Promise<void> => {
    await next();
    arrived = true;
  };
  const first = wait();
  let made = 0;
  while (!arrived) {
    await generate(
      engine,
      [...Array<number>(32).keys()].map((at) => 90_000 + 40 * made + at),
      1,
    );
    made++;
    await Promise.race([first, new Promise((resolve) => setImmediate(resolve))]);
  }
  // Those that follow the first one are read away, and the cache is as new.
  await send(engine, request("POST", "/reset_prefix_cache"));
  await generate(
    engine,
    [...Array<number>(32).keys()].map((at) => 80_000 + at),
    1,
  );
  while (!(await next()).events.some(({ type }) => type === "AllBlocksCleared"));
}

async function generate(
  engine: RunningEngine,
  prompt: readonly number[],
  tokens: number,
  more: object = {},
): Promise<void> {
  const body = { prompt, max_tokens: tokens, ignore_eos: true, ...more };
  const { response } = await post(engine, "/v1/completions", body);
  assert.equal(response.statusLine, "HTTP/1.1 200 OK");
}

const range = (from: number, length: number): number[] => Array.from({ length }, (_, at) => from + at);

/** An event as text, hashes as the wire shows them. */
const shown = (event: KvEvent): string =>
  JSON.stringify(event, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value));

describe("a subscriber", () => {
  it("sees a small cache evict as the real one did, hash by hash", async () => {
    const recorded = recordings("eviction_48_blocks_sha256_cbor");
    const engine = await startEngine({
      ...base,
      numGpuBlocks: 48,
      prefixCachingHashAlgo: "sha256_cbor",
      maxModelLen: 1024,
    });
    const dealer = new Dealer({ linger: 0, receiveTimeout: 4000 });
    try {
      dealer.connect(engine.kvEvents[0]?.replayEndpoint ?? "");
      // What the recorded server had done before: one prompt of 1000 tokens that filled its context.
      await generate(engine, range(1000, 1000), 24);
      for (const prompt of [0, 1, 2, 3, 3, 0]) await generate(engine, range(10_000 + 1000 * prompt, 640), 1);
      await generate(engine, range(40_000, 32), 1);
      await generate(engine, range(40_000, 32), 1);
      await generate(engine, [...range(40_000, 32), 7], 1);
      for (const prompt of [5, 6, 7]) await generate(engine, range(10_000 + 1000 * prompt, 640), 1);
      const messages = await replay(dealer, 1n);
      for (const [at, { name, payload }] of recorded.slice(0, 12).entries()) {
        assert.deepEqual(messages[at]?.events.map(shown), payload[1].map(shown), name);
      }
    } finally {
      dealer.close();
      await engine.close();
    }
  });

  it("gets one message per step, numbered, with removed before stored", async () => {
    await withEngine({ numGpuBlocks: 12, maxModelLen: 320 }, async (engine, next) => {
      const seen: Message[] = [];
      await generate(engine, range(1000, 200), 1);
      seen.push(await next());
      await generate(engine, range(5000, 256), 1);
      seen.push(await next());
      assert.equal(seen[0]?.topic, "kv@test");
      assert.equal((seen[1]?.seq ?? 0n) - (seen[0]?.seq ?? 0n), 1n);
      const kinds = seen[1]?.events.map(({ type }) => type) ?? [];
      assert.ok(kinds.includes("BlockRemoved"));
      assert.equal(kinds.indexOf("BlockStored"), kinds.length - 1);
    });
  });

  it("hears of a reset with the next stored block, once per reset", async () => {
    await withEngine({}, async (engine, next) => {
      for (let at = 0; at < 2; at++) await send(engine, request("POST", "/reset_prefix_cache"));
      await generate(engine, range(1000, 100), 1);
      const kinds = (await next()).events.map(({ type }) => type);
      assert.deepEqual(kinds, ["AllBlocksCleared", "AllBlocksCleared", "BlockStored"]);
    });
  });

  it("sees salts and adapters in the keys and the hashes", async () => {
    const loraModules = [{ name: "lora-static", path: "/opt/example/model/lora-a" }];
    await withEngine({ loraModules }, async (engine, next) => {
      const prompt = range(1000, 70);
      const events: StoredEvent[] = [];
      for (const more of [{}, { cache_salt: "salt-A" }, { model: "lora-static" }]) {
        await generate(engine, prompt, 1, more);
        events.push((await next()).events[0] as StoredEvent);
      }
      assert.deepEqual(
        events.map(({ extra_keys }) => extra_keys),
        [
          [null, null],
          [["salt-A"], null],
          [["lora-static"], ["lora-static"]],
        ],
      );
      assert.deepEqual(
        events.map(({ lora_id, lora_name }) => [lora_id, lora_name]),
        [
          [null, null],
          [null, null],
          [1, "lora-static"],
        ],
      );
      assert.equal(new Set(events.map(({ block_hashes }) => wire(block_hashes[0] ?? 0n))).size, 3);
    });
  });

  it("can ask for the older positional arrays, and for hashes as bytes", async () => {
    await withEngine({ kvEventsIntHashes: false }, async (engine, next) => {
      await generate(engine, range(1000, 40), 1);
      const [event] = (await next()).events as [StoredEvent];
      assert.equal((event.block_hashes[0] as Buffer).length, 32);
    });
    const engine = await startEngine({ ...base, kvEventsEncoding: "array" });
    const dealer = new Dealer({ linger: 0, receiveTimeout: 4000 });
    try {
      dealer.connect(engine.kvEvents[0]?.replayEndpoint ?? "");
      await generate(engine, range(1000, 40), 1);
      const [message] = await replay(dealer, 0n);
      const [tag, hashes, parent, tokens, size, ...rest] = (message?.events[0] ?? []) as unknown as unknown[];
      assert.deepEqual([tag, parent, tokens, size], ["BlockStored", null, range(1000, 32), 32]);
      assert.equal((hashes as bigint[]).length, 1);
      assert.deepEqual(rest, [null, "GPU", null, [null], 0, "full_attention"]);
    } finally {
      dealer.close();
      await engine.close();
    }
  });

  it("is connected to when the endpoint is a literal address", async () => {
    const sub = new Subscriber({ linger: 0, receiveTimeout: 4000 });
    await sub.bind("tcp://127.0.0.1:*");
    sub.subscribe("kv@test");
    const kvEvents = { ...base.kvEvents, endpoint: sub.lastEndpoint ?? "" };
    const engine = await startEngine({ ...base, kvEvents });
    try {
      assert.equal(engine.kvEvents[0]?.endpoint, null);
      await joined(engine, async () => parse(await sub.receive()));
    } finally {
      sub.close();
      await engine.close();
    }
  });

  it("finds each data-parallel rank on a port of its own", async () => {
    const engine = await startEngine({ ...base, dataParallelSize: 2 });
    try {
      assert.equal(new Set(engine.kvEvents.map(({ endpoint }) => endpoint)).size, 2);
      const prompt = range(1000, 64);
      await post(engine, "/v1/completions", { prompt, max_tokens: 1 }, { "x-data-parallel-rank": "1" });
      const dealer = new Dealer({ linger: 0, receiveTimeout: 4000 });
      try {
        dealer.connect(engine.kvEvents[1]?.replayEndpoint ?? "");
        const [message] = await replay(dealer, 0n);
        assert.equal((unpack(message?.payload ?? Buffer.alloc(0)) as Payload)[2], 1);
      } finally {
        dealer.close();
      }
    } finally {
      await engine.close();
    }
  });
});

/** Asks the replay socket from `start` on and reads to the end marker. */
async function replay(dealer: Dealer, start: bigint): Promise<Message[]> {
  const frames = await replayFrames(dealer, start);
  return frames.slice(0, -1).map((reply) => parse(reply.slice(1)));
}

async function replayFrames(dealer: Dealer, start: bigint): Promise<Buffer[][]> {
  const seq = Buffer.alloc(8);
  seq.writeBigUInt64BE(start);
  await dealer.send([Buffer.alloc(0), seq]);
  const replies: Buffer[][] = [];
  for (;;) {
    const reply = await dealer.receive();
    replies.push(reply);
    if (reply.some((frame) => frame.length === 8 && frame.every((byte) => byte === 0xff))) return replies;
  }
}

describe("the replay socket", () => {
  for (const framing of ["topic", "legacy"] as const) {
    it(`answers from a number on, then the end marker (${framing})`, async () => {
      const engine = await startEngine({ ...base, kvReplayFraming: framing });
      const dealer = new Dealer({ linger: 0, receiveTimeout: 4000 });
      try {
        dealer.connect(engine.kvEvents[0]?.replayEndpoint ?? "");
        for (let at = 0; at < 4; at++) await generate(engine, range(1000 * at, 40), 1);
        const replies = await replayFrames(dealer, 2n);
        const lengths = replies.map((reply) => reply.map((frame) => frame.length));
        const head = framing === "topic" ? [0, 7, 8] : [0, 8];
        const end = framing === "topic" ? [0, 0, 8, 0] : [0, 8, 0];
        assert.deepEqual(
          lengths.map((one) => one.slice(0, -1)),
          [head, head, end.slice(0, -1)],
        );
        assert.deepEqual(lengths.at(-1), end);
        assert.equal((await replayFrames(dealer, 99n)).length, 1, "beyond the end there is only the marker");
      } finally {
        dealer.close();
        await engine.close();
      }
    });
  }

  it("forgets all but the last buffer_steps messages, and ignores requests of another form", async () => {
    const engine = await startEngine({ ...base, kvEvents: { ...base.kvEvents, buffer_steps: 2 } });
    const dealer = new Dealer({ linger: 0, receiveTimeout: 4000 });
    try {
      dealer.connect(engine.kvEvents[0]?.replayEndpoint ?? "");
      for (let at = 0; at < 4; at++) await generate(engine, range(1000 * at, 40), 1);
      await dealer.send([Buffer.from("one frame")]);
      assert.deepEqual(
        (await replay(dealer, 0n)).map(({ seq }) => seq),
        [2n, 3n],
      );
    } finally {
      dealer.close();
      await engine.close();
    }
  });
});

describe("faults of KV events", () => {
  const numbers = async (fault: string): Promise<bigint[]> => {
    const seqs: bigint[] = [];
    await withEngine({ simApi: true }, async (engine, next) => {
      await generate(engine, range(1000, 40), 1);
      const first = (await next()).seq;
      await post(engine, "/sim/faults", { fault });
      await generate(engine, range(2000, 40), 1);
      await post(engine, "/sim/faults", { fault: "none" });
      for (let at = 3; at < 5; at++) await generate(engine, range(1000 * at, 40), 1);
      for (let at = 0; at < 2; at++) seqs.push((await next()).seq - (fault === "kv_events_restarted" ? 0n : first));
    });
    return seqs;
  };

  it("lost", async () => assert.deepEqual(await numbers("kv_events_lost"), [2n, 3n]));
  it("duplicated", async () => assert.deepEqual(await numbers("kv_events_duplicated"), [1n, 1n]));
  it("reordered", async () => assert.deepEqual(await numbers("kv_events_reordered"), [2n, 1n]));
  it("restarted", async () => assert.deepEqual(await numbers("kv_events_restarted"), [0n, 1n]));
});

describe("the configuration", () => {
  it("moves ports by the rank and knows what binds", () => {
    const config = { endpoint: "tcp://*:5557", replay_endpoint: "tcp://127.0.0.1:5558" };
    const resolved = resolveKvEventsConfig(config, 2);
    assert.equal(resolved.endpoint, "tcp://*:5559");
    assert.equal(resolved.replay_endpoint, "tcp://127.0.0.1:5560");
    assert.deepEqual(["tcp://*:1", "tcp://[::]:1", "ipc:///x", "inproc://x", "tcp://127.0.0.1:1"].map(bindsTo), [
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  it("refuses what vLLM's JSON does not have", () => {
    assert.throws(() => parseKvEventsConfig("{"), /not JSON/);
    assert.throws(() => parseKvEventsConfig('{"endpont":"x"}'), /endpont is no field/);
    assert.throws(() => parseKvEventsConfig('{"hwm":"x"}'), /hwm must be a number/);
  });

  it("a port that is taken is an error of the start, and nothing stays behind", async () => {
    const taken = new Publisher({ linger: 0 });
    await taken.bind("tcp://127.0.0.1:*");
    try {
      const replay_endpoint = taken.lastEndpoint ?? "";
      const taking = startEngine({ ...base, kvEvents: { ...base.kvEvents, replay_endpoint } });
      await assert.rejects(taking, /can't be had: .*[Aa]ddress/);
    } finally {
      taken.close();
    }
  });
});
