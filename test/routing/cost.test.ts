// The cost in situations that the lab has shown: each test tells what went wrong before.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Prompt } from "../../src/cache/prompt.ts";
import { promptOfBlockIds } from "../../src/cache/prompt.ts";
import type { CacheView } from "../../src/cache/view.ts";
import { costPolicy } from "../../src/routing/cost.ts";
import { candidate, request, seeded } from "./support.ts";

/** Share of choices for each candidate. */
function shares(choose: () => number, count: number, places: number): number[] {
  const chosen = Array.from({ length: places }, () => 0);
  for (let i = 0; i < count; i++) {
    const place = choose();
    chosen[place] = (chosen[place] ?? 0) + 1 / count;
  }
  return chosen;
}

const prompt: Prompt = promptOfBlockIds(
  Array.from({ length: 40 }, (_, i) => i),
  64,
  2560,
);

/** Who has how many tokens of every prompt. */
const holding = (tokens: Readonly<Record<string, number>>): CacheView => ({ match: (id) => tokens[id] ?? 0 });

// Idle engines of one kind had learnt 0.0796 and 0.0801 ms a token, and all new conversations went to the first: in an hour
// of trace the busiest of eight engines computed 1.45 times the mean.
test("idle endpoints whose learnt rates differ by 3 % get the same share of new prompts", () => {
  const policy = costPolicy(holding({}));
  const random = seeded(1);
  const fleet = [0.0796, 0.0801, 0.081, 0.0789].map((prefillMsPerToken, i) =>
    candidate({ id: `e${i}`, load: { prefillMsPerToken } }),
  );
  const found = shares(
    () => policy(request({ prompt, promptTokens: 12_000 }), fleet, random).index,
    4000,
    fleet.length,
  );
  for (const share of found) assert.ok(Math.abs(share - 0.25) < 0.03, found.join(" "));
});

test("an endpoint that is half as fast gets the new prompts of an idle fleet last", () => {
  const policy = costPolicy(holding({}));
  const fleet = [0.08, 0.16].map((prefillMsPerToken, i) => candidate({ id: `e${i}`, load: { prefillMsPerToken } }));
  assert.equal(policy(request({ prompt, promptTokens: 12_000 }), fleet, seeded(1)).index, 0);
});

// The rate of an endpoint that nobody had tried was taken for slow, 0.1 ms a token, while that of its sisters had been
// measured as 0.02: one of eight idle engines got everything.
test("an endpoint that has not been tried is believed to be as fast as its sisters", () => {
  const policy = costPolicy(null);
  const random = seeded(2);
  const fleet = [
    candidate({ id: "tried", load: { prefillMsPerToken: 0.02 } }),
    candidate({ id: "new", load: { prefillMsPerToken: 0.1, rateKnown: false } }),
  ];
  const found = shares(() => policy(request({ promptTokens: 2000 }), fleet, random).index, 1000, 2);
  assert.ok((found[1] ?? 0) > 0.4, found.join(" "));
});

// All requests share their first 2,000 tokens: the four engines that had computed them first kept all of the traffic, 17
// requests each, and the other four stayed idle for ever.
test("a prefix that all share is computed on an idle endpoint, too, while others are in use", () => {
  const policy = costPolicy(holding({ warm1: 2000, warm2: 2000 }));
  const fleet = [
    candidate({ id: "warm1", running: 17 }),
    candidate({ id: "warm2", running: 17 }),
    candidate({ id: "cold1" }),
    candidate({ id: "cold2" }),
  ];
  const { index } = policy(request({ prompt, promptTokens: 2560 }), fleet, seeded(3));
  assert.ok(index >= 2, String(index));
});

test("a prefix is worth more than a little less company", () => {
  const policy = costPolicy(holding({ warm: 2000 }));
  const fleet = [candidate({ id: "warm", running: 12 }), candidate({ id: "cold", running: 8 })];
  assert.equal(policy(request({ prompt, promptTokens: 2560 }), fleet, seeded(4)).index, 0);
});
