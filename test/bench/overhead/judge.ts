// From windows to a verdict: the ratio to nginx within each round, its median and interval, and the mark of issue "the
// main job runs" that it is held to. Pure.
import type { CandidateName } from "./candidates.ts";
import type { LoadName } from "./options.ts";
import type { Rounds } from "./rounds.ts";
import { blockBootstrap, median, medianInterval, percentile } from "./stats.ts";
import type { Interval } from "./stats.ts";
import type { LatencyWindow, MemoryWindow, Window } from "./windows.ts";

/** What each load is held to: a ratio to nginx, or for memory KB per open stream. `frames200` is reported only. */
export const MARKS: Readonly<Record<LoadName, number | undefined>> = {
  "300B": 1.5,
  "100kB": 3,
  "1MiB": 4,
  frames200: undefined,
  frames600: 1.35,
  latency: 1.5,
  memory: 60,
};

export interface Verdict {
  readonly load: LoadName;
  /** What `values` are, with their unit. */
  readonly measure: string;
  readonly values: Readonly<Partial<Record<CandidateName, number>>>;
  /** What is held to the mark: ours / nginx, or for memory the value itself. NaN where no round is complete. */
  readonly judged: number;
  readonly interval: Interval;
  readonly mark: number | undefined;
  /** The whole interval is at or under the mark; undefined without a mark or without data. */
  readonly met: boolean | undefined;
  /** Rounds in which both sides had a good window. */
  readonly rounds: number;
  readonly thrownAway: number;
  readonly failures: readonly string[];
  /** More that was seen, one line each. */
  readonly remarks: readonly string[];
}

type Seen = Pick<Rounds<string, unknown>, "thrownAway" | "failures">;

function verdict(
  load: LoadName,
  measure: string,
  seen: Seen,
  result: { values: Verdict["values"]; judged: number; interval: Interval; rounds: number; remarks: string[] },
): Verdict {
  const mark = MARKS[load];
  const met = mark === undefined || Number.isNaN(result.interval.high) ? undefined : result.interval.high <= mark;
  return { load, measure, ...result, mark, met, thrownAway: seen.thrownAway, failures: seen.failures };
}

function columns<W>(rounds: Rounds<CandidateName, W>, names: readonly CandidateName[]): Map<CandidateName, W[]> {
  return new Map(
    names.map((name) => [name, rounds.rounds.map((round) => round.get(name)).filter((window) => window !== undefined)]),
  );
}

/** CPU per request or frame. */
export function judgeCpu(
  load: LoadName,
  unit: "request" | "frame",
  names: readonly CandidateName[],
  rounds: Rounds<CandidateName, Window>,
): Verdict {
  const cost = (window: Window): number => window.candidateUs / window.units;
  const values: Partial<Record<CandidateName, number>> = {};
  const remarks: string[] = [];
  for (const [name, windows] of columns(rounds, names)) {
    if (windows.length === 0) continue;
    if (name !== "direct") values[name] = median(windows.map(cost));
    const rate = median(windows.map((window) => window.units / window.seconds));
    const share = median(windows.map((window) => window.candidateUs / window.seconds / 1e4));
    const p50 = median(windows.map((window) => window.p50Ms));
    const p99 = median(windows.map((window) => window.p99Ms));
    const core = name === "direct" ? "" : `, core ${share.toFixed(0)} % busy`;
    const what = unit === "frame" ? "frame delay" : "answer time";
    remarks.push(
      `${name}: ${rate.toFixed(0)} ${unit}s/s${core}, ${what} p50 ${p50.toFixed(2)} / p99 ${p99.toFixed(2)} ms`,
    );
  }
  const ratiosTo = (other: CandidateName): number[] =>
    rounds.rounds.flatMap((round) => {
      const ours = round.get("ours");
      const theirs = round.get(other);
      return ours === undefined || theirs === undefined ? [] : [cost(ours) / cost(theirs)];
    });
  const ratios = ratiosTo("nginx");
  const toBare = ratiosTo("bare");
  if (toBare.length > 0) {
    const { low, high, coverage } = medianInterval(toBare);
    const shown = [median(toBare), low, high].map((ratio) => ratio.toFixed(3));
    remarks.push(
      `with metrics / without: ${shown[0]}, interval ${shown[1]} .. ${shown[2]} (${Math.round(coverage * 100)} %), ${toBare.length} windows`,
    );
  }
  const interval = medianInterval(ratios);
  const result = { values, judged: median(ratios), interval, rounds: ratios.length, remarks };
  return verdict(load, `us CPU per ${unit}`, rounds, result);
}

/** Below this an added time is not told from none: nginx's share of the ratio is never taken as less. */
const LEAST_ADDED_MS = 0.02;

/**
 * Added latency: a candidate's percentile less the direct one's, in each window. The ratio of a window rests on its slowest
 * hundredth, so a millisecond in which the machine did something else can make it anything; the median of the windows is not
 * moved by a few of those. What all windows together say is told beside it: there, such milliseconds decide.
 */
export function judgeLatency(names: readonly CandidateName[], rounds: Rounds<"all", LatencyWindow>): Verdict {
  const windows = rounds.rounds.map((round) => round.get("all")).filter((window) => window !== undefined);
  /** One second: the times of every candidate. */
  type Block = readonly (readonly number[])[];
  const blocksOf = ({ msBySecond }: LatencyWindow): Block[] =>
    (msBySecond[0] ?? []).map((_, second) => names.map((_name, i) => msBySecond[i]?.[second] ?? []));
  const added = (blocks: readonly Block[], name: CandidateName, p: number): number => {
    const of = (wanted: CandidateName): number =>
      percentile(
        blocks.flatMap((block) => block[names.indexOf(wanted)] ?? []),
        p,
      );
    return of(name) - of("direct");
  };
  const ratio = (blocks: readonly Block[]): number =>
    Math.max(0, added(blocks, "ours", 0.99)) / Math.max(LEAST_ADDED_MS, added(blocks, "nginx", 0.99));
  const values: Partial<Record<CandidateName, number>> = {};
  const remarks: string[] = [];
  const byWindow = windows.map(blocksOf);
  const together = byWindow.flat();
  if (together.length > 0) {
    for (const name of names) {
      if (name === "direct") continue;
      values[name] = median(byWindow.map((blocks) => added(blocks, name, 0.99)));
      const shown = [0.5, 0.9, 0.99].map((p) => added(together, name, p).toFixed(3));
      remarks.push(`${name}, all windows together: added p50 ${shown[0]} / p90 ${shown[1]} / p99 ${shown[2]} ms`);
    }
  }
  const comparable = names.includes("ours") && names.includes("nginx") && together.length > 0;
  const ratios = comparable ? byWindow.map(ratio) : [];
  if (comparable) {
    const { low, high } = blockBootstrap(together, ratio, 500);
    const shown = [ratio(together), low, high].map((value) => value.toFixed(2));
    remarks.push(`p99 of all windows together: ours / nginx ${shown[0]}, interval ${shown[1]} .. ${shown[2]} (95 %)`);
  }
  const result = { values, judged: median(ratios), interval: medianInterval(ratios), rounds: windows.length, remarks };
  return verdict("latency", "ms added p99", rounds, result);
}

/** Resident memory per open stream. */
export function judgeMemory(names: readonly CandidateName[], rounds: Rounds<CandidateName, MemoryWindow>): Verdict {
  const perStream = (window: MemoryWindow): number => (window.loadedKb - window.idleKb) / window.streams;
  const values: Partial<Record<CandidateName, number>> = {};
  const remarks: string[] = [];
  const byName = columns(rounds, names);
  for (const [name, windows] of byName) {
    if (windows.length === 0) continue;
    values[name] = median(windows.map(perStream));
    const idle = median(windows.map((window) => window.idleKb)) / 1024;
    const loaded = median(windows.map((window) => window.loadedKb)) / 1024;
    remarks.push(`${name}: resident ${idle.toFixed(0)} MB idle, ${loaded.toFixed(0)} MB with the streams`);
  }
  const ours = (byName.get("ours") ?? []).map(perStream);
  const result = { values, judged: median(ours), interval: medianInterval(ours), rounds: ours.length, remarks };
  return verdict("memory", "KB per open stream", rounds, result);
}
