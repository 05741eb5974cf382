// One timer for many: it is not made anew for each member that comes alone, and there is none when nobody has come for a while.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { Sweeper, type Sweepable } from "../../src/http/sweeper.ts";

/** Counts the timers that are set. */
class CountingClock extends ManualClock {
  made = 0;

  override setTimer(delayMs: number, fn: () => void): { cancel(): void } {
    this.made++;
    return super.setTimer(delayMs, fn);
  }
}

function member(seen: number[] = []): Sweepable {
  return { sweepSlot: -1, onSweep: (nowMs) => void seen.push(nowMs) };
}

test("members that come and go between two sweeps make no timer of their own", () => {
  const clock = new CountingClock();
  const sweeper = new Sweeper(clock, 100);
  for (let i = 0; i < 50; i++) {
    const one = member();
    sweeper.add(one);
    sweeper.delete(one);
    clock.advance(20);
  }
  assert.equal(clock.made, 11, "one at the start, one for each sweep of a second");
});

test("the last sweep is two seconds behind the last member, and who comes later is swept all the same", () => {
  const clock = new CountingClock();
  const sweeper = new Sweeper(clock, 100);
  const seen: number[] = [];
  const one = member(seen);
  sweeper.add(one);
  clock.advance(250);
  sweeper.delete(one);
  clock.advance(1_900);
  assert.equal(clock.pending, 1);
  clock.advance(200);
  assert.equal(clock.pending, 0);
  sweeper.add(one);
  clock.advance(100);
  assert.deepEqual(seen, [100, 200, 2_450]);
});

test("a sweeper that is stopped ends with its last member", () => {
  const clock = new CountingClock();
  const sweeper = new Sweeper(clock, 100);
  const seen: number[] = [];
  const one = member(seen);
  sweeper.add(one);
  sweeper.stop();
  clock.advance(150);
  assert.deepEqual([seen, clock.pending], [[100], 1]);
  sweeper.delete(one);
  clock.advance(100);
  assert.equal(clock.pending, 0);
  const idle = new Sweeper(clock, 100);
  idle.add(one);
  idle.delete(one);
  idle.stop();
  assert.equal(clock.pending, 0);
});
