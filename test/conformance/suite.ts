// Runs the sixteen cases on a subject and says how each one ended.
import type { ConformanceCase } from "./cases.ts";
import { NotOffered, type Stand } from "./stand.ts";

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  readonly result: "passed" | "failed" | "not run";
  /** Why it failed or was not run. */
  readonly reason: string;
}

/** Longest that a case may take; a router that hangs is one that fails. */
const caseLimitMs = 90_000;

export async function runCases(
  stand: Stand,
  cases: readonly ConformanceCase[],
  tell: (result: CaseResult) => void,
): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const { id, title, run } of cases) {
    let result: CaseResult = { id, title, result: "passed", reason: "" };
    try {
      await within(caseLimitMs, async () => {
        await stand.calm();
        await run(stand);
      });
    } catch (error) {
      const [reason = ""] = (error instanceof Error ? error.message : String(error)).split("\n\n");
      result = { id, title, result: error instanceof NotOffered ? "not run" : "failed", reason };
      // a case that was broken off may have left it ended, or with other engines
      await stand.subject.restart?.(stand.urls);
    }
    results.push(result);
    tell(result);
  }
  return results;
}

async function within(ms: number, run: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${ms / 1000} s`)), ms);
  });
  try {
    await Promise.race([run(), late]);
  } finally {
    clearTimeout(timer);
  }
}
