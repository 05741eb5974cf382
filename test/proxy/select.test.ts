// Which endpoints a policy gets to see at all, over random fleets: never one that is not ready, sleeps, leaves or was tried; one
// that was taken out only where more than half are; and somebody whenever there is anybody.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { systemClock } from "../../src/clock.ts";
import { Endpoint } from "../../src/fleet/endpoint.ts";
import type { EnginePool } from "../../src/http/engine-pool.ts";
import { Sweeper } from "../../src/http/sweeper.ts";
import type { RouterContext } from "../../src/proxy/context.ts";
import { usableEndpoints } from "../../src/proxy/select.ts";
import { seeded } from "../routing/support.ts";

const nowMs = 1_000_000;
const often = { weight: 4, arbitrary: fc.constant(false) };
const rarely = fc.oneof(often, { weight: 1, arbitrary: fc.constant(true) });
const facts = fc.record({
  starting: rarely,
  sleeping: rarely,
  leaving: rarely,
  out: fc.boolean(),
  back: rarely,
  busy: fc.boolean(),
  tried: rarely,
});

function made(of: typeof facts extends fc.Arbitrary<infer Facts> ? Facts : never, i: number): Endpoint {
  const spec = { url: `http://10.0.0.${i + 1}:8000`, models: ["m"], label: null, modelType: null };
  const sweeper = new Sweeper<EnginePool>(systemClock, 500);
  const endpoint = new Endpoint(spec, null, systemClock, sweeper, 4000, () => undefined);
  if (!of.starting) endpoint.becameReady(0);
  endpoint.sleeping = of.sleeping;
  if (of.leaving) endpoint.leave();
  if (of.out || of.back) endpoint.breaker.checkFailed(nowMs - 1000);
  if (of.back && !of.out) {
    // it was probed with success, and has its slow start before it
    endpoint.breaker.checkPassed(nowMs - 500);
    endpoint.breaker.picked(nowMs - 400);
    endpoint.breaker.success(nowMs - 300);
  }
  if (of.busy) endpoint.busyUntilMs = nowMs + 500;
  return endpoint;
}

test("a policy sees those that may be used and no others, and somebody whenever somebody may be", () => {
  fc.assert(
    fc.property(fc.array(facts, { maxLength: 10 }), fc.integer(), (list, seed) => {
      const serving = list.map(made);
      const tried = serving.filter((_, i) => list[i]?.tried);
      let told = false;
      const panics = { began: () => (told = true), over: () => (told = false) };
      const ctx = { registry: { serving: () => serving }, panics, random: seeded(seed) } as unknown as RouterContext;
      const usable = usableEndpoints(ctx, "m", tried, nowMs);
      const awake = serving.filter(({ known, sleeping }) => known && !sleeping);
      const out = awake.filter((endpoint) => endpoint.state(nowMs) === "ejected");
      const panic = out.length * 2 > awake.length;
      assert.equal(told, panic);
      const candidates = awake.filter((endpoint) => !tried.includes(endpoint) && (panic || !out.includes(endpoint)));
      for (const endpoint of usable) {
        assert.ok(candidates.includes(endpoint), `${endpoint.id} ${endpoint.state(nowMs)}`);
        assert.ok(endpoint.weight > 0 && endpoint.weight <= 1);
      }
      assert.equal(new Set(usable).size, usable.length);
      assert.equal(usable.length > 0, candidates.length > 0);
      const calm = candidates.filter(({ busyUntilMs }) => busyUntilMs <= nowMs);
      if (calm.length > 0)
        assert.ok(
          usable.every((endpoint) => calm.includes(endpoint)),
          "one that is busy, beside calm ones",
        );
    }),
    { numRuns: 2000 },
  );
});
