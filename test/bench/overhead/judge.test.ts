// The verdict on latency: the median of the windows' ratios, and beside it what all requests together say.
import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeLatency } from "./judge.ts";
import type { LatencyWindow } from "./windows.ts";

const names = ["direct", "nginx", "ours"] as const;

/** 600 requests to each in twelve seconds, all alike but for so many slow ones. */
function window(ms: readonly [number, number, number], slow: number): LatencyWindow {
  const msBySecond = ms.map((usual, i) =>
    Array.from({ length: 12 }, (_, second) =>
      Array.from({ length: 50 }, (__, k) => (i === 2 && second * 50 + k < slow ? 5 : usual)),
    ),
  );
  return { foreignCores: 0, msBySecond };
}

function judge(windows: readonly LatencyWindow[]): ReturnType<typeof judgeLatency> {
  const rounds = windows.map((one) => new Map([["all" as const, one]]));
  return judgeLatency([...names], { rounds, thrownAway: 0, failures: [] });
}

test("windows in which the machine was busy with itself do not decide, and are told all the same", () => {
  const calm = window([0.1, 0.3, 0.36], 0);
  const windows = [calm, window([0.1, 0.3, 0.36], 60), ...Array.from({ length: 7 }, () => calm)];
  const { judged, interval, met, values, remarks, rounds } = judge(windows);
  assert.ok(Math.abs(judged - 1.3) < 1e-9, String(judged));
  assert.ok(interval.high < 1.31 && met === true, String(interval.high));
  assert.deepEqual([values.nginx?.toFixed(2), values.ours?.toFixed(2), rounds], ["0.20", "0.26", 9]);
  assert.match(remarks.join("\n"), /ours, all windows together: added p50 0.260 \/ p90 0.260 \/ p99 4.900 ms/);
  assert.match(remarks.join("\n"), /ours \/ nginx 24.50, interval/);
});

test("a router that is slow in most windows is found out, and a run without windows says nothing", () => {
  const slow = window([0.1, 0.3, 0.36], 10);
  const { judged, met } = judge([slow, slow, slow, slow, slow, window([0.1, 0.3, 0.36], 0)]);
  assert.ok(judged > 20 && met === false, String(judged));
  const { judged: none, met: unknown } = judge([]);
  assert.deepEqual([Number.isNaN(none), unknown], [true, undefined]);
});
