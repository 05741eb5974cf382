// What a server does with streams that come at once: measured or simulated, then compared. Step times are fitted to one
// measurement and held to another. Pure: the simulation is the engine core in virtual time.
import { ManualClock } from "../../../src/clock.ts";
import { EngineCore, type EngineCoreOptions, type Preset } from "../../../src/engine/core/index.ts";

/** Streams that are sent at the same moment, each with a prompt of its own. */
export interface Burst {
  readonly streams: number;
  readonly promptTokens: number;
  readonly maxTokens: number;
}

export interface Timing {
  readonly burst: Burst;
  /** From the sending of all to the first token, one value a stream, milliseconds. */
  readonly ttftMs: readonly number[];
  /** Between the tokens of a stream, all streams together, milliseconds. */
  readonly gapsMs: readonly number[];
  /** Streams in the order of their first tokens, by the order of sending. */
  readonly order: readonly number[];
  /** The most that ran at a time, and the most that waited while so many ran. */
  readonly running: number;
  readonly waiting: number;
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN;
}

export type SimulationOptions = Omit<EngineCoreOptions, "clock" | "preset">;

/** The same burst in the engine's core, in virtual time. */
export function simulate(preset: Preset, burst: Burst, options: SimulationOptions = {}): Timing {
  const clock = new ManualClock();
  const core = new EngineCore({ blockSize: 32, ...options, clock, preset });
  const ttftMs: number[] = [];
  const gapsMs: number[] = [];
  const order: number[] = [];
  let left = burst.streams;
  for (let sent = 0; sent < burst.streams; sent++) {
    const promptTokens = Array.from({ length: burst.promptTokens }, (_, at) => sent * 10_000 + at);
    let lastMs = 0;
    core.submit(
      { id: String(sent), promptTokens, maxTokens: burst.maxTokens },
      {
        onToken: (_token, index) => {
          const nowMs = clock.nowMs();
          if (index === 0) {
            ttftMs.push(nowMs);
            order.push(sent);
          } else gapsMs.push(nowMs - lastMs);
          lastMs = nowMs;
        },
        onFinish: () => void left--,
      },
    );
  }
  let running = 0;
  let waiting = 0;
  while (left > 0) {
    clock.advance(0.5);
    if (core.running < running) continue;
    waiting = core.running > running ? core.waiting : Math.max(waiting, core.waiting);
    running = core.running;
  }
  return { burst, ttftMs, gapsMs, order, running, waiting };
}

/**
 * Where the fit looks: the middle counts most; of first tokens, which come in the few steps that prompts share, what is beside
 * it keeps the fit from hanging on the end of one.
 */
const looks = [
  ["gapsMs", 0.5, 2],
  ["ttftMs", 0.25, 0.5],
  ["ttftMs", 0.5, 1],
  ["ttftMs", 0.75, 0.5],
] as const;

/**
 * A preset whose simulation comes as near to the measurements as it can: the step that only prefills, the cost of a prompt's
 * token and of a request, and the step for each number of streams. First the best of a coarse grid, since the steps in which
 * prompts come together jump; then one coordinate after the other, by factors that get smaller.
 * @param measured bursts of a server without a limit of sequences that matters
 * @param options what the server was started with
 */
export function fit(measured: readonly Timing[], kvBlocks: number, options: SimulationOptions = {}): Preset {
  const batches = [...new Set(measured.map(({ burst }) => burst.streams))].toSorted((a, b) => a - b);
  const stepOf = (streams: number): number => {
    const gaps = measured.filter(({ burst }) => burst.streams === streams).flatMap(({ gapsMs }) => gapsMs);
    return quantile(gaps, 0.5) * 1000;
  };
  const steps = batches.map(stepOf);
  const presetOf = ([b0Us = 0, b1Us = 0, requestUs = 0, ...decodes]: readonly number[]): Preset => ({
    id: "fitted",
    b0Us,
    b1Us,
    b2Us: 0,
    b3Us: 0,
    requestUs,
    kvBlocks,
    decodeStepUs: batches.map((streams, at) => [streams, decodes[at] ?? 0]),
  });
  const cost = (values: readonly number[]): number => {
    const preset = presetOf(values);
    let sum = 0;
    for (const one of measured) {
      const made = simulate(preset, one.burst, options);
      for (const [name, part, weight] of looks)
        sum += weight * Math.log(quantile(made[name], part) / quantile(one[name], part)) ** 2;
    }
    return sum;
  };
  let best: number[] = [];
  let bestCost = Infinity;
  const take = (values: number[]): void => {
    const its = cost(values);
    if (its < bestCost) [best, bestCost] = [values, its];
  };
  for (const b0 of [0.25, 0.5, 1, 1.5, 2.5])
    for (const b1Us of [2, 5, 10, 20, 40, 80, 160, 320])
      for (const requestUs of [200, 500, 1000, 2000, 5000]) take([b0 * (steps[0] ?? 0), b1Us, requestUs, ...steps]);
  for (let factor = 1.5; factor > 1.02; factor = Math.sqrt(factor))
    for (let at = 0; at < best.length; at++)
      for (const by of [factor, 1 / factor]) take(best.with(at, (best[at] ?? 0) * by));
  return presetOf(best);
}
