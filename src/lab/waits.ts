// How long each request waits in the router, beside how long it would have waited in plain order of arrival: whether late
// binding makes anybody pay for the others. Pure.

import { mean } from "../bench/statistics.ts";

/** A wait that is shorter than this counts as so long: nobody minds being third in a line of a tenth of a second. */
export const graceMs = 1000;
/** A request may wait so many times as long as in order of arrival. */
const fairRatio = 3;

export interface WaitComparison {
  readonly meanS: number;
  readonly maxS: number;
  readonly inOrderMeanS: number;
  readonly inOrderMaxS: number;
  /** Largest ratio of the two, of one request. */
  readonly worstRatio: number;
  /** Requests that wait more than three times as long. */
  readonly unfair: number;
  /** The most that one waits beyond three times as long; 0 = none does. */
  readonly mostBeyondS: number;
}

/** Both in milliseconds, by request. */
export function compareWaits(waits: readonly number[], inOrder: readonly number[]): WaitComparison {
  let worst = 0;
  let unfair = 0;
  let beyond = 0;
  let longest = 0;
  let longestInOrder = 0;
  for (const [at, wait] of waits.entries()) {
    const ordered = inOrder[at] ?? 0;
    longest = Math.max(longest, wait);
    longestInOrder = Math.max(longestInOrder, ordered);
    const ratio = wait / Math.max(ordered, graceMs);
    if (ratio > worst) worst = ratio;
    if (ratio > fairRatio) unfair++;
    beyond = Math.max(beyond, wait - fairRatio * ordered);
  }
  return {
    meanS: seconds(mean(waits)),
    maxS: seconds(longest),
    inOrderMeanS: seconds(mean(inOrder)),
    inOrderMaxS: seconds(longestInOrder),
    worstRatio: Number(worst.toFixed(2)),
    unfair,
    mostBeyondS: seconds(beyond),
  };
}

function seconds(ms: number): number {
  return Number((ms / 1000).toFixed(3));
}
