// Garbage of a router with little traffic is collected between its requests, and no more often than it pays.
import assert from "node:assert/strict";
import { test } from "node:test";
import v8 from "node:v8";
import { ManualClock } from "../../src/clock.ts";
import { collectWhenQuiet } from "../../src/commands/quiet-collection.ts";

const kB = 1024;

/** What is left after each collection. */
const livingBytes = 20_000 * kB;

function quietRouter(used = livingBytes) {
  const heap = {
    used,
    collections: 0,
    usedBytes(): number {
      return this.used;
    },
    collect(): void {
      this.collections++;
      this.used = livingBytes;
    },
  };
  const clock = new ManualClock();
  return { heap, clock, quiet: collectWhenQuiet(clock, heap) };
}

test("it is collected once there is enough of it, in one of the next quiet moments", () => {
  const { heap, clock, quiet } = quietRouter();
  // 50 requests a second of 8 kB each: V8 would have begun by itself after 100 of them
  for (let request = 0; request < 1_000; request++) {
    clock.advance(20);
    heap.used += 8 * kB;
    quiet();
    assert.ok(heap.used < livingBytes + 800 * kB, `request ${request}`);
  }
  assert.ok(heap.collections >= 10 && heap.collections <= 16, String(heap.collections));
});

test("what V8 has collected by itself is not counted as still there", () => {
  const { heap, quiet } = quietRouter(40_000 * kB);
  heap.used = livingBytes;
  for (let i = 0; i < 8; i++) quiet();
  heap.used += 600 * kB;
  for (let i = 0; i < 8; i++) quiet();
  assert.equal(heap.collections, 1);
});

test("much traffic with quiet moments in it costs four collections a second", () => {
  const { heap, clock, quiet } = quietRouter();
  for (let ms = 0; ms < 2_000; ms++) {
    clock.advance(1);
    for (let i = 0; i < 8; i++) {
      heap.used += 100 * kB;
      quiet();
    }
  }
  assert.ok(heap.collections >= 6 && heap.collections <= 8, String(heap.collections));
});

test("V8 takes the young garbage away when it is asked to", () => {
  const clock = new ManualClock();
  const quiet = collectWhenQuiet(clock);
  const used = (): number => v8.getHeapStatistics().used_heap_size;
  let most = 0;
  // more than once, for V8 may begin by itself before we ask
  for (let round = 0; round < 20; round++) {
    clock.advance(1_000);
    for (let i = 0; i < 1_500; i++) Array.from({ length: 64 }, () => i);
    const before = used();
    for (let i = 0; i < 8; i++) quiet();
    most = Math.max(most, before - used());
  }
  assert.ok(most > 400 * kB, `at most ${most} bytes were taken away`);
});
