// The retry budget under a driven clock: 20 % of the requests of the last ten seconds, and a floor of 100.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RetryBudget } from "../../src/proxy/retry-budget.ts";

function taken(budget: RetryBudget, nowMs: number, wanted: number): number {
  let count = 0;
  for (let i = 0; i < wanted; i++) if (budget.take(nowMs)) count++;
  return count;
}

test("B1: without traffic 100 retries are allowed in ten seconds", () => {
  const budget = new RetryBudget();
  assert.equal(taken(budget, 0, 1000), 100);
  assert.equal(taken(budget, 9_000, 1000), 0);
  assert.equal(taken(budget, 10_000, 1000), 100);
});

test("B1: with traffic a fifth of it comes on top, and goes with its window", () => {
  const budget = new RetryBudget();
  for (let i = 0; i < 1000; i++) budget.request(i * 5);
  assert.equal(taken(budget, 5_000, 1000), 300);
  assert.equal(taken(budget, 60_000, 1000), 100);
});

test("B1: over any ten seconds retries stay within the floor and a fifth of the requests", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(400), fc.boolean()), { maxLength: 600 }), (steps) => {
      const budget = new RetryBudget();
      const requests: number[] = [];
      const retries: number[] = [];
      let now = 0;
      for (const [afterMs, retry] of steps) {
        now += afterMs;
        if (!retry) {
          budget.request(now);
          requests.push(now);
        } else if (budget.take(now)) {
          retries.push(now);
          // slots of a second: requests may be counted a slot less long than ten seconds, never longer
          const recent = (list: readonly number[], ms: number): number => list.filter((at) => now - at < ms).length;
          assert.ok(recent(retries, 9_000) <= 101 + 0.2 * recent(requests, 10_000));
        }
      }
    }),
  );
});
