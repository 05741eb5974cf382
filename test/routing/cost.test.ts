// The cost in situations that the lab has shown: each test tells what went wrong before.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Prompt } from "../../src/cache/prompt.ts";
import { promptOfBlockIds } from "../../src/cache/prompt.ts";
import type { CacheView } from "../../src/cache/view.ts";
import { costPolicy } from "../../src/routing/cost.ts";
import { EndpointLoad } from "../../src/routing/load.ts";
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
const holding = (tokens: Readonly<Record<string, number>>): CacheView => ({
  complete: false,
  match: (id) => tokens[id] ?? 0,
});

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

// What an engine had had to do was weighed without what it does to those who run there: of eight engines at 45 requests a
// second two had the system prompts that many ask for, and 1.5 times the mean of the work for the whole run.
test("on a busy fleet a system prompt is computed once more rather than all of its conversations left to one endpoint", () => {
  const policy = costPolicy(holding({ warm: 2000 }));
  const fleet = ["warm", "cold1", "cold2", "cold3"].map((id) =>
    candidate({ id, running: 20, load: { recentTokens: () => (id === "warm" ? 200_000 : 67_000) } }),
  );
  const { index } = policy(request({ prompt, promptTokens: 2560 }), fleet, seeded(5));
  assert.ok(index > 0, String(index));
});

// The work of five minutes decides, so an endpoint that had just come would have been 100 % behind and have had all new
// conversations until its queue was full.
test("an endpoint that came a little ago has its part of what came since, and need not make up for what was before it", () => {
  const policy = costPolicy(holding({}));
  const work = { recentTokens: () => 100_000 };
  const old = [0, 1, 2].map((i) => candidate({ id: `old${i}`, load: work }));
  const joined = candidate({ id: "joined", load: { recentTokens: () => 10_000, recentShare: () => 0.1 } });
  const scores = policy.explain?.(request({ prompt, promptTokens: 12_000 }), [...old, joined]) ?? [];
  const costs = scores.map(({ cost }) => cost);
  assert.ok(Math.max(...costs) - Math.min(...costs) < 1, costs.join(" "));
});

test("an idle endpoint begins at once, one at work after the step that is under way", () => {
  const policy = costPolicy(holding({ idle: 2000, busy: 2000 }));
  const fleet = [candidate({ id: "busy", running: 1, load: { recentTokens: () => 0 } }), candidate({ id: "idle" })];
  const [busy, idle] = policy.explain?.(request({ prompt, promptTokens: 2560 }), fleet) ?? [];
  const stepMs = fleet[0]?.load.stepMs ?? 0;
  assert.ok((busy?.cost ?? 0) - (idle?.cost ?? 0) > stepMs / 2, `${busy?.cost} ${idle?.cost}`);
});

test("no part of the cost is below nothing, or a smaller share of the traffic would draw requests", () => {
  const policy = costPolicy(holding({ behind: 2559 }));
  const fleet = [
    candidate({ id: "behind", weight: 0.1, load: { recentTokens: () => 0 } }),
    candidate({ id: "even", load: { recentTokens: () => 50_000 } }),
  ];
  for (const { cost } of policy.explain?.(request({ prompt, promptTokens: 2560 }), fleet) ?? []) assert.ok(cost >= 0);
});

/** Requests a second, each an answer of ten tokens, on endpoints whose steps take so long. @returns how many each gets */
function serve(fleet: readonly EndpointLoad[], stepMs: readonly number[], fromMs: number, toMs: number): number[] {
  const policy = costPolicy(null);
  const random = seeded(fromMs + 5);
  const candidates = fleet.map((load, i) => ({ id: `e${i}`, weight: 1, load }));
  const got = fleet.map(() => 0);
  let later: { atMs: number; run: (nowMs: number) => void }[] = [];
  for (let nowMs = fromMs; nowMs < toMs; nowMs++) {
    for (const { run } of later.filter(({ atMs }) => atMs <= nowMs)) run(nowMs);
    later = later.filter(({ atMs }) => atMs > nowMs);
    if (random() >= 60 / 1000) continue;
    const { index } = policy(request({ promptTokens: 20, nowMs }), candidates, random);
    const [load, step = 0] = [fleet[index], stepMs[index]];
    if (load === undefined) continue;
    got[index] = (got[index] ?? 0) + 1;
    const ticket = load.send(20, 20, 10, nowMs);
    later.push({ atMs: nowMs + step, run: (atMs) => ticket.firstToken(atMs, true) });
    later.push({ atMs: nowMs + 10 * step, run: (atMs) => ticket.release(atMs, 10) });
  }
  for (const { run } of later) run(toMs);
  return got;
}

// One engine of eight had ten times the step time of the others. Its queue was short whenever one looked, and it got an
// eighth of the requests: the slowest one in a hundred took ten times as long.
test("an endpoint at a tenth of the others' pace gets few requests, and its full share once it has recovered", () => {
  const fleet = Array.from({ length: 8 }, () => new EndpointLoad());
  const even = fleet.map(() => 2);
  const oneSlow = [20, ...even.slice(1)];
  serve(fleet, oneSlow, 0, 5_000);
  const slow = serve(fleet, oneSlow, 5_000, 125_000);
  const total = slow.reduce((sum, count) => sum + count, 0);
  assert.ok((slow[0] ?? 0) < total / 71, slow.join(" "));
  assert.ok((slow[0] ?? 0) > 0, "it is asked once in a while, or it could never show that it has recovered");
  serve(fleet, even, 125_000, 190_000);
  const recovered = serve(fleet, even, 190_000, 220_000);
  assert.ok((recovered[0] ?? 0) > Math.min(...recovered.slice(1)) / 2, recovered.join(" "));
});
