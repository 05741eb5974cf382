// When an engine is taken for one that hangs: silence of what it has to do, and counters that stand still. By the clock alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Progress } from "../../src/fleet/progress.ts";

const stallMs = 20_000;

/** Requests wait from `from` to `to` and nothing comes; counters are asked for as often as the watch asks. */
function silence(progress: Progress, from: number, to: number, look: (nowMs: number) => void): void {
  for (let now = from; now <= to; now += 500) {
    progress.expects(now);
    if (progress.isSilent(now)) look(now);
  }
}

test("C7: silence and counters that stand still are suspect after 3 s, and a stall after the limit", () => {
  const progress = new Progress();
  silence(progress, 0, 2_500, (now) => progress.counted(7, now));
  assert.equal(progress.judge(2_500, stallMs), "fine");
  silence(progress, 3_000, 19_500, (now) => progress.counted(7, now));
  assert.equal(progress.judge(19_500, stallMs), "suspect");
  silence(progress, 20_000, 20_000, (now) => progress.counted(7, now));
  assert.equal(progress.judge(20_000, stallMs), "stalled");
});

test("C7: silence alone is no sign, nor is the first look at the counters", () => {
  const progress = new Progress();
  silence(progress, 0, 30_000, () => undefined);
  assert.equal(progress.judge(30_000, stallMs), "fine");
  progress.counted(7, 30_000);
  assert.equal(progress.judge(30_000, stallMs), "fine");
});

test("C7: a byte, a counter that moves, and the end of all work begin anew", () => {
  for (const life of ["byte", "counter", "pause"] as const) {
    const progress = new Progress();
    silence(progress, 0, 10_000, (now) => progress.counted(7, now));
    assert.equal(progress.judge(10_000, stallMs), "suspect");
    let now = 10_000;
    if (life === "byte") progress.heard(now);
    else if (life === "counter") progress.counted(8, now);
    else now = 60_000;
    silence(progress, now, now + 2_000, (at) => progress.counted(9, at));
    assert.equal(progress.judge(now + 2_000, stallMs), "fine", life);
  }
});

test("C7: an engine where nobody listens any more, and one that still hangs, are given 3 s and no more", () => {
  const gone = new Progress();
  silence(gone, 0, 3_000, () => gone.unanswered(true));
  assert.equal(gone.judge(3_000, stallMs), "stalled");
  const mute = new Progress();
  silence(mute, 0, 3_000, () => mute.unanswered(false));
  assert.equal(mute.judge(3_000, stallMs), "suspect");
  const still = new Progress();
  still.stalled = true;
  silence(still, 0, 3_000, (now) => still.counted(7, now));
  assert.equal(still.judge(3_000, stallMs), "stalled");
  still.heard(3_100);
  silence(still, 3_500, 7_000, (now) => still.counted(8, now));
  assert.equal(still.judge(7_000, stallMs), "suspect");
});

test("C7: without counters streams that have begun are the sign, and answers that have not are none", () => {
  for (const run of [true, false]) {
    const progress = new Progress();
    silence(progress, 0, 20_000, () => progress.uncounted(run));
    assert.equal(progress.judge(20_000, stallMs), run ? "stalled" : "fine");
  }
});
