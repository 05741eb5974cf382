// What late binding does to the one who is overtaken. A load that eight engines can just not carry, so that a line stands in
// the router, and the same requests once more in plain order of arrival: the same policy, with one place to look at.
import assert from "node:assert/strict";
import { test } from "node:test";
import { generate } from "../../src/bench/workload/generators.ts";
import { atRate } from "../../src/bench/workload/workload.ts";
import { Random } from "../../src/engine/core/index.ts";
import { policyRouter } from "../../src/lab/policy-router.ts";
import { prepare } from "../../src/lab/run.ts";
import { simulate } from "../../src/lab/simulation.ts";
import { defaultLateBinding } from "../../src/routing/late-binding.ts";
import { createPolicy } from "../../src/routing/policies.ts";
import { preset } from "./support.ts";

const engines = 4;
const workload = atRate(generate("long-documents", { seed: 3, requests: 250 }), 1.6);

/** Seconds from arrival to handover, of each request. */
function waits(window: number): number[] {
  const prepared = prepare(workload);
  const { traces } = simulate(
    workload,
    prepared.names,
    { engines, preset, seed: 1, maxNumSeqs: 256, maxNumBatchedTokens: 8192 },
    (lab) =>
      policyRouter(
        {
          make: (cache) => createPolicy("leastload", { cache }),
          view: "approximate",
          waits: true,
          scrapeMs: 1000,
          othersShare: 0,
          lateBinding: { ...defaultLateBinding, window, maxWaitMs: 0 },
        },
        lab,
        prepared.prompts,
        new Random(1),
      ),
  );
  return workload.requests.map(({ arrivalMs }, at) => ((traces.sentMs[at] ?? Number.NaN) - arrivalMs) / 1000);
}

test("nobody waits more than three times as long as in order of arrival, and most wait less", (t) => {
  const inOrder = waits(1);
  const late = waits(defaultLateBinding.window);
  const mean = (list: readonly number[]): number => list.reduce((sum, one) => sum + one, 0) / list.length;
  // the least patience that anyone has, and one that was let in just before: the longest prompt
  const perToken = preset.b1Us / 1e6;
  const longest = Math.max(...workload.requests.map(({ promptTokens }) => promptTokens));
  const grace = (defaultLateBinding.leastPatience + longest) * perToken;
  const worst = Math.max(...late.map((wait, at) => wait - 3 * (inOrder[at] ?? 0)));
  t.diagnostic(
    `waits: mean ${mean(late).toFixed(1)} s, at most ${Math.max(...late).toFixed(1)} s; in order of arrival ` +
      `${mean(inOrder).toFixed(1)} s, at most ${Math.max(...inOrder).toFixed(1)} s; beyond three times that: ${worst.toFixed(1)} s, grace ${grace.toFixed(1)} s`,
  );
  assert.ok(mean(inOrder) > 5, "there is a line at all");
  assert.ok(mean(late) < mean(inOrder));
  assert.ok(worst <= grace, `${worst} s`);
});
