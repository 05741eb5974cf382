// What finds engines. A source publishes the whole desired set each time, never a change of it, so that a lost event can't
// be wrong for long; what it can't read it leaves as it was.
import type { EndpointSpec } from "../../config/types.ts";

export interface FoundEndpoints {
  readonly endpoints: readonly EndpointSpec[];
  /** More are on their way (pods that are not ready yet): a model that nobody serves may be theirs. */
  readonly expecting: boolean;
}

export const discoveryProblems = [
  "unreachable",
  "unauthorized",
  "forbidden",
  "expired",
  "silent",
  "server_error",
  "bad_data",
] as const;
/** Why a source could not be read; `expired`: the server had forgotten where the router was (410). */
export type DiscoveryProblem = (typeof discoveryProblems)[number];

export interface SourceEvents {
  /** Called with the first whole set, even an empty one, then after each change. */
  readonly publish: (found: FoundEndpoints) => void;
  /** Each failure, for the metric. */
  readonly failed: (problem: DiscoveryProblem) => void;
  /** Worth a line in the log. Said once for a problem that lasts. */
  readonly complain: (text: string) => void;
  /** What was complained of is over. */
  readonly recovered: (text: string) => void;
}

export interface DiscoverySource {
  /** What keeps it from being up to date, for people; null = nothing. */
  readonly problem: string | null;
  /** Since when it may be out of date, by the clock; null = it is up to date. */
  readonly staleSinceMs: number | null;
  stop(): void;
}
