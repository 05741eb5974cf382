// KV events as engines write them: the recorded bytes of a real vLLM, the older positional form, and everything that is wrong.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";

import { unpackPayload } from "../../src/fleet/kv-events/payload.ts";
import { decodeBatch, type Batch, type StoredEvent } from "../../src/cache/kv-events/decode.ts";

const root = new URL("../engine/fixtures/kv_events/", import.meta.url);

/** Payloads of a folder of recordings, in order: 4 bytes of length before each frame. */
function recorded(folder: string): Batch[] {
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
      const batch = decodeBatch(unpackPayload(frames[2] ?? Buffer.alloc(0)));
      assert.ok(batch !== null, name);
      return batch;
    });
}

const storedOf = (batch: Batch | undefined): StoredEvent => {
  const found = batch?.events.find((event) => event.type === "stored");
  assert.ok(found?.type === "stored");
  return found;
};

const ids = (value: bigint): number[] => [Number(value & 0xffff_ffffn), Number(value >> 32n)];

describe("recordings of a real vLLM", () => {
  for (const folder of ["main_block32", "eviction_48_blocks_sha256_cbor", "lora_and_bytes_hashes"]) {
    test(`${folder}: every event is understood`, () => {
      const batches = recorded(folder);
      assert.ok(batches.length >= 3);
      for (const batch of batches) {
        assert.deepEqual(batch.bad, []);
        assert.equal(batch.ignored, 0);
        assert.ok(batch.seconds > 1_700_000_000 && batch.events.length > 0);
      }
    });
  }

  test("stores, with what their blocks depend on", () => {
    const [first, second] = recorded("main_block32");
    assert.deepEqual(
      first?.events.map((event) => event.type),
      ["cleared", "cleared", "stored"],
    );
    const store = storedOf(first);
    assert.equal(store.blockSize, 32);
    assert.equal(store.tokens.length, 96);
    assert.equal(store.parent, null);
    assert.deepEqual([...store.ids.subarray(0, 2)], ids(15055828968291616402n));
    assert.deepEqual([...(storedOf(second).parent ?? [])], ids(5204843658281419474n));
    const salted = recorded("main_block32").flatMap((batch) =>
      batch.events.flatMap((event) => (event.type === "stored" && event.keys !== null ? [event.keys] : [])),
    );
    assert.deepEqual(salted, [
      ['[null,"salt-A"]', null, null],
      ['[null,"salt-B"]', null, null],
    ]);
  });

  test("hashes of 32 bytes are known by their last 8, as vLLM itself shortens them; adapters are named", () => {
    const [base, adapter] = recorded("lora_and_bytes_hashes");
    assert.deepEqual([...storedOf(base).ids], ids(0x6d546e1572338929n));
    assert.deepEqual(storedOf(adapter).keys, ['["lora-static"]']);
  });
});

const tokens = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
const good = { type: "BlockStored", block_hashes: [1n, 2n], parent_block_hash: 9, token_ids: tokens(4), block_size: 2 };
const one = (event: unknown): Batch => {
  const batch = decodeBatch([1.5, [event], 0]);
  assert.ok(batch !== null);
  return batch;
};

describe("both encodings", () => {
  test("an array with the tag first says the same as a map", () => {
    const list = ["BlockStored", [1n, 2n], 9, tokens(4), 2, null, "CPU", "ada", [["ada"], null], 3, "mla"];
    const map = { ...good, medium: "CPU", lora_name: "ada", extra_keys: [["ada"], null], group_idx: 3 };
    assert.deepEqual(one(list), one({ ...map, kv_cache_spec_kind: "mla" }));
    assert.deepEqual(
      one(["BlockRemoved", [5], "GPU", 1]),
      one({ type: "BlockRemoved", block_hashes: [5], group_idx: 1 }),
    );
    assert.deepEqual(one(["AllBlocksCleared"]), one({ type: "AllBlocksCleared" }));
  });

  test("the older arrays may end early, newer ones may go on, and the outside may be a map", () => {
    assert.deepEqual(one(["BlockStored", [1n, 2n], 9, tokens(4), 2]), one(good));
    const list = [
      "BlockStored",
      [1n, 2n],
      9,
      tokens(4),
      2,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      1,
      2,
    ];
    assert.deepEqual(one(list), one(good));
    assert.deepEqual(decodeBatch({ ts: 1.5, events: [good], data_parallel_rank: 1, more: 1 }), one(good));
  });

  test("signed hashes, as SGLang's, and hashes in hexadecimal are ids like any other", () => {
    const removed = (hash: unknown) => one(["BlockRemoved", [hash]]).events[0];
    assert.deepEqual(removed(-1n), removed(0xffff_ffff_ffff_ffffn));
    assert.deepEqual(removed(7), removed(7n));
    assert.deepEqual(removed("00000000000000000000000000000007"), removed(7n));
    assert.deepEqual(removed(Buffer.from("ffff000000000000000000000007", "hex")), removed(7n));
  });

  test("without extra_keys the adapter's name is what a block depends on, and a bare number is never found", () => {
    const keys = (more: object) => storedOf(one({ ...good, ...more })).keys;
    assert.deepEqual(keys({ lora_name: "ada" }), ['["ada"]', '["ada"]']);
    assert.deepEqual(keys({ lora_id: 4 }), ["lora_id 4", "lora_id 4"]);
    assert.equal(keys({ extra_keys: [null, []] }), null);
  });
});

describe("one bad event", () => {
  const bad: readonly (readonly [string, unknown, RegExp])[] = [
    ["of no type", {}, /without a type/],
    ["that is a number", 4, /without a type/],
    ["without hashes", { type: "BlockStored" }, /no list/],
    ["whose hash is a list", { ...good, block_hashes: [[], 1] }, /a block hash that is \[\]/],
    ["with another number of tokens", { ...good, block_size: 3 }, /4 tokens for 2 blocks of 3/],
    ["of blocks of no size", { ...good, block_size: -2 }, /block_size -2/],
    ["with tokens that are texts", { ...good, token_ids: ["a", 1, 2, 3] }, /the token "a"/],
    ["with too few extra keys", { ...good, extra_keys: [null] }, /1 extra_keys for 2 blocks/],
    ["with a parent that is no id", { ...good, parent_block_hash: {} }, /a block hash that is {}/],
  ];
  for (const [what, event, says] of bad) {
    test(`${what} is told of, and the others count`, () => {
      const batch = decodeBatch([1, [good, event, { type: "BlockRemoved", block_hashes: [1] }], 0]);
      assert.equal(batch?.events.length, 2);
      assert.equal(batch.bad.length, 1);
      assert.match(batch.bad[0] ?? "", says);
    });
  }

  test("events of kinds to come, and blocks that are elsewhere, are left aside", () => {
    const batch = decodeBatch([1, [["BlockMoved", 1], { ...good, locality: "REMOTE" }, good], 0]);
    assert.deepEqual([batch?.ignored, batch?.bad.length, batch?.events.length], [2, 0, 1]);
  });

  test("a payload that is no batch is none", () => {
    for (const payload of [null, 5, "x", [], {}, [1], [1, 2], { ts: 1 }]) assert.equal(decodeBatch(payload), null);
  });

  test("no bytes make the reader throw anything but a plain error, nor take memory that they do not fill", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeBatch(unpackPayload(Buffer.from(bytes)));
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }),
    );
    // an array that says it has four billion entries
    assert.throws(() => unpackPayload(Buffer.from("ddffffffff", "hex")), /length|Insufficient|Max/i);
  });
});
