// How long requests wait, beside how long they would have waited in plain order of arrival: whether late binding makes anybody
// pay for the others. One waits until its first token, in the router or in an engine: a place further on in the one is worth
// nothing if it is paid for in the other. Pure.

import { largest, mean } from "../bench/statistics.ts";

/** A wait that is shorter than this counts as so long: nobody minds being third in a line of a tenth of a second. */
export const graceMs = 1000;
/** A request may wait so many times as long as in order of arrival. */
const fairRatio = 3;

/** Until the first token of a request, and how long that had been if the queue had been in order since it came. */
export interface ComparedWait {
  readonly waitMs: number;
  readonly inOrderMs: number;
}

export interface WaitComparison {
  /** In the router. */
  readonly meanS: number;
  readonly maxS: number;
  /** The same of a whole run in order of arrival. */
  readonly inOrderMeanS: number;
  readonly inOrderMaxS: number;
  /** Requests that waited so long for their first token that it may have been unfair. */
  readonly long: number;
  /** Of these, the largest ratio of that time and the one in order. 0 = there are none. */
  readonly worstRatio: number;
  /** Those that waited more than three times as long. */
  readonly unfair: number;
}

/**
 * Requests that may have been treated unfairly, by place: any other has waited at most three times as long as it must.
 * @param first milliseconds until the first token
 * @param leastMs what that takes at least, in whatever order
 */
export function longWaits(first: readonly number[], leastMs: ArrayLike<number>): number[] {
  return [...first.keys()].filter((at) => (first[at] ?? 0) > fairRatio * Math.max(graceMs, leastMs[at] ?? 0));
}

/** All in milliseconds. @param inOrder of a run in order from its start on, @param compared of those that waited long */
export function compareWaits(
  waits: readonly number[],
  inOrder: readonly number[],
  compared: readonly ComparedWait[],
): WaitComparison {
  const ratios = compared.map(({ waitMs, inOrderMs }) => waitMs / Math.max(inOrderMs, graceMs));
  return {
    meanS: seconds(mean(waits)),
    maxS: seconds(largest(waits)),
    inOrderMeanS: seconds(mean(inOrder)),
    inOrderMaxS: seconds(largest(inOrder)),
    long: compared.length,
    worstRatio: Number(largest(ratios).toFixed(2)),
    unfair: ratios.filter((ratio) => ratio > fairRatio).length,
  };
}

function seconds(ms: number): number {
  return Number((ms / 1000).toFixed(3));
}
