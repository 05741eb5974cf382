// The arithmetic behind the benchmark's verdicts, held to worked examples.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBusyUs } from "./cpu.ts";
import { runRounds } from "./rounds.ts";
import { blockBootstrap, median, medianInterval, percentile } from "./stats.ts";

test("with five samples the interval is their whole range and says its coverage", () => {
  assert.deepEqual(medianInterval([3, 1, 2, 5, 4]), { low: 1, high: 5, coverage: 0.9375 });
});

test("with ten samples the interval leaves out one on each side", () => {
  const { low, high, coverage } = medianInterval([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual([low, high], [2, 9]);
  assert.ok(Math.abs(coverage - 0.978515625) < 1e-9, "the tabled coverage of the 2nd and 9th of ten");
});

test("median and percentile of few samples", () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(percentile([1, 2, 3, 4], 0.99), 4);
  assert.ok(Number.isNaN(median([])));
});

test("a bootstrap is the same in every run and lies within the data", () => {
  const blocks = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const once = blockBootstrap(blocks, median);
  assert.deepEqual(once, blockBootstrap(blocks, median));
  assert.ok(once.low >= 1 && once.low <= 5 && once.high >= 5 && once.high <= 9);
});

test("busy time leaves out idle and waiting for disks, and takes in stolen time", () => {
  assert.equal(parseBusyUs("cpu  10 1 5 1000 50 2 3 4 0 0\ncpu0 1 1 1 1\n"), 25 * 10_000);
});

test("a disturbed window is repeated at once, a failed one is reported, and repeats are bounded", async () => {
  const order: string[] = [];
  const foreign = [0, 0.9, 0, 0, 0];
  const { rounds, thrownAway, failures } = await runRounds({
    count: 2,
    keys: ["ours", "nginx"],
    foreignLimit: 0.2,
    measure: (key) => {
      order.push(key);
      const failure = order.length === 4 ? { failure: "reset" } : {};
      return Promise.resolve({ foreignCores: foreign.shift() ?? 0, ...failure });
    },
    onWindow: () => {},
    untilQuiet: () => Promise.resolve(),
    outOfTime: () => false,
  });
  assert.deepEqual(order, ["ours", "nginx", "nginx", "ours", "ours", "nginx"]);
  assert.equal(
    rounds.every((round) => round.size === 2),
    true,
  );
  assert.equal(thrownAway, 1);
  assert.deepEqual(failures, ["ours: reset"]);

  let measured = 0;
  const busy = await runRounds({
    count: 2,
    keys: ["ours"],
    foreignLimit: 0.2,
    measure: () => Promise.resolve({ foreignCores: 1, window: measured++ }),
    onWindow: () => {},
    untilQuiet: () => Promise.resolve(),
    outOfTime: () => false,
  });
  assert.equal(measured, 6, "two windows and two repeats for each");
  assert.equal(busy.thrownAway, 6);
});
