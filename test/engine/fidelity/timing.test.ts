import assert from "node:assert/strict";
import { test } from "node:test";
import type { Preset } from "../../../src/engine/core/index.ts";
import { fit, quantile, simulate } from "./timing.ts";

/**
 * A processor without AVX-512 takes 200 us for a token of a prompt. The fit once looked for 80 at most and made up for the rest
 * in what every step costs: a lone prompt was foretold at 104 ms where 75 were measured, and the full tier failed by luck.
 */
test("the steps of a slow processor are fitted, a lone prompt's too", () => {
  const slow: Preset = {
    id: "slow",
    b0Us: 12_000,
    b1Us: 220,
    b2Us: 0,
    b3Us: 0,
    requestUs: 2_000,
    kvBlocks: 2048,
    decodeStepUs: [
      [1, 20_000],
      [4, 58_000],
      [16, 205_000],
      [64, 760_000],
    ],
  };
  const bursts = [1, 4, 16, 64].map((streams) => ({ streams, promptTokens: 256, maxTokens: 32 }));
  const measured = bursts.map((burst) => simulate(slow, burst));
  const fitted = fit(measured, slow.kvBlocks);
  for (const { burst, ttftMs, gapsMs } of measured) {
    const made = simulate(fitted, burst);
    for (const [name, real, foretold] of [
      ["first token", ttftMs, made.ttftMs],
      ["between tokens", gapsMs, made.gapsMs],
    ] as const) {
      const off = quantile(foretold, 0.5) / quantile(real, 0.5) - 1;
      assert.ok(Math.abs(off) < 0.1, `${burst.streams} streams, ${name}: ${(100 * off).toFixed(0)} % off`);
    }
  }
});
