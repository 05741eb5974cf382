// Laws of the engine core, in virtual time: cache hits, budgets, blocks, preemption, step times. No HTTP here.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../../src/clock.ts";
import type { Clock } from "../../src/clock.ts";
import { EngineCore, findPreset, Random } from "../../src/engine/core/index.ts";
import type { EngineCoreOptions, Preset, SequenceResult } from "../../src/engine/core/index.ts";
import { stepMs } from "../../src/engine/core/presets.ts";

const fast: Preset = { id: "test", b0Us: 1000, b1Us: 1, b2Us: 10, b3Us: 0, kvBlocks: 64 };

function engineOf(options: Partial<EngineCoreOptions> = {}): { core: EngineCore; clock: ManualClock } {
  const clock = new ManualClock();
  return { core: new EngineCore({ clock, preset: fast, ...options }), clock };
}

/** Runs until nothing is in flight; fails rather than looping for ever. */
function drain(core: EngineCore, clock: ManualClock): void {
  for (let turn = 0; turn < 100_000; turn++) {
    const { running, waiting } = core.stats();
    if (running + waiting === 0) return;
    clock.advance(50);
  }
  assert.fail("the engine did not become idle");
}

/** Token of a sequence that depends on everything before it, so that equal prefixes go on equally. */
const nextOf = (seed: number): (() => number) => {
  const random = new Random(seed);
  return () => random.below(1000);
};

describe("prefix cache", () => {
  it("hits exactly the full blocks that an earlier sequence computed, and never the whole prompt", () => {
    const prompts = fc.array(fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 40 }), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(prompts, fc.constantFrom(1, 2, 4, 16), fc.integer({ min: 1, max: 9 }), (list, blockSize, length) => {
        const { core, clock } = engineOf({ blockSize, numGpuBlocks: 4000 });
        const known = new Set<string>();
        let hits = 0;
        list.forEach((promptTokens, at) => {
          const tokens = [...promptTokens];
          let ideal = 0;
          while (
            (ideal + 1) * blockSize < promptTokens.length &&
            known.has(tokens.slice(0, (ideal + 1) * blockSize).join())
          ) {
            ideal++;
          }
          let result: SequenceResult | undefined;
          const next = nextOf(at);
          core.submit(
            { id: String(at), promptTokens, maxTokens: length, nextToken: next },
            { onToken: (token) => void tokens.push(token), onFinish: (ended) => (result = ended) },
          );
          drain(core, clock);
          assert.equal(result?.cachedTokens, ideal * blockSize);
          hits += ideal * blockSize;
          // The last token was generated but never fed back, so its keys and values do not exist.
          const computed = tokens.length - 1;
          for (let end = blockSize; end <= computed; end += blockSize) known.add(tokens.slice(0, end).join());
        });
        assert.equal(core.stats().hitTokens, hits);
        assert.equal(core.stats().kvBlocksUsed, 0);
      }),
      { numRuns: 150 },
    );
  });

  it("shares no block between different salts or adapters", () => {
    const { core, clock } = engineOf();
    const promptTokens = Array.from({ length: 64 }, (_, at) => at);
    const hit: number[] = [];
    const salts = [null, "salt:a", "salt:b", "salt:a", null];
    salts.forEach((cacheKey, at) => {
      core.submit(
        { id: String(at), promptTokens, maxTokens: 1, cacheKey },
        { onFinish: (end) => void hit.push(end.cachedTokens) },
      );
      drain(core, clock);
    });
    assert.deepEqual(hit, [0, 0, 0, 48, 48]);
  });

  it("recomputes the last block of a prompt of exactly k blocks, as recorded", () => {
    const { core, clock } = engineOf({ blockSize: 32 });
    const hits: number[] = [];
    for (const length of [64, 64, 65]) {
      const promptTokens = Array.from({ length }, (_, at) => 500 + at);
      core.submit({ id: "x", promptTokens, maxTokens: 1 }, { onFinish: (end) => void hits.push(end.cachedTokens) });
      drain(core, clock);
    }
    assert.deepEqual(hits, [0, 32, 64]);
  });

  it("gives up the tail of the least recently used prompt first", () => {
    // 9 usable blocks of 4: A fills five, B four; C needs two and must take the tail of A.
    const { core, clock } = engineOf({ blockSize: 4, numGpuBlocks: 10 });
    const hits: Record<string, number> = {};
    const run = (id: string, from: number, length: number): void => {
      const promptTokens = Array.from({ length }, (_, at) => from + at);
      core.submit({ id, promptTokens, maxTokens: 1 }, { onFinish: (end) => void (hits[id] = end.cachedTokens) });
      drain(core, clock);
    };
    run("A", 0, 20);
    run("B", 100, 16);
    run("C", 200, 8);
    run("A again", 0, 20);
    assert.equal(hits["A again"], 12);
  });
});

describe("scheduler", () => {
  const request = fc.record({
    prompt: fc.integer({ min: 1, max: 60 }),
    tokens: fc.integer({ min: 1, max: 40 }),
    shared: fc.boolean(),
    delay: fc.integer({ min: 0, max: 8 }),
    abort: fc.option(fc.integer({ min: 0, max: 30 }), { nil: null }),
  });

  it("keeps its budgets, serves every request in full, and gives every block back", () => {
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 25 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 4, max: 40 }),
        fc.constantFrom("fcfs" as const, "priority" as const),
        (requests, maxNumSeqs, maxNumBatchedTokens, policy) => {
          const clock = new ManualClock();
          const core = new EngineCore({
            clock,
            preset: fast,
            blockSize: 4,
            numGpuBlocks: 28,
            maxNumSeqs,
            maxNumBatchedTokens,
            policy,
            observer: {
              step: (prefill, decode) => {
                assert.ok(prefill + decode <= maxNumBatchedTokens);
                const stats = core.stats();
                assert.ok(stats.running <= maxNumSeqs);
                assert.ok(stats.kvBlocksUsed <= stats.kvBlocksTotal);
              },
            },
          });
          const ended = new Map<string, SequenceResult>();
          requests.forEach((wanted, at) => {
            const id = String(at);
            const promptTokens = Array.from({ length: wanted.prompt }, (_, place) =>
              wanted.shared ? place : at * 100 + place,
            );
            core.submit(
              { id, promptTokens, maxTokens: wanted.tokens, priority: at % 3 },
              { onFinish: (result) => void ended.set(id, result) },
            );
            if (wanted.abort !== null) clock.setTimer(wanted.abort, () => core.abort(id));
            clock.advance(wanted.delay);
          });
          drain(core, clock);
          clock.advance(100);
          assert.equal(ended.size, requests.length);
          requests.forEach((wanted, at) => {
            const result = ended.get(String(at));
            if (result?.reason === "cancelled") return;
            assert.equal(result?.reason, "length");
            assert.equal(result.generatedTokens, wanted.tokens);
          });
          assert.equal(core.stats().kvBlocksUsed, 0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("preempts by recompute when blocks run out, and the tokens stay the same", () => {
    const run = (numGpuBlocks: number): { tokens: number[][]; preemptions: number } => {
      const { core, clock } = engineOf({ blockSize: 4, numGpuBlocks });
      const tokens: number[][] = [[], [], []];
      tokens.forEach((list, at) => {
        const promptTokens = Array.from({ length: 12 }, (_, place) => at * 50 + place);
        core.submit(
          { id: String(at), promptTokens, maxTokens: 30, nextToken: nextOf(at) },
          { onToken: (token) => void list.push(token) },
        );
      });
      drain(core, clock);
      return { tokens, preemptions: core.stats().preemptions };
    };
    const tight = run(20);
    const roomy = run(400);
    assert.ok(tight.preemptions > 0);
    assert.equal(roomy.preemptions, 0);
    assert.deepEqual(tight.tokens, roomy.tokens);
  });

  it("serves the more important request first under the priority policy", () => {
    const { core, clock } = engineOf({ maxNumSeqs: 1, policy: "priority" });
    const order: string[] = [];
    for (const [id, priority] of [
      ["first", 0],
      ["late", 0],
      ["urgent", -5],
    ] as const) {
      core.submit({ id, promptTokens: [1, 2, 3], maxTokens: 3, priority }, { onFinish: () => void order.push(id) });
      clock.advance(0.1);
    }
    drain(core, clock);
    assert.deepEqual(order, ["first", "urgent", "late"]);
  });

  it("cuts a long prompt into chunks and lets decodes go on between them", () => {
    const steps: string[] = [];
    const { core, clock } = engineOf({
      maxNumBatchedTokens: 16,
      numGpuBlocks: 400,
      observer: { step: (prefill, decode) => void steps.push(`${prefill}+${decode}`) },
    });
    core.submit({ id: "decoding", promptTokens: [1], maxTokens: 6 });
    clock.advance(1.5);
    core.submit({ id: "long", promptTokens: Array.from({ length: 40 }, (_, at) => at), maxTokens: 2 });
    drain(core, clock);
    assert.deepEqual(steps, ["1+0", "0+1", "15+1", "15+1", "10+1", "0+2"]);
  });
});

describe("time", () => {
  const preset = findPreset("llama-3.1-8b-1xh100");

  it("takes b0 + b1 x prefill + b2 x decode microseconds a step", () => {
    assert.ok(preset !== undefined);
    const { core, clock } = engineOf({ preset });
    let result: SequenceResult | undefined;
    const promptTokens = Array.from({ length: 1000 }, (_, at) => at);
    core.submit({ id: "x", promptTokens, maxTokens: 11 }, { onFinish: (ended) => (result = ended) });
    drain(core, clock);
    const { times } = result ?? assert.fail("no result");
    const first = (times.firstTokenMs ?? 0) - times.arrivedMs;
    assert.ok(Math.abs(first - (5.753 + 17.25)) < 0.001, `time to first token was ${first}`);
    const decode = ((times.lastTokenMs ?? 0) - (times.firstTokenMs ?? 0)) / 10;
    assert.ok(Math.abs(decode - (5.753 + 0.006)) < 0.001, `a decode step took ${decode}`);
  });

  it("takes measured decode steps from their points, from lines between and beyond them, and b0 where nothing decodes", () => {
    const measured: Preset = {
      ...fast,
      b1Us: 10,
      decodeStepUs: [
        [2, 4000],
        [4, 5000],
        [8, 9000],
      ],
    };
    const times: Record<number, number> = { 0: 1000, 1: 2500, 2: 4000, 3: 4500, 4: 5000, 6: 7000, 8: 9000, 10: 11_000 };
    for (const [tokens, us] of Object.entries(times)) {
      assert.equal(stepMs(measured, 0, Number(tokens), 0), us / 1000, `${tokens} decodes`);
      assert.equal(stepMs(measured, 7, Number(tokens), 0), (us + 70) / 1000, `${tokens} decodes and a prompt of 7`);
    }
    assert.equal(stepMs({ ...fast, decodeStepUs: [[1, 3000]] }, 0, 3, 0), 7, "one point: through b0");
  });

  it("lets requests in one after the other where the API server takes its time, and forgets those that left", () => {
    const { core, clock } = engineOf({ preset: { ...fast, b1Us: 0, b2Us: 0, requestUs: 4000 } });
    const firsts: Record<string, number> = {};
    for (const id of ["a", "b", "c"]) {
      const onFinish = ({ reason, times }: SequenceResult): void => {
        firsts[id] = reason === "length" ? (times.firstTokenMs ?? NaN) : NaN;
      };
      core.submit({ id, promptTokens: [1], maxTokens: 1 }, { onFinish });
    }
    assert.deepEqual([core.running, core.waiting], [0, 0]);
    clock.advance(6);
    assert.equal(core.abort("b"), true);
    clock.advance(20);
    assert.deepEqual(firsts, { a: 5, b: NaN, c: 13 });
    assert.deepEqual([core.running, core.waiting], [0, 0]);
  });

  it("runs ten times faster at speed 10", () => {
    const { core, clock } = engineOf({ speed: 10 });
    core.submit({ id: "x", promptTokens: [1], maxTokens: 100 });
    clock.advance(10.2);
    assert.equal(core.stats().running, 0);
  });

  it("keeps the average step right when timers fire late, by catching up", () => {
    const manual = new ManualClock();
    // As setTimeout: whole milliseconds, and always some late.
    const coarse: Clock = {
      nowMs: () => manual.nowMs(),
      wallMs: () => manual.wallMs(),
      setTimer: (delayMs, fn) => manual.setTimer(Math.max(1, Math.ceil(delayMs)) + 2.3, fn),
    };
    const core = new EngineCore({ clock: coarse, preset: { ...fast, b0Us: 1200, b1Us: 0, b2Us: 0 } });
    core.submit({ id: "x", promptTokens: [1], maxTokens: 1_000_000 });
    manual.advance(1003.3);
    const { generatedTokens } = core.stats();
    assert.ok(Math.abs(generatedTokens - 1000 / 1.2) < 5, `${generatedTokens} tokens`);
  });

  it("begins a step on the spot when it was idle, and sets no timer when it is idle again", () => {
    const { core, clock } = engineOf();
    core.submit({ id: "x", promptTokens: [1], maxTokens: 2 });
    drain(core, clock);
    assert.equal(clock.pending, 0);
    clock.advance(1000);
    core.submit({ id: "y", promptTokens: [1], maxTokens: 1 });
    clock.advance(1.1);
    assert.equal(core.stats().finished.length, 2);
  });

  it("does the same for the same seed", () => {
    const run = (seed: number): number[] => {
      const { core, clock } = engineOf({ seed });
      const tokens: number[] = [];
      core.submit({ id: "x", promptTokens: [1, 2], maxTokens: 20 }, { onToken: (token) => void tokens.push(token) });
      drain(core, clock);
      return tokens;
    };
    assert.deepEqual(run(1), run(1));
    assert.notDeepEqual(run(1), run(2));
  });
});

describe("abort", () => {
  it("frees the blocks at once and sends no further token", () => {
    const { core, clock } = engineOf();
    let tokens = 0;
    core.submit(
      { id: "x", promptTokens: Array.from({ length: 50 }, () => 7), maxTokens: 100 },
      { onToken: () => void tokens++ },
    );
    clock.advance(5);
    assert.ok(core.stats().kvBlocksUsed > 0);
    assert.equal(core.abort("x"), true);
    const before = tokens;
    assert.equal(core.stats().kvBlocksUsed, 0);
    clock.advance(50);
    assert.equal(tokens, before);
    assert.equal(core.abort("x"), false);
    assert.equal(core.stats().finished.cancelled, 1);
  });

  it("may come from the listener of the token itself", () => {
    const { core, clock } = engineOf();
    core.submit({ id: "x", promptTokens: [1], maxTokens: 10 }, { onToken: () => void core.abort("x") });
    drain(core, clock);
    assert.equal(core.stats().generatedTokens, 1);
  });
});
