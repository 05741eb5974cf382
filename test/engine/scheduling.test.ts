// The model of time against measurements: step times of a published run, then queueing, priorities, chunks and
// preemption of the recorded server, all in virtual time. What a real server did exactly must come out exactly.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { EngineCore, findPreset } from "../../src/engine/core/index.ts";
import type { EngineCoreOptions, Preset } from "../../src/engine/core/index.ts";

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`fixtures/load/${name}.json`, import.meta.url), "utf8"));
const readRuns = (name: string): readonly Run[] => read(name) as readonly Run[];

interface Run {
  readonly concurrency: number;
  readonly max_tokens: number;
  readonly prompt_tokens: number;
  readonly max_running: number;
  readonly max_waiting: number;
  readonly max_kv_usage: number;
  readonly preemptions: number;
  readonly e2e_s_min_med_max: readonly [number, number, number];
  readonly samples_t_running_waiting_waitcapacity_waitdeferred_load_kv_preempt: readonly (readonly number[])[];
}

function engineOf(options: Partial<EngineCoreOptions>): { core: EngineCore; clock: ManualClock } {
  const clock = new ManualClock();
  return { core: new EngineCore({ clock, ...options }), clock };
}

interface Ended {
  readonly id: string;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** Submits a request now; `ended` is told when it is over. */
function submit(
  core: EngineCore,
  id: string,
  promptTokens: readonly number[],
  maxTokens: number,
  ended: (result: Ended) => void,
  priority = 0,
): void {
  core.submit(
    { id, promptTokens, maxTokens, priority },
    {
      onFinish: ({ times }) => ended({ id, firstMs: times.firstTokenMs ?? NaN, lastMs: times.lastTokenMs ?? NaN }),
    },
  );
}

const prompt = (length: number, seed: number): number[] => Array.from({ length }, (_, at) => seed * 10_000 + at);

/** Within this part of the measured value. */
function near(value: number, measured: number, part: number, what: string): void {
  const off = Math.abs(value / measured - 1);
  assert.ok(off <= part, `${what}: ${value.toFixed(1)} against ${measured}, ${(off * 100).toFixed(1)} % off`);
}

describe("Splitwise's points, Llama-2-70B on 8 H100 (within 10 %)", () => {
  const preset = findPreset("llama-2-70b-8xh100");

  for (const [tokens, measuredMs] of [
    [512, 54],
    [1024, 78],
    [2048, 137],
    [4096, 390],
    [8192, 845],
  ] as const) {
    it(`a prompt of ${tokens} tokens takes ${measuredMs} ms`, () => {
      assert.ok(preset !== undefined);
      const { core, clock } = engineOf({ preset, maxNumBatchedTokens: 8192 });
      let firstMs = 0;
      submit(core, "a", prompt(tokens, 1), 1, (result) => (firstMs = result.firstMs));
      clock.advance(5000);
      near(firstMs, measuredMs, 0.1, "time to first token");
    });
  }

  for (const [batch, measuredMs] of [
    [1, 30.6],
    [8, 32.5],
    [16, 34.2],
    [32, 38.6],
    [64, 50.2],
  ] as const) {
    it(`a decode of ${batch} takes ${measuredMs} ms`, () => {
      assert.ok(preset !== undefined);
      const { core, clock } = engineOf({ preset });
      const results: Ended[] = [];
      for (let at = 0; at < batch; at++) submit(core, String(at), prompt(16, at), 101, (one) => results.push(one));
      clock.advance(60_000);
      const [one] = results;
      assert.ok(one !== undefined && results.length === batch);
      near((one.lastMs - one.firstMs) / 100, measuredMs, 0.1, "inter-token latency");
    });
  }
});

describe("the recorded server", () => {
  /** Step times of the tiny model, fitted to one stream and to four of the run without limits. */
  function fitted(): Preset {
    const [one, four] = readRuns("default_max_num_seqs");
    assert.ok(one !== undefined && four !== undefined);
    const stepOf = (run: Run): number => (run.e2e_s_min_med_max[1] / run.max_tokens) * 1e6;
    const b2Us = (stepOf(four) - stepOf(one)) / (four.concurrency - one.concurrency);
    return { id: "fitted", b0Us: stepOf(one) - b2Us, b1Us: b2Us / 8, b2Us, b3Us: 0, kvBlocks: 48 };
  }

  for (const run of readRuns("max_num_seqs_4")) {
    it(`${run.concurrency} streams with max_num_seqs 4: queue exact, median latency within 25 %`, () => {
      const { core, clock } = engineOf({ preset: fitted(), blockSize: 32, numGpuBlocks: 48, maxNumSeqs: 4 });
      const results: Ended[] = [];
      for (let at = 0; at < run.concurrency; at++) {
        submit(core, String(at), prompt(run.prompt_tokens, at), run.max_tokens, (one) => results.push(one));
      }
      let running = 0;
      let waiting = 0;
      let used = 0;
      while (results.length < run.concurrency) {
        clock.advance(1);
        const stats = core.stats();
        if (stats.running === 0) continue;
        running = Math.max(running, stats.running);
        waiting = Math.max(waiting, stats.waiting);
        used = Math.max(used, stats.kvBlocksUsed / stats.kvBlocksTotal);
      }
      assert.deepEqual([running, waiting], [run.max_running, run.max_waiting]);
      // A short run was sampled too seldom to be met in its last block.
      if (run.concurrency > 1) assert.equal(used.toFixed(5), String(run.max_kv_usage));
      const ends = results.map(({ lastMs }) => lastMs / 1000).toSorted((a, b) => a - b);
      const middle = ends.length / 2;
      const median = ((ends[Math.ceil(middle) - 1] ?? 0) + (ends[Math.floor(middle)] ?? 0)) / 2;
      near(median, run.e2e_s_min_med_max[1], 0.25, "median latency");
    });
  }

  it("priorities: the order of first tokens is the recorded one", () => {
    const { rows } = read("priority_order") as {
      readonly rows: readonly { readonly order_sent: number; readonly priority: number }[];
    };
    const { core, clock } = engineOf({ preset: fitted(), maxNumSeqs: 4, policy: "priority", blockSize: 32 });
    const order: Ended[] = [];
    for (let sent = 0; sent < rows.length; sent++) {
      const { priority = 0 } = rows.find((row) => row.order_sent === sent) ?? {};
      submit(core, String(sent), prompt(8, sent), 64, (one) => order.push(one), priority);
      clock.advance(20);
    }
    clock.advance(20_000);
    const first = order.toSorted((a, b) => a.firstMs - b.firstMs || Number(a.id) - Number(b.id));
    assert.deepEqual(
      first.map(({ id }) => Number(id)),
      rows.map((row) => row.order_sent),
    );
  });

  it("chunks: a prompt of 3800 tokens takes 15 steps of 256, its blocks come with its chunks", () => {
    const prefills: number[] = [];
    const { core, clock } = engineOf({
      preset: fitted(),
      blockSize: 32,
      numGpuBlocks: 2048,
      maxNumBatchedTokens: 256,
      observer: { step: (tokens) => void prefills.push(tokens) },
    });
    submit(core, "a", prompt(3800, 1), 3, () => undefined);
    const used: number[] = [];
    while (prefills.length < 15) {
      clock.advance(1);
      const { kvBlocksUsed } = core.stats();
      if (kvBlocksUsed !== used.at(-1)) used.push(kvBlocksUsed);
    }
    assert.deepEqual(prefills, [...Array<number>(14).fill(256), 3800 - 14 * 256]);
    assert.deepEqual(used.slice(0, 15), [...Array.from({ length: 14 }, (_, at) => 8 * (at + 1)), 119]);
  });

  it("preemption: as many, and through the same states of queue and cache", () => {
    const [run] = readRuns("preemption_4x_640_tokens_in_1504_slots");
    assert.ok(run !== undefined);
    const states: string[] = [];
    const { core, clock } = engineOf({
      preset: fitted(),
      blockSize: 32,
      numGpuBlocks: 48,
      maxNumSeqs: 4,
      maxModelLen: 1024,
      policy: "priority",
      // Where vLLM takes its gauges: at the end of a step, before the next one admits anybody.
      observer: {
        step: () => {
          const { running, waiting, kvBlocksUsed, kvBlocksTotal } = core.stats();
          const state = `${running} ${waiting} ${(kvBlocksUsed / kvBlocksTotal).toFixed(5)}`;
          if (state !== states.at(-1)) states.push(state);
        },
      },
    });
    let ended = 0;
    for (let at = 0; at < 4; at++) {
      submit(core, String(at), prompt(40, at), 600, () => ended++);
      // The first request had a step of its own before the others arrived.
      if (at === 0) clock.advance(1);
    }
    while (ended < 4) clock.advance(1);
    assert.equal(core.stats().preemptions, run.preemptions);
    const recorded: string[] = [];
    for (const [, running = 0, waiting = 0, , , , kv = 0] of run[
      "samples_t_running_waiting_waitcapacity_waitdeferred_load_kv_preempt"
    ]) {
      const state = `${running} ${waiting} ${kv.toFixed(5)}`;
      if (running > 0 && state !== recorded.at(-1)) recorded.push(state);
    }
    // Samples were taken now and then, and not at every step: what was seen must come, in the same order.
    let from = 0;
    for (const state of recorded) {
      const found = states.indexOf(state, from);
      assert.ok(found >= 0, `${state} does not come after ${states[from - 1] ?? "the start"}`);
      from = found + 1;
    }
  });
});
