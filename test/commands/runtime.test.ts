// The young generation of a router: it grows to its limit and no further, also after V8 has made it small.
import assert from "node:assert/strict";
import { test } from "node:test";
import v8 from "node:v8";
import vm from "node:vm";
import { ManualClock } from "../../src/clock.ts";
import { tuneForRelay } from "../../src/commands/runtime.ts";

const limitBytes = 16 * 1024 * 1024;

function youngBytes(): number {
  return v8.getHeapSpaceStatistics().find((space) => space.space_name === "new_space")?.space_size ?? 0;
}

/** Garbage of which enough survives for V8 to want more room. */
function litter(megabytes: number, clock: ManualClock): void {
  const kept: number[][] = [];
  for (let i = 0; i < megabytes; i++) {
    for (let k = 0; k < 1024; k++) kept[(i * 1024 + k) % 4096] = Array.from({ length: 128 }, () => k);
    clock.advance(50);
  }
}

test("what V8 has made small in a quiet hour grows again with the next load, to the limit and no further", () => {
  // Growth was ended for good once the limit was reached. After the next quiet moment the router stayed with a megabyte of it,
  // collected eight times as often, and its slowest hundredth took 10 ms instead of 3.
  v8.setFlagsFromString("--expose-gc");
  const collect = vm.runInNewContext("gc") as (how: { type: "major"; flavor: "last-resort" }) => void;
  const clock = new ManualClock();
  tuneForRelay(clock);
  for (let round = 0; round < 2; round++) {
    for (let tries = 0; tries < 20 && youngBytes() < limitBytes; tries++) litter(20, clock);
    assert.ok(youngBytes() >= limitBytes, `round ${round}: ${youngBytes()} bytes under load`);
    // what took it to the limit may have been seen by V8 before the limit was seen here
    clock.advance(1_000);
    const before = youngBytes();
    litter(60, clock);
    assert.equal(youngBytes(), before);
    assert.ok(before <= 2 * limitBytes, `round ${round}: ${before} bytes under load`);
    collect({ type: "major", flavor: "last-resort" });
    assert.ok(youngBytes() < limitBytes, `round ${round}: ${youngBytes()} bytes when quiet`);
    clock.advance(1_000);
  }
});
