// Quantiles by counting are those of sorting, to a hundredth of a millisecond.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GapCounter, mean, quantile } from "../../src/bench/statistics.ts";

test("quantiles are values of the list, and the mean is the mean", () => {
  const sorted = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  assert.equal(quantile(sorted, 0.5), 5);
  assert.equal(quantile(sorted, 0.9), 9);
  assert.equal(quantile(sorted, 0.99), 10);
  assert.equal(mean(sorted), 5.5);
  assert.ok(Number.isNaN(quantile([], 0.5)) && Number.isNaN(mean([])));
});

test("counted gaps have the quantiles of sorted ones, long ones too", () => {
  const gap = fc.double({ min: 0, max: 10_000, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(gap, { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (gaps, q) => {
        const counter = new GapCounter();
        for (const ms of gaps) counter.add(ms);
        const exact = quantile(
          gaps.toSorted((a, b) => a - b),
          q,
        );
        assert.ok(Math.abs(counter.quantile(q) - exact) <= 0.0051, `${counter.quantile(q)} ${exact}`);
      },
    ),
  );
});
