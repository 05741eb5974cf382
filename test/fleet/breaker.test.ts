// Row E2 without sockets: the breaker's states under a driven clock.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Breaker, breakerDefaults } from "../../src/fleet/breaker.ts";

const { consecutiveFailures, ejectMs, maxEjectMs, slowStartMs, probeMs, minRequests, windowMs } = breakerDefaults;

function ejected(nowMs = 0): Breaker {
  const breaker = new Breaker();
  for (let i = 0; i < consecutiveFailures; i++) breaker.failure(nowMs);
  return breaker;
}

test("E2: failures in a row eject, one success in between starts the count anew", () => {
  const breaker = new Breaker();
  for (let i = 0; i < consecutiveFailures - 1; i++) breaker.failure(0);
  breaker.success(0);
  for (let i = 0; i < consecutiveFailures - 1; i++) breaker.failure(0);
  assert.equal(breaker.state(0), "ready");
  breaker.failure(0);
  assert.equal(breaker.state(0), "ejected");
  assert.equal(breaker.admits(0), false);
  assert.equal(breaker.ejected, 1);
});

test("E2: a failure rate over the window ejects, from a least number of requests on", () => {
  const breaker = new Breaker();
  for (let i = 0; i < minRequests / 2 - 1; i++) {
    breaker.failure(0);
    breaker.success(0);
  }
  assert.equal(breaker.state(0), "ready");
  breaker.success(0);
  breaker.failure(0);
  assert.equal(breaker.state(0), "ejected");
});

test("E2: failures of an old window are forgotten", () => {
  const breaker = new Breaker();
  for (let i = 0; i < minRequests / 2 - 1; i++) {
    breaker.failure(0);
    breaker.success(0);
  }
  breaker.success(windowMs);
  breaker.failure(windowMs);
  assert.equal(breaker.state(windowMs), "ready");
});

test("E2: exactly one probe decides about the return", () => {
  const breaker = ejected();
  assert.equal(breaker.admits(ejectMs - 1), false);
  assert.equal(breaker.admits(ejectMs), true);
  breaker.picked(ejectMs);
  for (let t = ejectMs; t < ejectMs + probeMs; t += 100)
    assert.equal(breaker.admits(t), false, `a second probe at ${t}`);
  breaker.success(ejectMs + 50);
  assert.equal(breaker.state(ejectMs + 50), "slow_start");
  assert.equal(breaker.admits(ejectMs + 50), true);
});

test("E2: a probe that fails ejects again, for twice as long, up to a bound", () => {
  const breaker = ejected();
  let now = 0;
  for (const ms of [ejectMs, ejectMs * 2, ejectMs * 4, maxEjectMs, maxEjectMs]) {
    const expected = Math.min(ms, maxEjectMs);
    assert.equal(breaker.admits(now + expected - 1), false, `ejected for ${expected}`);
    now += expected;
    assert.equal(breaker.admits(now), true, `ejected for no more than ${expected}`);
    breaker.picked(now);
    breaker.failure(now);
    assert.equal(breaker.state(now), "ejected");
  }
});

test("E2: a probe whose client left is given to the next request, one that never ends to another after a while", () => {
  const breaker = ejected();
  breaker.picked(ejectMs);
  assert.equal(breaker.admits(ejectMs), false);
  breaker.inconclusive();
  assert.equal(breaker.admits(ejectMs), true);
  breaker.picked(ejectMs);
  assert.equal(breaker.admits(ejectMs + probeMs), false);
  assert.equal(breaker.admits(ejectMs + probeMs + 1), true);
});

test("E2: after its return traffic grows from a tenth to all, then the ejections are forgiven", () => {
  const breaker = ejected();
  breaker.picked(ejectMs);
  breaker.success(ejectMs);
  assert.equal(breaker.weight(ejectMs), 0.1);
  assert.equal(breaker.weight(ejectMs + slowStartMs / 2), 0.5);
  assert.equal(breaker.weight(ejectMs + slowStartMs), 1);
  assert.equal(breaker.state(ejectMs + slowStartMs), "ready");
  const again = ejectMs + slowStartMs;
  for (let i = 0; i < consecutiveFailures; i++) breaker.failure(again);
  assert.equal(breaker.admits(again + ejectMs), true, "the first ejection's time again");
});

test("E2: while active checks fail nothing is sent; the first good one allows the probe at once", () => {
  const breaker = new Breaker();
  breaker.checkFailed(0);
  assert.equal(breaker.state(0), "ejected");
  assert.equal(breaker.admits(3_600_000), false);
  breaker.checkPassed(3_600_000);
  assert.equal(breaker.admits(3_600_000), true);
  assert.equal(breaker.state(3_600_000), "probing");
});

test("E2: a check that passes does not shorten an ejection by failed requests", () => {
  const breaker = ejected();
  breaker.checkPassed(1);
  assert.equal(breaker.admits(1), false);
  assert.equal(breaker.admits(ejectMs), true);
});

test("E2: whatever happened, an endpoint that recovers is admitted again, and its weight is a share", () => {
  const step = fc.record({
    what: fc.constantFrom("success", "failure", "inconclusive", "checkPassed", "checkFailed", "picked"),
    afterMs: fc.nat(4000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const breaker = new Breaker();
      let now = 0;
      for (const { what, afterMs } of steps) {
        now += afterMs;
        if (what === "inconclusive") breaker.inconclusive();
        else if (what === "picked") {
          if (breaker.admits(now)) breaker.picked(now);
        } else breaker[what as "success"](now);
        const weight = breaker.weight(now);
        assert.ok(weight >= 0.1 && weight <= 1);
      }
      breaker.checkPassed(now);
      now += maxEjectMs + probeMs + 1;
      assert.equal(breaker.admits(now), true);
      breaker.picked(now);
      breaker.success(now);
      assert.equal(breaker.admits(now), true);
      assert.notEqual(breaker.state(now), "ejected");
    }),
  );
});

test("E2: while a probe runs, the end of an older request decides nothing", () => {
  const breaker = ejected();
  assert.equal(breaker.picked(ejectMs), true);
  breaker.success(ejectMs + 10, false);
  assert.equal(breaker.state(ejectMs + 10), "probing");
  breaker.failure(ejectMs + 20, false);
  assert.equal(breaker.state(ejectMs + 20), "probing");
  breaker.success(ejectMs + 30, true);
  assert.equal(breaker.state(ejectMs + 30), "slow_start");
});
