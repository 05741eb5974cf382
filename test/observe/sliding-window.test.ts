// What happened within the last so many seconds, against a list of all that happened.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SlidingWindow } from "../../src/observe/sliding-window.ts";

test("a steady rate is told as it is, at any moment", () => {
  const window = new SlidingWindow(60_000);
  for (let ms = 0; ms < 200_000; ms += 100) {
    window.add(ms, 2);
    if (ms < 70_000) continue;
    assert.ok(Math.abs(window.count(ms) - 600) <= 6, `${window.count(ms)} at ${ms}`);
    assert.ok(Math.abs((window.mean(ms) ?? 0) - 2) < 1e-9);
  }
});

test("what is older than the window is forgotten, also when nothing comes any more", () => {
  const window = new SlidingWindow(60_000);
  window.add(1_000, 5);
  assert.equal(window.count(1_000), 1);
  assert.equal(window.count(60_000), 1);
  assert.equal(window.count(66_000), 0);
  assert.equal(window.mean(66_000), null);
  assert.equal(window.sum(10_000_000), 0);
});

test("it counts what a list would, give or take what lies in the oldest slot", () => {
  const windowMs = 12_000;
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 4_000 }), { maxLength: 60 }), (gaps) => {
      const window = new SlidingWindow(windowMs);
      const times: number[] = [];
      let now = 0;
      for (const gap of gaps) {
        now += gap;
        window.add(now, 1);
        times.push(now);
        const surely = times.filter((at) => at > now - windowMs + 1_000).length;
        const perhaps = times.filter((at) => at > now - windowMs - 1_000).length;
        const count = window.count(now);
        assert.ok(count >= surely - 1e-9 && count <= perhaps + 1e-9, `${surely} <= ${count} <= ${perhaps}`);
      }
    }),
  );
});
