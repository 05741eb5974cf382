// One thing that is wrong with what was configured: where it was said, what was said, why it is wrong, the way out.
// Every check of the configuration reports these, and one of them becomes the one line that a person reads. It must
// never hold a secret: values of keys are not shown, only names of files.

import { UsageError } from "../errors/usage-error.ts";

/** Where a value was said. */
export interface Origin {
  /** `--port`, `LMSTACK_PORT`, or the key in a file. */
  readonly name: string;
  /** Set for files. */
  readonly file?: string;
  /** 1-based; set where it is known. */
  readonly line?: number;
}

export interface Problem {
  readonly origin: Origin;
  /** As it was written; `null` where there is none to show. */
  readonly value: string | null;
  readonly reason: string;
  readonly fix: string;
}

const longestShown = 120;

function shown(value: string): string {
  return value.length > longestShown ? `${value.slice(0, longestShown)}...` : value;
}

/** One line: place, name and value: reason; way out. */
export function formatProblem({ origin, value, reason, fix }: Problem): string {
  const place =
    origin.file === undefined ? "" : `${origin.file}${origin.line === undefined ? "" : `:${origin.line}`}: `;
  const said = value === null ? "" : ` ${value === "" ? '""' : shown(value)}`;
  // Names and values come from outside and may hold line ends.
  return `${place}${origin.name}${said}: ${reason}; ${fix}`.replaceAll(/\s+/g, " ");
}

/** `1 engine`, `2 engines` */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** Throws the first problem as a `UsageError` of one line; returns if there is none. */
export function throwFirst(problems: readonly Problem[]): void {
  const [first] = problems;
  if (first === undefined) return;
  throw new UsageError(
    formatProblem(first) + (problems.length === 1 ? "" : ` (and ${count(problems.length - 1, "more problem")})`),
  );
}
