// What is said of waits beside those in order of arrival, and that what they are compared with is the same run.
import assert from "node:assert/strict";
import { test } from "node:test";
import { generate } from "../../src/bench/workload/generators.ts";
import { atRate } from "../../src/bench/workload/workload.ts";
import { Random } from "../../src/engine/core/index.ts";
import { makeRouter } from "../../src/lab/policies.ts";
import { prepare } from "../../src/lab/run.ts";
import { simulate, type Traces } from "../../src/lab/simulation.ts";
import { compareWaits, longWaits } from "../../src/lab/waits.ts";
import { preset } from "./support.ts";

test("the worst is the request that waits most times as long, and more than three times is unfair", () => {
  const compared = [
    { waitMs: 4000, inOrderMs: 8000 },
    { waitMs: 20_000, inOrderMs: 5000 },
    { waitMs: 7000, inOrderMs: 3000 },
  ];
  assert.deepEqual(compareWaits([4000, 20_000, 7000, 500], [7000, 5000, 3000, 1000], compared), {
    meanS: 7.875,
    maxS: 20,
    inOrderMeanS: 4,
    inOrderMaxS: 7,
    long: 3,
    worstRatio: 4,
    unfair: 1,
  });
});

test("a wait in order of arrival counts as a second at least, so that none up to three can be unfair", () => {
  assert.deepEqual(longWaits([900, 3000, 3001, Number.NaN], [0, 0, 500, 0]), [2]);
  assert.deepEqual(longWaits([30_000, 30_001], [10_000, 10_000]), [1], "a long prompt takes what it takes");
  const { worstRatio, unfair } = compareWaits([3500], [0], [{ waitMs: 3500, inOrderMs: 0 }]);
  assert.equal(worstRatio, 3.5);
  assert.equal(unfair, 1);
  assert.equal(compareWaits([1], [1], []).worstRatio, 0);
});

const workload = atRate(generate("long-documents", { seed: 3, requests: 200 }), 1.6);
const prepared = prepare(workload);

function run(inOrderFromMs: number, until?: number): Traces {
  const fleet = { engines: 4, preset, seed: 1, maxNumSeqs: 256, maxNumBatchedTokens: 8192 };
  const options = { scrapeMs: 1000, othersShare: 0, inOrderFromMs };
  const hooks = until === undefined ? {} : { until };
  return simulate(
    workload,
    prepared.names,
    fleet,
    (lab) => makeRouter("prefixaware", lab, prepared.prompts, new Random(1), options),
    hooks,
  ).traces;
}

test("a run that is in order from one request on is the same until it comes, and ends with its first token", () => {
  const late = run(Number.POSITIVE_INFINITY);
  const at = 120;
  const arrivalMs = workload.requests[at]?.arrivalMs ?? 0;
  const then = run(arrivalMs, at);
  const before = [...late.sentMs.keys()].filter((request) => (late.sentMs[request] ?? 0) < arrivalMs);
  assert.ok(before.length > 50);
  for (const request of before) {
    assert.equal(then.sentMs[request], late.sentMs[request]);
    assert.equal(then.endpoint[request], late.endpoint[request]);
  }
  assert.ok((then.firstMs[at] ?? 0) > arrivalMs);
  assert.ok(Number.isNaN(then.sentMs.at(-1)), "nobody waits for the rest");
  assert.notDeepEqual(run(arrivalMs).sentMs, late.sentMs, "from there on it is another run");
});
