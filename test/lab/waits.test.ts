// What is said of waits beside those in order of arrival.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compareWaits } from "../../src/lab/waits.ts";

test("the worst is the request that waits most times as long, and more than three times is unfair", () => {
  const found = compareWaits([4000, 20_000, 7000], [8000, 5000, 3000]);
  assert.deepEqual(found, {
    meanS: 10.333,
    maxS: 20,
    inOrderMeanS: 5.333,
    inOrderMaxS: 8,
    worstRatio: 4,
    unfair: 1,
    mostBeyondS: 5,
  });
});

test("a wait in order of arrival counts as a second at least", () => {
  const { worstRatio, unfair, mostBeyondS } = compareWaits([900, 2500, 3500], [0, 10, 0]);
  assert.equal(worstRatio, 3.5);
  assert.equal(unfair, 1);
  assert.equal(mostBeyondS, 3.5, "which is for whoever wants another grace");
});
