// One run of the lab: a workload, N engine cores and a router's decisions in virtual time. The engines are the simulator's
// own core, so a step takes what it takes there. It must never decide anything itself, nor read the machine's clock.

import { ManualClock } from "../clock.ts";
import { largest } from "../bench/statistics.ts";
import type { Workload, WorkloadRequest } from "../bench/workload/workload.ts";
import { EngineCore, type BlockHash, type Preset, type StoredBlocks } from "../engine/core/index.ts";
import type { BlockNames } from "./prefix-tree.ts";

export const engineBlockTokens = 16;

export interface FleetOptions {
  readonly engines: number;
  readonly preset: Preset;
  readonly seed: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
}

/** What a router is told, and what it may do. */
export interface LabRouter {
  /** Decides now, or later in one of the other calls; then it calls `send`. */
  arrive(request: number): void;
  firstToken(request: number, endpoint: number): void;
  finished(request: number, endpoint: number, usage: AnswerUsage): void;
}

/** What an answer says of itself at its end. */
export interface AnswerUsage {
  readonly cachedTokens: number;
  readonly generatedTokens: number;
}

/** What routers may ask of the run. */
export interface LabFleet {
  readonly clock: ManualClock;
  readonly requests: readonly WorkloadRequest[];
  readonly engines: readonly EngineCore[];
  /**
   * Prompt tokens of a request, in whole blocks, that an engine holds now: the truth, which KV events carry.
   * @param expected other blocks that count as held, by name
   */
  cachedTokens(request: number, endpoint: number, expected?: ArrayLike<number>): number;
  readonly names: BlockNames;
  send(request: number, endpoint: number): void;
}

/** What became of one request. Times are milliseconds of virtual time; NaN = it never came that far. */
export interface Traces {
  readonly sentMs: Float64Array;
  readonly firstMs: Float64Array;
  readonly doneMs: Float64Array;
  readonly endpoint: Int32Array;
  readonly cachedTokens: Int32Array;
  readonly answerTokens: Int32Array;
}

export interface LoadSample {
  readonly atS: number;
  /** Per engine. */
  readonly running: readonly number[];
  readonly waiting: readonly number[];
  readonly kvUsage: readonly number[];
}

export interface RunOutput {
  readonly traces: Traces;
  readonly samples: readonly LoadSample[];
  /** Requests longer than an engine's cache. */
  readonly refused: number;
  readonly preemptions: number;
  /** When the last answer ended. */
  readonly endMs: number;
}

export interface RunHooks {
  /** Gap between two tokens of an answer. */
  readonly gap?: (ms: number) => void;
  /** Called now and then with the share that has ended. */
  readonly progress?: (share: number) => void;
  /** Called when a request comes, before the router hears of it. */
  readonly arriving?: (request: number, fleet: LabFleet) => void;
  /** The run may end with the first token of this request: no more is asked of it. */
  readonly until?: number;
}

const samplesPerRun = 240;

export function simulate(
  workload: Workload,
  names: BlockNames,
  fleet: FleetOptions,
  makeRouter: (fleet: LabFleet) => LabRouter,
  hooks: RunHooks = {},
): RunOutput {
  const { requests } = workload;
  const clock = new ManualClock();
  const count = requests.length;
  const traces: Traces = {
    sentMs: new Float64Array(count).fill(Number.NaN),
    firstMs: new Float64Array(count).fill(Number.NaN),
    doneMs: new Float64Array(count).fill(Number.NaN),
    endpoint: new Int32Array(count).fill(-1),
    cachedTokens: new Int32Array(count),
    answerTokens: new Int32Array(count),
  };
  let ended = 0;
  let refused = 0;
  const end = (): void => {
    ended++;
    if (ended % 256 === 0) hooks.progress?.(ended / count);
  };
  const held = Array.from({ length: fleet.engines }, () => new Uint8Array(names.distinct));
  const engines = held.map((blocks, endpoint) => makeEngine(fleet, clock, blocks, endpoint, hooks));
  const lengths = requests.map(({ promptTokens, answer }) => promptTokens + answer.tokens);
  const longest = largest(lengths, 1);
  const blankTokens = Array.from({ length: longest }, () => 0);

  const send = (request: number, endpoint: number): void => {
    const engine = engines[endpoint];
    const asked = requests[request];
    if (engine === undefined || asked === undefined) throw new Error(`there is no engine ${endpoint}`);
    if (traces.endpoint[request] !== -1) throw new Error(`request ${request} was sent twice`);
    traces.endpoint[request] = endpoint;
    traces.sentMs[request] = clock.nowMs();
    if (asked.promptTokens >= engine.maxModelLen) {
      refused++;
      router.finished(request, endpoint, { cachedTokens: 0, generatedTokens: 0 });
      end();
      return;
    }
    engine.submit(
      {
        id: String(request),
        promptTokens: blankTokens.slice(0, asked.promptTokens),
        blockHashes: names.of(request, true),
        maxTokens: asked.answer.tokens,
        nextToken: zero,
      },
      {
        onToken: (_token, index, progress) => {
          if (index > 0) return;
          traces.firstMs[request] = clock.nowMs();
          traces.cachedTokens[request] = progress.cachedTokens;
          router.firstToken(request, endpoint);
        },
        onFinish: (result) => {
          traces.doneMs[request] = clock.nowMs();
          traces.answerTokens[request] = result.generatedTokens;
          router.finished(request, endpoint, result);
          end();
        },
      },
    );
  };
  const lab: LabFleet = {
    clock,
    requests,
    engines,
    send,
    names,
    cachedTokens(request, endpoint, expected) {
      const blocks = held[endpoint];
      if (blocks === undefined) return 0;
      return names.matched(request, blocks, expected) * engineBlockTokens;
    },
  };
  const router = makeRouter(lab);

  const samples: LoadSample[] = [];
  const lastMs = requests.at(-1)?.arrivalMs ?? 0;
  const sampleEveryMs = Math.max(lastMs / samplesPerRun, 1);
  let nextSampleMs = 0;
  const runTo = (ms: number): void => {
    while (nextSampleMs <= ms) {
      clock.advance(nextSampleMs - clock.nowMs());
      if (samples.length < samplesPerRun * 2) samples.push(sampleOf(clock.nowMs(), engines));
      nextSampleMs += sampleEveryMs;
    }
    clock.advance(ms - clock.nowMs());
  };
  const enough = (): boolean => hooks.until !== undefined && !Number.isNaN(traces.firstMs[hooks.until]);
  for (let request = 0; request < count && !enough(); request++) {
    runTo(requests[request]?.arrivalMs ?? 0);
    hooks.arriving?.(request, lab);
    router.arrive(request);
  }
  // A router that forgets a request would keep its timers and this loop going for ever.
  let quietSince = clock.nowMs();
  for (let before = ended; ended < count && !enough();) {
    runTo(clock.nowMs() + 1000);
    if (ended > before) quietSince = clock.nowMs();
    else if (clock.nowMs() - quietSince > 24 * 3_600_000) throw new Error(`${count - ended} requests were never sent`);
    before = ended;
  }
  let preemptions = 0;
  let endMs = 0;
  for (const engine of engines) preemptions += engine.stats().preemptions;
  for (const ms of traces.doneMs) if (ms > endMs) endMs = ms;
  return { traces, samples, refused, preemptions, endMs };
}

const zero = (): number => 0;

function makeEngine(
  fleet: FleetOptions,
  clock: ManualClock,
  blocks: Uint8Array,
  endpoint: number,
  hooks: RunHooks,
): EngineCore {
  const { gap } = hooks;
  return new EngineCore({
    clock,
    preset: fleet.preset,
    maxModelLen: Number.MAX_SAFE_INTEGER,
    maxNumSeqs: fleet.maxNumSeqs,
    maxNumBatchedTokens: fleet.maxNumBatchedTokens,
    blockSize: engineBlockTokens,
    seed: fleet.seed + endpoint,
    observer: {
      stored({ hashes }: StoredBlocks) {
        for (const hash of hashes) blocks[Number(hash)] = (blocks[Number(hash)] ?? 0) + 1;
      },
      removed(hash: BlockHash) {
        blocks[Number(hash)] = (blocks[Number(hash)] ?? 1) - 1;
      },
      ...(gap === undefined
        ? {}
        : {
            token(first: boolean, gapMs: number) {
              if (!first) gap(gapMs);
            },
          }),
    },
  });
}

function sampleOf(nowMs: number, engines: readonly EngineCore[]): LoadSample {
  const stats = engines.map((engine) => engine.stats());
  return {
    atS: nowMs / 1000,
    running: stats.map(({ running }) => running),
    waiting: stats.map(({ waiting }) => waiting),
    kvUsage: stats.map(({ kvBlocksUsed, kvBlocksTotal }) => kvBlocksUsed / kvBlocksTotal),
  };
}
