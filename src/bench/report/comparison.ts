// Two files of results side by side, of the bench or of the lab: what came out, figure by figure, and the ratio. Pure.

import { UsageError } from "../../errors/usage-error.ts";
import { figure, tableLines, type Column } from "./table.ts";

/** What bench and lab both write. */
export interface ComparedResult {
  readonly policy: string;
  readonly rate: number;
  readonly [name: string]: unknown;
}

const compared = [
  ["ttftMeanS", "TTFT mean s"],
  ["ttftP50S", "TTFT p50 s"],
  ["ttftP90S", "TTFT p90 s"],
  ["ttftP99S", "TTFT p99 s"],
  ["itlP50Ms", "ITL p50 ms"],
  ["itlP99Ms", "ITL p99 ms"],
  ["e2eMeanS", "end-to-end s"],
  ["hitRate", "hit rate"],
  ["imbalance", "imbalance"],
  ["outputTokensPerS", "tokens/s"],
] as const;

interface Pair {
  readonly result: string;
  readonly name: string;
  readonly a: number;
  readonly b: number;
}

/** @throws UsageError when the text holds no results */
export function readResults(path: string, text: string): ComparedResult[] {
  const wrong = (reason: string): UsageError =>
    new UsageError(`--compare ${path}: ${reason}; give files that lmstack bench or lmstack lab wrote with --json`);
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch (error) {
    throw wrong(`not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  const { results } = (typeof report === "object" && report !== null ? report : {}) as { results?: unknown };
  if (!Array.isArray(results) || results.length === 0) throw wrong("holds no results");
  return results.map((result: unknown, at): ComparedResult => {
    const row = (typeof result === "object" && result !== null ? result : {}) as Readonly<Record<string, unknown>>;
    const { policy, rate } = row;
    if (typeof policy !== "string" || typeof rate !== "number")
      throw wrong(`result ${at + 1} has no policy or no rate`);
    return { ...row, policy, rate };
  });
}

/**
 * Results of one policy and rate belong together; where each side has but one, these two do.
 * @returns no line when nothing belongs together
 */
export function comparison(a: readonly ComparedResult[], b: readonly ComparedResult[]): string[] {
  const only = a.length === 1 && b.length === 1;
  const pairs = a.flatMap((left): Pair[] => {
    const right = b.find((other) => only || (other.policy === left.policy && other.rate === left.rate));
    if (right === undefined) return [];
    const names = left.policy === right.policy ? left.policy : `${left.policy} / ${right.policy}`;
    return compared.flatMap(([field, name]): Pair[] => {
      const [x, y] = [left[field], right[field]];
      return typeof x === "number" && typeof y === "number"
        ? [{ result: `${names} at rate ${left.rate}`, name, a: x, b: y }]
        : [];
    });
  });
  const columns: readonly Column<Pair>[] = [
    { title: "result", text: ({ result }) => result, left: true },
    { title: "figure", text: ({ name }) => name, left: true },
    { title: "A", text: (pair) => figure(pair.a) },
    { title: "B", text: (pair) => figure(pair.b) },
    { title: "B/A", text: (pair) => (pair.a === 0 ? "-" : (pair.b / pair.a).toFixed(2)) },
  ];
  return pairs.length === 0 ? [] : tableLines(columns, pairs);
}
