// The approximate index against a model of it that is too simple to be wrong: sets of prefixes with the time of their last use.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ApproximateIndex } from "../../src/cache/approximate.ts";
import { EndpointBlocks } from "../../src/cache/endpoint-blocks.ts";
import { TokenLengths } from "../../src/cache/token-lengths.ts";
import { promptOfBlockIds } from "../../src/cache/prompt.ts";
import { layered } from "../../src/cache/view.ts";
import { idPrompt, textPrompt } from "./support.ts";

const grow = (): boolean => true;

/** What is held, as strings of ids; the last is the youngest. */
class Simple {
  readonly limit: number;
  held: string[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  match(ids: readonly number[]): number {
    let count = 0;
    while (count < ids.length && this.held.includes(ids.slice(0, count + 1).join())) count++;
    return count;
  }

  record(ids: readonly number[]): void {
    const chain = ids.slice(0, this.limit).map((_, i) => ids.slice(0, i + 1).join());
    const others = this.held.filter((one) => !chain.includes(one));
    // leaves are older than what is before them
    this.held = [...others, ...chain.toReversed()];
    this.held = this.held.slice(Math.max(0, this.held.length - this.limit));
  }
}

const ids = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 8 });

test("an endpoint's part holds what an LRU of the same size would, and forgets leaves first", () => {
  fc.assert(
    fc.property(fc.array(ids, { maxLength: 60 }), fc.integer({ min: 3, max: 40 }), (prompts, limit) => {
      const blocks = new EndpointBlocks();
      const simple = new Simple(limit);
      for (const prompt of prompts) {
        assert.equal(blocks.match(idPrompt(...prompt)), simple.match(prompt));
        blocks.record(idPrompt(...prompt), limit, grow);
        simple.record(prompt);
        assert.equal(blocks.used, simple.held.length);
        assert.ok(blocks.used <= limit);
      }
      for (const prompt of prompts) assert.equal(blocks.match(idPrompt(...prompt)), simple.match(prompt));
    }),
    { numRuns: 300 },
  );
});

test("where no memory is left, what is oldest goes, and no prefix loses its beginning", () => {
  fc.assert(
    fc.property(fc.array(ids, { maxLength: 200 }), (prompts) => {
      const blocks = new EndpointBlocks();
      let grants = 1;
      for (const prompt of prompts) {
        blocks.record(idPrompt(...prompt.map((id, i) => id + 3 * i)), 1e9, () => grants-- > 0);
        for (const other of prompts) {
          const chain = other.map((id, i) => id + 3 * i);
          const found = blocks.match(idPrompt(...chain));
          for (let i = 1; i <= chain.length; i++) {
            assert.equal(blocks.match(idPrompt(...chain.slice(0, i))), Math.min(i, found));
          }
        }
      }
      assert.ok(blocks.nodes <= 64);
    }),
    { numRuns: 30 },
  );
});

test("all parts together stay within the bound, and the young ones survive", () => {
  const index = new ApproximateIndex({ maxBytes: 1024 * 1024 });
  let last = idPrompt(1);
  for (let i = 0; i < 3000; i++) {
    last = idPrompt(...Array.from({ length: 50 }, (_, k) => i * 50 + k));
    index.sent(`e${i % 7}`, last);
    assert.ok(index.bytes <= 1024 * 1024, `${index.bytes} bytes`);
  }
  assert.equal(index.match("e3", last), 50 * 64);
  assert.ok(index.nodes > 10_000, `${index.nodes} blocks in a mebibyte`);
});

test("an endpoint that joins late gets its share of a full index", () => {
  const index = new ApproximateIndex({ maxBytes: 512 * 1024 });
  const send = (endpoint: string, from: number): void => {
    for (let i = 0; i < 400; i++)
      index.sent(endpoint, idPrompt(...Array.from({ length: 50 }, (_, k) => from + i * 50 + k)));
  };
  send("old", 0);
  send("new", 1e6);
  const held = (from: number, endpoint: string): number => {
    let blocks = 0;
    for (let i = 0; i < 400; i++)
      blocks += index.match(endpoint, idPrompt(...Array.from({ length: 50 }, (_, k) => from + i * 50 + k))) / 64;
    return blocks;
  };
  assert.ok(held(1e6, "new") > 2000, `${held(1e6, "new")} blocks`);
  assert.ok(held(0, "old") > 2000, `${held(0, "old")} blocks`);
});

test("it holds no more of an endpoint than the engine does, generated tokens included", () => {
  const index = new ApproximateIndex();
  index.setEngine("e", { capacityTokens: 64 * 100, blockTokens: 16, caching: true });
  const one = idPrompt(...Array.from({ length: 40 }, (_, i) => i));
  const two = idPrompt(...Array.from({ length: 40 }, (_, i) => 1000 + i));
  const placed = index.sent("e", one);
  index.sent("e", two);
  assert.equal(index.match("e", one), 40 * 64);
  assert.ok(placed !== null);
  // the answer of the first takes 30 blocks: 110 do not fit, and the second is the older one now
  index.finished(placed, 30 * 64);
  assert.equal(index.match("e", one), 40 * 64);
  assert.equal(index.match("e", two), 30 * 64);
});

test("hits come in whole blocks of the engine's, and never cover the whole prompt", () => {
  const index = new ApproximateIndex();
  index.setEngine("e", { capacityTokens: 100_000, blockTokens: 48, caching: true });
  const prompt = textPrompt("x".repeat(2048));
  index.sent("e", prompt);
  // 2,048 bytes at 4 a token: 512 tokens, of which one is always computed; 10 blocks of 48
  assert.equal(index.match("e", prompt), 480);
});

test("an engine that caches nothing is believed to hold nothing", () => {
  const index = new ApproximateIndex();
  const prompt = idPrompt(1, 2, 3);
  index.sent("e", prompt);
  index.setEngine("e", { capacityTokens: 1000, blockTokens: 16, caching: false });
  index.sent("e", prompt);
  assert.equal(index.match("e", prompt), 0);
});

test("a restarted engine starts empty, and one that is gone leaves no memory behind", () => {
  const index = new ApproximateIndex();
  const prompt = idPrompt(1, 2, 3);
  index.sent("a", prompt);
  index.sent("b", prompt);
  index.restarted("a");
  assert.equal(index.match("a", prompt), 0);
  assert.ok(index.match("b", prompt) > 0);
  index.retain(new Set(["a"]));
  assert.equal(index.match("b", prompt), 0);
  assert.equal(index.bytes, 0);
});

test("an engine that holds less than it says is believed to be smaller, and to grow again", () => {
  const index = new ApproximateIndex();
  index.setEngine("e", { capacityTokens: 100_000, blockTokens: 16, caching: true });
  for (let i = 0; i < 60; i++) index.observed("e", 4_000, 1_000);
  assert.ok(index.capacityTokens("e") < 10_000, `${index.capacityTokens("e")} tokens`);
  for (let i = 0; i < 500; i++) index.observed("e", 4_000, 4_000);
  assert.equal(index.capacityTokens("e"), 100_000);
});

test("an engine that never tells cached tokens is judged by its counters, not by its silence", () => {
  const index = new ApproximateIndex();
  index.setEngine("e", { capacityTokens: 100_000, blockTokens: 16, caching: true });
  const prompt = idPrompt(...Array.from({ length: 100 }, (_, i) => i));
  for (let i = 0; i < 20; i++) {
    index.sent("e", prompt);
    index.observed("e", 6_400, 0);
  }
  assert.equal(index.capacityTokens("e"), 100_000);
  index.counted("e", 128_000, 120_000);
  assert.equal(index.capacityTokens("e"), 100_000);
  for (let i = 0; i < 20; i++) index.sent("e", prompt);
  index.counted("e", 128_000, 30_000);
  assert.ok(index.capacityTokens("e") < 60_000, `${index.capacityTokens("e")} tokens`);
});

for (const [what, engine] of [
  ["a size that is no number", { capacityTokens: Number.NaN, blockTokens: 16, caching: true }],
  ["blocks of nothing", { capacityTokens: 1000, blockTokens: 0, caching: true }],
  ["a size below nothing", { capacityTokens: -5, blockTokens: 16, caching: true }],
  ["blocks larger than the cache", { capacityTokens: 100, blockTokens: 4096, caching: true }],
] as const) {
  test(`an engine that tells ${what} does no harm`, () => {
    const index = new ApproximateIndex();
    index.setEngine("e", engine);
    const prompt = idPrompt(1, 2, 3, 4);
    index.sent("e", prompt);
    const match = index.match("e", prompt);
    assert.ok(Number.isFinite(match) && match >= 0 && match <= 256, String(match));
  });
}

test("bytes of a token are learnt from what engines count, and what no text can have is not believed", () => {
  const lengths = new TokenLengths();
  assert.equal(lengths.of("m"), 4);
  for (let i = 0; i < 100; i++) lengths.learn("m", 3_000, 1_000);
  assert.ok(Math.abs(lengths.of("m") - 3) < 0.1, String(lengths.of("m")));
  lengths.learn("m", 100, 4_000);
  lengths.learn("m", 1e6, 10);
  lengths.learn("m", 1e6, 0);
  assert.ok(Math.abs(lengths.of("m") - 3) < 0.1);
  assert.equal(lengths.of("n"), 4);
});

test("a view that can't tell leaves the answer to the next one", () => {
  const prompt = idPrompt(1, 2, 3);
  const exact = { complete: true, match: (endpoint: string) => (endpoint === "known" ? 32 : -1) };
  const view = layered(exact, { complete: false, match: () => 128 });
  assert.equal(view.match("known", prompt), 32);
  assert.equal(view.match("unknown", prompt), 128);
});

test("a match that is shorter than the least counts for nothing, and all of one that is as long", () => {
  const index = new ApproximateIndex({ maxBytes: 1e6, leastMatch: 128 });
  const sent = promptOfBlockIds([1, 2, 3], 64, 192);
  index.sent("e", sent);
  assert.equal(index.match("e", promptOfBlockIds([1, 7, 8], 64, 192)), 0);
  assert.equal(index.match("e", promptOfBlockIds([1, 2, 8], 64, 192)), 128);
});

// Conversations with an assistant of 500 tokens began with "hi". That is no whole block, so their second turns were the same to
// all endpoints that had the assistant's prompt, and one in thirty went to another one than its answer was on.
test("a conversation is known by its first question, also where that is shorter than a block", () => {
  const index = new ApproximateIndex();
  const opening = [1, 2, 3];
  const turn = (anchor: number, ...more: number[]) => ({
    ...idPrompt(...opening, ...more),
    length: (opening.length + more.length) * 64 + 20,
    anchor,
    ownFrom: opening.length * 64 + 10,
    continued: more.length > 0,
  });
  index.sent("a", turn(7));
  index.sent("b", turn(8));
  assert.equal(index.match("a", turn(7, 17, 18)), 202, "half of the question, as of those that fill blocks");
  assert.equal(index.match("b", turn(7, 17, 18)), 192, "what all conversations with it share");
  index.sent("a", turn(7, 17, 18));
  assert.equal(index.match("a", turn(7, 17, 18, 19)), 320, "further turns have blocks of their own");
  assert.equal(index.nodes, 3 + 1 + 2 + 3 + 1);
});

test("beginnings of conversations are forgotten like blocks, and never outlive the blocks before them", () => {
  const beginnings = fc.array(fc.tuple(ids, fc.integer({ min: 1, max: 5 })), { maxLength: 80 });
  fc.assert(
    fc.property(beginnings, fc.integer({ min: 3, max: 20 }), (prompts, limit) => {
      const blocks = new EndpointBlocks();
      for (const [prompt, question] of prompts) {
        const whole = idPrompt(...prompt);
        // the same question below another prompt is another conversation
        const anchor = prompt.reduce((sum, id) => sum * 4 + id + 1, 1) * 8 + question;
        const asked = { ...whole, anchor, ownFrom: whole.blocks * 64 + 5 };
        blocks.record(asked, limit, grow);
        assert.ok(blocks.used <= limit);
        if (prompt.length < limit) assert.ok(blocks.began(asked));
        for (const [other, asking] of prompts) {
          const there = other.reduce((sum, id) => sum * 4 + id + 1, 1) * 8 + asking;
          const one = idPrompt(...other);
          if (blocks.began({ ...one, anchor: there })) assert.equal(blocks.match(one), one.blocks);
        }
      }
    }),
    { numRuns: 200 },
  );
});
