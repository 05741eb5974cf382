// One prefix that every request shares, on eight equal engines in virtual time: a router that only follows the longest match
// sends them all to one engine. Here the engines' model, the index and the policy are the real ones; only time is not.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ApproximateIndex } from "../../src/cache/approximate.ts";
import { promptOfBlockIds } from "../../src/cache/prompt.ts";
import { ManualClock } from "../../src/clock.ts";
import { EngineCore } from "../../src/engine/core/index.ts";
import { findPreset } from "../../src/engine/core/presets.ts";
import { LateBinding, type Waiting } from "../../src/routing/late-binding.ts";
import { EndpointLoad } from "../../src/routing/load.ts";
import { createPolicy } from "../../src/routing/policies.ts";
import { isWait, type Candidate } from "../../src/routing/policy.ts";
import { request, seeded } from "./support.ts";

const engines = 8;
const sharedTokens = 2000;
const ownTokens = 500;
const answerTokens = 48;
/** Tokens of a block of the index. */
const blockTokens = 50;
/** What eight engines of this model carry of such requests: measured by raising the rate until the queues grew. */
const fullPerSecond = 120;

interface Outcome {
  readonly hitRate: number;
  readonly imbalance: number;
  readonly meanFirstTokenMs: number;
}

function play(share: number, seed: number, requests: number): Outcome {
  const preset = findPreset("llama-3.3-70b-4xh100");
  assert.ok(preset !== undefined);
  const random = seeded(seed);
  const clock = new ManualClock();
  const index = new ApproximateIndex();
  const fleet = Array.from({ length: engines }, (_, i) => {
    const load = new EndpointLoad();
    return { id: `e${i}`, weight: 1, load, core: new EngineCore({ clock, preset, seed: i }), uncached: 0 };
  });
  const choose = createPolicy("prefixaware", { cache: index });
  const queue = new LateBinding<Waiting & { go: (at: number, cachedTokens: number) => void }>(choose, random);
  let cached = 0;
  let firstTokens = 0;
  const pump = (): void => {
    for (let next = queue.next(clock.nowMs()); next !== null; next = queue.next(clock.nowMs())) {
      next.waiting.go(fleet.indexOf(next.candidates[next.choice.index] as never), next.choice.cachedTokens);
    }
  };
  const arrive = (i: number): void => {
    const length = sharedTokens + ownTokens;
    const ids = Array.from({ length: length / blockTokens }, (_, k) =>
      k * blockTokens < sharedTokens ? k : (i + 1) * 1000 + k,
    );
    const prompt = promptOfBlockIds(ids, blockTokens, length);
    const promptTokens = Array.from({ length }, (_, k) => (k < sharedTokens ? k : 100_000 + i * ownTokens + k));
    const view = request({
      prompt,
      promptTokens: length,
      maxTokens: answerTokens,
      mayWait: true,
      nowMs: clock.nowMs(),
    });
    const arrivedMs = clock.nowMs();
    const go = (at: number, cachedTokens: number): void => {
      const member = fleet[at];
      assert.ok(member !== undefined);
      const ticket = member.load.send(length, length - cachedTokens, answerTokens, clock.nowMs());
      index.sent(member.id, prompt);
      const submit = { id: `r${i}`, promptTokens, maxTokens: answerTokens };
      member.core.submit(submit, {
        onToken(_token, place) {
          if (place > 0) return;
          ticket.firstToken(clock.nowMs(), true);
          firstTokens += clock.nowMs() - arrivedMs;
          pump();
        },
        onFinish(result) {
          cached += result.cachedTokens;
          member.uncached += result.promptTokens - result.cachedTokens;
          ticket.release(clock.nowMs(), result.generatedTokens);
          pump();
        },
      });
    };
    const decision = choose(view, fleet, random);
    if (isWait(decision)) {
      const candidates: readonly Candidate[] = fleet;
      queue.add({ view, candidates: () => candidates, go }, length - decision.cachedTokens, fleet, clock.nowMs());
    } else go(decision.index, decision.cachedTokens);
  };
  for (let i = 0; i < requests; i++) {
    // Poisson arrivals
    clock.advance((-Math.log(1 - random()) * 1000) / (fullPerSecond * share));
    arrive(i);
  }
  while (fleet.some(({ load }) => load.queued + load.running > 0) || queue.length > 0) {
    clock.advance(50);
    pump();
  }
  const work = fleet.map(({ uncached }) => uncached);
  const mean = work.reduce((sum, tokens) => sum + tokens, 0) / engines;
  return {
    hitRate: cached / (requests * (sharedTokens + ownTokens)),
    imbalance: Math.max(...work) / mean,
    meanFirstTokenMs: firstTokens / requests,
  };
}

/** Each engine computes the shared part once. */
const idealOf = (requests: number): number =>
  (sharedTokens * (requests - engines)) / (requests * (sharedTokens + ownTokens));

test("a prefix that all requests share spreads whatever the load and the chance of arrivals", () => {
  const requests = 400;
  fc.assert(
    fc.property(fc.double({ min: 0.1, max: 0.9, noNaN: true }), fc.nat(2 ** 31), (share, seed) => {
      const { hitRate, imbalance } = play(share, seed, requests);
      assert.ok(imbalance <= 1.25, `max/mean of work ${imbalance}`);
      assert.ok(hitRate >= idealOf(requests) - 0.05, `hit rate ${hitRate} of ${idealOf(requests)}`);
    }),
    { numRuns: 5 },
  );
});

for (const share of [0.1, 0.3, 0.5, 0.7, 0.9]) {
  test(`a prefix that all requests share spreads over eight engines at ${share * 100} % of their load`, (t) => {
    const requests = 600;
    const ideal = idealOf(requests);
    const { hitRate, imbalance, meanFirstTokenMs } = play(share, 7, requests);
    t.diagnostic(
      `hit rate ${hitRate.toFixed(3)} of ${ideal.toFixed(3)}, max/mean ${imbalance.toFixed(2)}, first token ${meanFirstTokenMs.toFixed(0)} ms`,
    );
    assert.ok(imbalance <= 1.25, `max/mean of work ${imbalance}`);
    assert.ok(hitRate >= ideal - 0.05, `hit rate ${hitRate} of ${ideal}`);
  });
}
