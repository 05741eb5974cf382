// The lab and the bench tell the same story: one workload in virtual time, and in real time through the real router on
// simulated engines. Times of a machine that does something else as well mean nothing, so this stands in the full tier, which
// runs one file at a time.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { runLoad, type LoadResult } from "../../src/bench/load/run-load.ts";
import { generate } from "../../src/bench/workload/generators.ts";
import { atRate } from "../../src/bench/workload/workload.ts";
import { systemClock } from "../../src/clock.ts";
import { startEngine } from "../../src/engine/serve.ts";
import { startTestRouter } from "../helpers/router.ts";
import { preset, runAll } from "../lab/support.ts";

const requests = 40;
/** Four a second. */
const rate = 0.2;

/** A run in real time. @returns null when the machine was too busy for it to mean anything: the bench says so itself */
async function inRealTime(t: TestContext): Promise<LoadResult | null> {
  const engines = await Promise.all([1, 2].map(() => startEngine({ preset, models: ["m"], maxModelLen: 32_768 })));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  const backends = engines.map(({ url }) => url).join(",");
  const router = await startTestRouter(t, ["--static-backends", backends, "--routing-logic", "prefixaware"]);
  const { result } = await runLoad(
    atRate(generate("shared-prefixes", { seed: 1, requests }), rate),
    rate,
    {
      url: new URL(router.url),
      apiKey: null,
      model: "m",
      api: "chat",
      ignoreEos: true,
      warmup: 4,
      concurrency: null,
      timeoutMs: 60_000,
      maxLagMs: 100,
    },
    systemClock,
    () => undefined,
  );
  assert.equal(result.failed, 0);
  return result.discarded === null ? result : null;
}

test("a workload has the same hit rate and times in the lab and in real time, within 15 %", async (t) => {
  let real: LoadResult | null = null;
  for (let attempt = 0; real === null && attempt < 3; attempt++) real = await inRealTime(t);
  if (real === null) {
    t.skip("the machine was too busy to send at the right times");
    return;
  }
  const [lab] = runAll("shared-prefixes", requests, [{ policy: "prefixaware", rate, engines: 2 }]);
  assert.ok(lab !== undefined);
  t.diagnostic(`TTFT mean ${real.ttftMeanS} s in real time, ${lab.ttftMeanS} s in the lab`);
  for (const name of ["hitRate", "itlP50Ms", "e2eMeanS", "ttftP90S"] as const) {
    const ratio = real[name] / lab[name];
    assert.ok(Math.abs(ratio - 1) <= 0.15, `${name}: ${real[name]} in real time, ${lab[name]} in the lab`);
  }
});
