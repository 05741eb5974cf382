// Collects the garbage of a router with little traffic between two requests ("out-of-band", as servers of Ruby do). V8 does it
// when the young generation is full, which is nearly always in the middle of a request, and most often while the engine's answer
// comes in: one request in a hundred waited for it, and was the slowest hundredth.
import v8 from "node:v8";
import vm from "node:vm";
import type { Clock } from "../clock.ts";

/** Well before V8 begins by itself: at 0.8 MB, where it has made the young generation small. */
const worthBytes = 512 * 1024;
/** Where more happens, V8's own collections are a small part of it, and the young generation is larger. */
const leastMs = 250;
/** So many quiet moments are let pass without a look: it costs some microseconds. */
const looksAfter = 8;

/** What is asked of the heap. */
export interface YoungHeap {
  /** All that is on the heap now, garbage included. */
  usedBytes(): number;
  /** Collects the young generation, which takes some 0.3 ms. */
  collect(): void;
}

/** @returns to be called whenever the last request under way has ended */
export function collectWhenQuiet(clock: Clock, heap: YoungHeap = v8Heap()): () => void {
  let moments = 0;
  let collectedMs = Number.NEGATIVE_INFINITY;
  // V8 goes on collecting by itself where it has to: what is used then falls without us
  let leastBytes = heap.usedBytes();
  return () => {
    if (++moments < looksAfter) return;
    moments = 0;
    const used = heap.usedBytes();
    leastBytes = Math.min(leastBytes, used);
    const nowMs = clock.nowMs();
    if (used - leastBytes < worthBytes || nowMs - collectedMs < leastMs) return;
    heap.collect();
    collectedMs = nowMs;
    leastBytes = heap.usedBytes();
  };
}

function v8Heap(): YoungHeap {
  // Node gives this function only to processes that were started with the flag; a new context gets it at any time
  v8.setFlagsFromString("--expose-gc");
  const gc = vm.runInNewContext("gc") as (how: { type: "minor" }) => void;
  v8.setFlagsFromString("--no-expose-gc");
  const how = { type: "minor" } as const;
  return { usedBytes: () => v8.getHeapStatistics().used_heap_size, collect: () => gc(how) };
}
