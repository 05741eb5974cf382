// `npm run bench:overhead`: what our router costs beside nginx and haproxy, in front of the same engines, in the same
// minutes, on the same core. Says what it does while it runs, ends what it started, and judges nobody's build: it exits
// 0 when a mark is missed, as a shared machine's figures are for people to read.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { aboutRun, renderReport, writeDocs } from "./report.ts";
import { missingReason, startCandidate } from "./candidates.ts";
import type { Candidate, CandidateName, CandidateOptions } from "./candidates.ts";
import { untilQuiet } from "./cpu.ts";
import { judgeCpu, judgeLatency, judgeMemory } from "./judge.ts";
import type { Verdict } from "./judge.ts";
import { HELP, parseOptions } from "./options.ts";
import type { LoadName, Options } from "./options.ts";
import {
  BenchError,
  endChildrenOnExit,
  findProgram,
  isStopping,
  nextMessage,
  nodeBinary,
  startPinned,
  stopAll,
} from "./processes.ts";
import { profileLoad } from "./profile.ts";
import { runRounds } from "./rounds.ts";
import type { Judged, Rounds } from "./rounds.ts";
import { latencyWindow, memoryWindow, requestWindow, streamWindow } from "./windows.ts";
import type { Bench, Window } from "./windows.ts";

const HERE = "test/bench/overhead";
const FRAME_MS = 20;
const LATENCY_RATE = 50;
/** How long one repeat waits for others to be done. */
const QUIET_PATIENCE_MS = 30_000;

/** The loads that are judged by CPU. */
const CPU_LOADS = {
  "300B": { unit: "request", bytes: 300, connections: 64 },
  "100kB": { unit: "request", bytes: 100_000, connections: 64 },
  "1MiB": { unit: "request", bytes: 1_048_576, connections: 16 },
  frames200: { unit: "frame", streams: 200 },
  frames600: { unit: "frame", streams: 600 },
} as const;

type CpuLoad = keyof typeof CPU_LOADS;

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function cpuWindow(bench: Bench, load: CpuLoad, candidate: Candidate, seconds: number): Promise<Window> {
  const kind = CPU_LOADS[load];
  return kind.unit === "request"
    ? requestWindow(bench, candidate, kind.bytes, kind.connections, seconds)
    : streamWindow(bench, candidate, kind.streams, seconds);
}

function describe(window: Window): string {
  const cpu = window.candidateUs === 0 ? "" : `${(window.candidateUs / window.units).toFixed(2)} us CPU each, `;
  return `${(window.units / window.seconds).toFixed(0)}/s, ${cpu}p50 ${window.p50Ms.toFixed(2)} p99 ${window.p99Ms.toFixed(2)} ms`;
}

/** The candidates that this machine and these options allow, in the order of their turns. */
function chooseCandidates(options: Options): CandidateName[] {
  const wanted: CandidateName[] = ["ours", ...(options.withBare ? (["bare"] as const) : []), "nginx"];
  if (options.withHaproxy) wanted.push("haproxy");
  if (options.withFloor) wanted.push("floor");
  for (const name of ["ours", "nginx"] as const) {
    const reason = missingReason(name, options);
    if (reason !== undefined) throw new BenchError(`${reason}.`);
  }
  if (findProgram("wrk") === undefined) throw new BenchError("wrk is not installed (Debian: apt-get install wrk).");
  return wanted.filter((name) => {
    const reason = missingReason(name, options);
    if (reason !== undefined) say(`left out: ${reason}`);
    return reason === undefined;
  });
}

class Comparison {
  readonly #options: Options;
  readonly #bench: Bench;
  readonly #candidateOptions: CandidateOptions;
  readonly #candidates: readonly Candidate[];
  readonly #deadlineMs: number;
  readonly windows: Record<string, unknown>[] = [];

  constructor(options: Options, bench: Bench, candidateOptions: CandidateOptions, candidates: readonly Candidate[]) {
    this.#options = options;
    this.#bench = bench;
    this.#candidateOptions = candidateOptions;
    this.#candidates = candidates;
    this.#deadlineMs = performance.now() + options.minutes * 60_000;
  }

  async run(load: LoadName): Promise<Verdict> {
    if (load === "latency") return this.#latency();
    if (load === "memory") return this.#memory();
    return this.#cpu(load);
  }

  #rounds<Key extends string, W extends Judged>(
    load: LoadName,
    keys: readonly Key[],
    measure: (key: Key) => Promise<W>,
    text: (window: W) => string,
  ): Promise<Rounds<Key, W>> {
    return runRounds<Key, W>({
      count: this.#options.windows,
      keys,
      foreignLimit: this.#options.foreignLimit,
      measure,
      onWindow: (round, key, window, verdict) => {
        const foreign = `foreign ${window.foreignCores.toFixed(2)} core`;
        say(
          `${load} ${round + 1}/${this.#options.windows} ${key}: ${text(window)}, ${foreign}${verdict && ` -> ${verdict}`}`,
        );
        this.windows.push({ load, round, candidate: key, verdict, window });
      },
      untilQuiet: async () => {
        if (!(await untilQuiet(process.pid, this.#options.foreignLimit, QUIET_PATIENCE_MS)))
          say("still busy, going on");
      },
      outOfTime: () => performance.now() > this.#deadlineMs,
    });
  }

  async #cpu(load: CpuLoad): Promise<Verdict> {
    const { unit } = CPU_LOADS[load];
    // The direct run shows what engines and load do by themselves; it has no CPU to be judged by.
    const taking = this.#candidates.filter((candidate) => candidate.name !== "direct" || unit === "frame");
    const byName = new Map(taking.map((candidate) => [candidate.name, candidate]));
    const measure = (name: CandidateName, seconds: number): Promise<Window> => {
      const candidate = byName.get(name);
      if (candidate === undefined) throw new BenchError(`no candidate ${name}`);
      return cpuWindow(this.#bench, load, candidate, seconds);
    };
    const names = [...byName.keys()];
    for (const name of names)
      say(`${load} warm-up ${name}: ${describe(await measure(name, this.#options.warmUpSeconds))}`);
    return judgeCpu(
      load,
      unit,
      names,
      await this.#rounds(load, names, (name) => measure(name, this.#options.seconds), describe),
    );
  }

  async #latency(): Promise<Verdict> {
    // Twenty times as long as the others: of 50 requests a second a short window has six that are slower than its p99, and
    // which of them the machine itself held up decides.
    const seconds = this.#options.seconds * 20;
    const measure = (): ReturnType<typeof latencyWindow> =>
      latencyWindow(this.#bench, this.#candidates, LATENCY_RATE, seconds);
    await measure(); // warms every path; its times are those of cold code
    const rounds = await this.#rounds("latency", ["all"], measure, (window) => {
      return `${window.msBySecond.flat(2).length} requests`;
    });
    return judgeLatency(
      this.#candidates.map((candidate) => candidate.name),
      rounds,
    );
  }

  async #memory(): Promise<Verdict> {
    const names = this.#candidates.map((candidate) => candidate.name).filter((name) => name !== "direct");
    const measure = (name: CandidateName): ReturnType<typeof memoryWindow> =>
      memoryWindow(this.#bench, name, this.#candidateOptions, 600, this.#options.quick ? 2 : 4);
    const rounds = await this.#rounds("memory", names, measure, (window) => {
      return `${(window.idleKb / 1024).toFixed(1)} MB idle, ${(window.loadedKb / 1024).toFixed(1)} MB with 600 streams`;
    });
    return judgeMemory(names, rounds);
  }
}

function versionsOf(names: readonly CandidateName[]): string[] {
  const of = (program: string, flag: string): string => {
    const run = spawnSync(findProgram(program) ?? program, [flag], { encoding: "utf8" });
    return `${program} ${/(\d+\.\d+(\.\d+)*)/.exec(run.stdout + run.stderr)?.[1] ?? "?"}`;
  };
  return [of("nginx", "-v"), ...(names.includes("haproxy") ? [of("haproxy", "-v")] : [])];
}

async function profileAll(
  options: Options,
  bench: Bench,
  candidateOptions: CandidateOptions,
  into: string,
): Promise<void> {
  for (const load of options.loads) {
    if (load === "latency" || load === "memory") continue;
    say(`profiling ${load}`);
    const text = await profileLoad(load, into, candidateOptions, async (candidate) =>
      describe(await cpuWindow(bench, load, candidate, options.seconds)),
    );
    process.stdout.write(`${text}\n\n`);
  }
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") return void process.stdout.write(HELP);
  if (process.platform !== "linux") throw new BenchError("bench:overhead reads /proc and pins processes: Linux only.");
  endChildrenOnExit();
  const names = chooseCandidates(options);
  spawnSync("taskset", ["-a", "-p", "-c", String(options.loadCore), String(process.pid)]); // keep off the router's core
  const engineCommand = [nodeBinary, `${HERE}/fake-engine.ts`, "--frame-ms", String(FRAME_MS)];
  const engines = startPinned("engines", options.loadCore, engineCommand, "ipc");
  const { ports } = await nextMessage<{ ports: number[] }>(engines);
  const load = startPinned("load", options.loadCore, [nodeBinary, `${HERE}/load-process.ts`], "ipc");
  const bench: Bench = { load, loadCore: options.loadCore };
  const candidateOptions: CandidateOptions = {
    engineUrls: ports.map((port) => `http://127.0.0.1:${port}`),
    core: options.routerCore,
    candidateCommand: options.candidateCommand,
    routerFlags: options.routerFlags,
  };
  if (options.profileDirectory !== undefined) {
    return profileAll(options, bench, candidateOptions, options.profileDirectory);
  }
  const candidates: Candidate[] = [];
  for (const name of [...names, "direct"] as const) candidates.push(await startCandidate(name, candidateOptions));
  const comparison = new Comparison(options, bench, candidateOptions, candidates);
  const verdicts: Verdict[] = [];
  for (const each of options.loads) verdicts.push(await comparison.run(each));
  const about = aboutRun(options, versionsOf(names));
  const report = renderReport(verdicts, names, about);
  process.stdout.write(`${report}\n`);
  if (options.jsonFile !== undefined) {
    writeFileSync(options.jsonFile, JSON.stringify({ about, options, verdicts, windows: comparison.windows }, null, 2));
  }
  if (options.writeDocs) writeDocs("docs/benchmarks.md", report);
}

try {
  await main();
} catch (error) {
  // An interrupt ends the children first, and what then fails is no news.
  if (!isStopping())
    say(
      error instanceof BenchError
        ? `bench:overhead: ${error.message}`
        : String(error instanceof Error ? error.stack : error),
    );
  process.exitCode = 1;
} finally {
  await stopAll();
}
