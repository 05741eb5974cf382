// The exact index: what it says of real and made-up events, and that it agrees with a model that keeps everything as text.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";

import { ExactIndex } from "../../src/cache/exact.ts";
import { decodeBatch, type Batch } from "../../src/cache/kv-events/decode.ts";
import { TokenPrompt } from "../../src/cache/token-blocks.ts";

const size = 4;
const megabyte = 1024 * 1024;

function batch(...events: readonly object[]): Batch {
  const decoded = decodeBatch([1, events]);
  assert.ok(decoded !== null);
  assert.deepEqual(decoded.bad, []);
  return decoded;
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, at) => from + at);
const prompt = (tokens: readonly number[], adapter: string | null = null, salt: string | null = null): TokenPrompt =>
  new TokenPrompt(tokens, adapter, salt);
const stored = (
  hashes: readonly number[],
  parent: number | null,
  tokens: readonly number[],
  more: object = {},
): object => {
  return {
    type: "BlockStored",
    block_hashes: hashes,
    parent_block_hash: parent,
    token_ids: tokens,
    block_size: size,
    ...more,
  };
};
const removed = (hashes: readonly number[], more: object = {}): object => {
  return { type: "BlockRemoved", block_hashes: hashes, ...more };
};

/** An index with one source of the endpoint `e`, which has been told these events. */
function told(...events: readonly object[]): {
  index: ExactIndex;
  source: number;
  tell(...more: readonly object[]): void;
} {
  const index = new ExactIndex({ maxBytes: megabyte });
  const source = index.addSource("e");
  const tell = (...more: readonly object[]): void => index.apply(source, batch(...more));
  tell(...events);
  return { index, source, tell };
}

describe("what an endpoint holds of a prompt", () => {
  test("is whole blocks, and never the last token", () => {
    const { index } = told(stored([1, 2], null, range(0, 8)));
    const matches = [8, 9, 12, 7, 5, 4, 1, 0].map((length) => index.match("e", prompt(range(0, length))));
    assert.deepEqual(matches, [4, 8, 8, 4, 4, 0, 0, 0]);
  });

  test("is not known of an endpoint without a source", () => {
    assert.equal(told().index.match("other", prompt(range(0, 8))), -1);
    assert.equal(told().index.match("e", prompt(range(0, 8))), 0);
  });

  test("goes on over several events, by the parent", () => {
    const { index } = told(
      stored([1], null, range(0, 4)),
      stored([2, 3], 1, range(4, 8)),
      stored([9], 1, range(40, 4)),
    );
    assert.equal(index.match("e", prompt(range(0, 13))), 12);
    assert.equal(index.match("e", prompt([...range(0, 4), ...range(40, 4), 1])), 8);
  });

  test("ends where a block is gone, and comes back with it", () => {
    const { index, tell } = told(stored([1, 2, 3], null, range(0, 12)));
    tell(removed([2]));
    assert.equal(index.match("e", prompt(range(0, 13))), 4);
    tell(stored([2], 1, range(4, 4)));
    assert.equal(index.match("e", prompt(range(0, 13))), 12);
    tell({ type: "AllBlocksCleared" });
    assert.equal(index.match("e", prompt(range(0, 13))), 0);
  });

  test("counts copies: what was stored twice is gone when it was removed twice", () => {
    const { index, tell } = told(stored([1], null, range(0, 4)), stored([1], null, range(0, 4)));
    tell(removed([1]));
    assert.equal(index.match("e", prompt(range(0, 5))), 4);
    tell(removed([1]));
    assert.equal(index.match("e", prompt(range(0, 5))), 0);
    tell(removed([1]), stored([1], null, range(0, 4)));
    assert.equal(index.match("e", prompt(range(0, 5))), 4);
  });

  test("depends on the adapter and the salt, by name in the event and in the request", () => {
    const tokens = range(0, 8);
    const { index } = told(
      stored([1, 2], null, tokens, { extra_keys: [["ada", "s"], ["ada"]], lora_name: "ada" }),
      stored([3, 4], null, tokens, { extra_keys: [["s"], null] }),
    );
    const match = (adapter: string | null, salt: string | null) =>
      index.match("e", prompt([...tokens, 1], adapter, salt));
    assert.deepEqual(
      [match("ada", "s"), match(null, "s"), match(null, null), match("ada", null), match("s", null)],
      [8, 8, 0, 0, 0],
    );
  });

  test("stays where only one of two media loses a block", () => {
    const { index, tell } = told(stored([1], null, range(0, 4)));
    // a copy elsewhere, told without tokens
    tell(stored([1], null, [], { medium: "CPU", block_size: 0 }), removed([1], { medium: "GPU" }));
    assert.equal(index.match("e", prompt(range(0, 5))), 4);
    tell(removed([1], { medium: "CPU" }));
    assert.equal(index.match("e", prompt(range(0, 5))), 0);
  });

  test("is made of groups with full attention alone, also when blocks go", () => {
    const { index, source, tell } = told(
      stored([1], null, range(0, 4), { group_idx: 0, kv_cache_spec_kind: "full_attention" }),
      stored([1], null, range(0, 4), { group_idx: 1, kv_cache_spec_kind: "sliding_window" }),
    );
    tell(removed([1], { group_idx: 1 }));
    assert.equal(index.match("e", prompt(range(0, 5))), 4);
    assert.equal(index.counts(source)?.ignored, 2);
    tell(removed([1], { group_idx: 0 }));
    assert.equal(index.match("e", prompt(range(0, 5))), 0);
  });

  test("does not count reports of what was found in the cache, which look like stores", () => {
    const { index, tell } = told(stored([1, 2], null, range(0, 8)));
    tell(stored([1, 2], null, range(0, 8), { session_id: "s" }));
    tell(removed([2]));
    assert.equal(index.match("e", prompt(range(0, 9))), 4);
  });

  test("has no part of what stands behind blocks that were never seen", () => {
    const { index, source } = told(stored([8], 7, range(0, 4)), stored([9], 8, range(4, 4)));
    assert.equal(index.match("e", prompt(range(0, 9))), 0);
    assert.equal(index.counts(source)?.orphans, 2);
    assert.equal(index.blocks, 0);
  });

  test("leaves entries of another block size aside", () => {
    const { index, source } = told(stored([1], null, range(0, 4)), {
      ...stored([2, 3], null, range(50, 4)),
      block_size: 2,
    });
    assert.equal(index.counts(source)?.ignored, 1);
    assert.equal(index.match("e", prompt(range(50, 5))), 0);
    assert.equal(index.match("e", prompt(range(0, 5))), 4);
  });
});

describe("several publishers", () => {
  test("of one endpoint: that which holds most counts; of two endpoints: each has its own block size", () => {
    const index = new ExactIndex({ maxBytes: megabyte });
    const [rank0, rank1, other] = [index.addSource("a"), index.addSource("a"), index.addSource("b")];
    index.apply(rank0, batch(stored([1], null, range(0, 4))));
    index.apply(rank1, batch(stored([1, 2], null, range(0, 8))));
    index.apply(other, batch({ ...stored([5], null, range(0, 8)), block_size: 8 }));
    const p = prompt(range(0, 30));
    assert.deepEqual([index.match("a", p), index.match("b", p)], [8, 8]);
    assert.deepEqual([index.blockSize("a"), index.blockSize("b"), index.blockSize("c")], [4, 8, 0]);
    index.clear(rank1);
    assert.equal(index.match("a", p), 4);
    index.removeSource(rank0);
    index.removeSource(rank1);
    assert.equal(index.match("a", p), -1);
    assert.equal(index.match("b", p), 8);
    index.removeSource(other);
    assert.equal(index.blocks, 0);
  });

  test("a source that goes while a request is under way leaves nothing to the one that gets its place", () => {
    const index = new ExactIndex({ maxBytes: megabyte });
    const first = index.addSource("a");
    index.apply(first, batch(stored([1], null, range(90, 4))));
    const entered = index.speculate("a", prompt(range(0, 8)));
    assert.ok(entered !== null);
    index.removeSource(first);
    const second = index.addSource("b");
    index.apply(second, batch(stored([1], null, range(90, 4))));
    assert.equal(index.match("b", prompt(range(0, 9))), 0);
    index.settle(entered);
    assert.equal(index.match("b", prompt(range(0, 9))), 0);
  });
});

describe("a request under way", () => {
  test("counts as held until it ends, and its blocks as what the engine then says", () => {
    const { index, tell } = told(stored([1], null, range(0, 4)));
    const p = prompt(range(0, 13));
    const entered = index.speculate("e", p);
    assert.ok(entered !== null);
    assert.equal(index.match("e", p), 12);
    assert.equal(index.speculate("e", p), null, "all of it is known already");
    tell(stored([2], 1, range(4, 4)));
    index.settle(entered);
    assert.equal(index.match("e", p), 8);
  });

  test("is not entered where the block size is not known yet, or one of several ranks may get it", () => {
    assert.equal(told().index.speculate("e", prompt(range(0, 9))), null);
    const { index } = told(stored([1], null, range(0, 4)));
    index.addSource("e");
    assert.equal(index.speculate("e", prompt(range(0, 9))), null);
    assert.equal(index.speculate("nobody", prompt(range(0, 9))), null);
  });
});

test("under more blocks than it may hold it gives up the oldest, and stays within its bytes", () => {
  const maxBytes = 2 * megabyte;
  const index = new ExactIndex({ maxBytes });
  const [small, large] = [index.addSource("small"), index.addSource("large")];
  index.apply(small, batch(stored([1], null, range(0, 4))));
  for (let at = 0; at < 60_000; at++) {
    index.apply(large, batch(stored([at + 1], null, range(at * 4 + 100, 4))));
  }
  assert.ok(index.bytes <= maxBytes, `${index.bytes} bytes`);
  assert.ok(index.blocks > 20_000);
  assert.ok((index.counts(large)?.evicted ?? 0) > 30_000);
  assert.equal(index.match("small", prompt(range(0, 5))), 4, "who holds little keeps it");
  assert.equal(index.match("large", prompt(range(59_999 * 4 + 100, 5))), 4);
  index.removeSource(large);
  assert.ok(index.blocks === 1 && index.bytes < megabyte / 4, `${index.bytes} bytes are left`);
});

// --- against a model

type Op =
  | {
      readonly op: "store";
      readonly source: number;
      readonly path: readonly number[];
      readonly from: number;
      readonly medium: string;
    }
  | { readonly op: "remove"; readonly source: number; readonly path: readonly number[]; readonly medium: string }
  | { readonly op: "clear" | "addRank"; readonly source: number }
  | { readonly op: "send" | "end"; readonly source: number; readonly path: readonly number[] };

/** Prompts are paths of block numbers 0 and 1, so that they share prefixes; a block's tokens say its number. */
const pathOf = fc.array(fc.nat(1), { minLength: 1, maxLength: 5 });
const tokensOf = (path: readonly number[]): number[] => path.flatMap((block) => range(block * 100, size));
/** An engine's name of a block: any injective function of the path; each engine has its own. */
const nameOf = (source: number, path: readonly number[]): number =>
  path.reduce((name, block) => name * 3 + block + 1, source + 1) * 7 + source;

const medium = fc.constantFrom("GPU", "CPU");
const ops: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("store" as const),
      source: fc.nat(2),
      path: pathOf,
      from: fc.nat(4),
      medium,
    }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("remove" as const), source: fc.nat(2), path: pathOf, medium }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("clear" as const), source: fc.nat(2) }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constantFrom("send" as const, "end" as const), source: fc.nat(2), path: pathOf }),
  },
);

test("it agrees with a model that keeps every block as text", () => {
  fc.assert(
    fc.property(fc.array(ops, { maxLength: 60 }), pathOf, (history, asked) => {
      const index = new ExactIndex({ maxBytes: megabyte });
      const sources = [0, 1, 2].map((source) => index.addSource(`e${source}`));
      /** Copies by medium, of each source, by path as text. */
      const model = sources.map(() => new Map<string, Record<string, number>>());
      const sent = sources.map(() => new Map<string, { path: readonly number[]; settle: () => void }>());
      const sized = sources.map(() => false);
      const holds = (source: number, path: readonly number[]): boolean => {
        const copies = model[source]?.get(path.join());
        return copies !== undefined && (copies["GPU"] ?? 0) + (copies["CPU"] ?? 0) > 0;
      };
      for (const step of history) {
        const { source } = step;
        const number = sources[source] ?? 0;
        const known = model[source] ?? new Map<string, Record<string, number>>();
        if (step.op === "store") {
          const from = Math.min(step.from, step.path.length - 1);
          const hashes = step.path.slice(from).map((_, at) => nameOf(source, step.path.slice(0, from + at + 1)));
          const parent = from === 0 ? null : nameOf(source, step.path.slice(0, from));
          index.apply(number, batch(stored(hashes, parent, tokensOf(step.path.slice(from)), { medium: step.medium })));
          sized[source] = true;
          let placed = from === 0 || holds(source, step.path.slice(0, from));
          for (let length = from + 1; length <= step.path.length; length++) {
            const path = step.path.slice(0, length);
            placed ||= holds(source, path);
            if (!placed) continue;
            const copies = known.get(path.join()) ?? {};
            copies[step.medium] = (copies[step.medium] ?? 0) + 1;
            known.set(path.join(), copies);
          }
        } else if (step.op === "remove") {
          index.apply(number, batch(removed([nameOf(source, step.path)], { medium: step.medium })));
          const copies = known.get(step.path.join());
          if (copies !== undefined && holds(source, step.path)) {
            copies[step.medium] = Math.max(0, (copies[step.medium] ?? 0) - 1);
            if (!holds(source, step.path)) known.delete(step.path.join());
          }
        } else if (step.op === "clear") {
          index.apply(number, batch({ type: "AllBlocksCleared" }));
          known.clear();
        } else if (step.op === "send") {
          if (sent[source]?.has(step.path.join()) === true) continue;
          const entered = index.speculate(`e${source}`, prompt(tokensOf(step.path)));
          if (sized[source] === true)
            sent[source]?.set(step.path.join(), {
              path: step.path,
              settle: () => entered !== null && index.settle(entered),
            });
        } else if (step.op === "end") {
          sent[source]?.get(step.path.join())?.settle();
          sent[source]?.delete(step.path.join());
        }
      }
      // what two requests await is told by the first alone: with none under way both must agree to the token
      for (const under of sent) for (const { settle } of under.values()) settle();
      for (const source of [0, 1, 2]) {
        let blocks = 0;
        while (blocks < asked.length && holds(source, asked.slice(0, blocks + 1))) blocks++;
        assert.equal(index.match(`e${source}`, prompt([...tokensOf(asked), 1])), blocks * size);
        assert.equal(index.held(sources[source] ?? 0), model[source]?.size);
      }
      for (const number of sources) index.removeSource(number);
      assert.equal(index.blocks, 0);
    }),
    { numRuns: 300 },
  );
});
