// The generated workloads: the same seed, the same requests; conversations that grow; shares of shared text as documented.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { generate, generatorNames } from "../../../src/bench/workload/generators.ts";
import { promptTokensOf } from "../../../src/bench/workload/workload.ts";
import { PrefixTree } from "../../../src/lab/prefix-tree.ts";

for (const name of generatorNames) {
  test(`${name}: seed and number are the whole input`, () => {
    const options = { seed: 7, requests: 300 };
    assert.deepEqual(generate(name, options), generate(name, options));
    assert.notDeepEqual(generate(name, options).requests, generate(name, { ...options, seed: 8 }).requests);
  });

  test(`${name}: as many requests as asked, in order of arrival, each with its sum of tokens`, () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.integer({ min: 1, max: 200 }), (seed, requests) => {
        const made = generate(name, { seed, requests }).requests;
        assert.equal(made.length, requests);
        for (const [i, request] of made.entries()) {
          assert.ok(request.arrivalMs >= (made[i - 1]?.arrivalMs ?? 0));
          assert.equal(request.promptTokens, promptTokensOf(request.prompt));
          assert.ok(request.promptTokens > 0 && request.answer.tokens > 0);
          assert.ok(request.named <= request.prompt.length);
        }
      }),
      { numRuns: 10 },
    );
  });
}

test("a turn's prompt begins with the prompt and the answer of the turn before", () => {
  const { requests } = generate("multi-turn", { seed: 1, requests: 500 });
  const last = new Map<string, (typeof requests)[number]>();
  let continued = 0;
  for (const request of requests) {
    const before = last.get(request.session ?? "");
    if (before !== undefined) {
      assert.deepEqual(request.prompt.slice(0, before.prompt.length + 1), [...before.prompt, before.answer]);
      continued++;
    }
    last.set(request.session ?? "", request);
  }
  assert.ok(continued > 200);
});

test("a longer workload begins as a shorter one does", () => {
  const long = generate("agents", { seed: 3, requests: 400 }).requests;
  const short = generate("agents", { seed: 3, requests: 100 }).requests;
  assert.deepEqual(long.slice(0, 50), short.slice(0, 50));
});

test("equal beginnings have equal block names, and no block has two", () => {
  const workload = generate("multi-turn", { seed: 5, requests: 120 });
  const names = new PrefixTree(workload).blocksOf(16);
  const seen = new Map<number, string>();
  for (const [at, { prompt, answer }] of workload.requests.entries()) {
    const text = [...prompt, answer].flatMap(({ id, tokens }) =>
      Array.from({ length: tokens }, (_, i) => `${id}.${i}`),
    );
    const blocks = names.of(at, true);
    assert.equal(blocks.length, Math.floor(text.length / 16));
    for (const [i, name] of blocks.entries()) {
      // the whole text before it is what a block is known by; its end and its length are enough to tell here
      const known = `${(i + 1) * 16} ${text.slice(i * 16, (i + 1) * 16).join(" ")}`;
      assert.equal(seen.get(name) ?? known, known);
      seen.set(name, known);
    }
  }
  assert.equal(new Set(seen.values()).size, seen.size);
});
