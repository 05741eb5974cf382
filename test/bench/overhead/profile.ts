// Where our router's CPU goes: one fresh router per load under V8's sampling profiler, then the functions by their own
// time. The .cpuprofile files stay for Chrome's DevTools or speedscope.
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { startCandidate } from "./candidates.ts";
import type { Candidate, CandidateOptions } from "./candidates.ts";
import type { LoadName } from "./options.ts";
import { BenchError } from "./processes.ts";

/** The parts of V8's profile format that are read here: samples name nodes, deltas are microseconds. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Runs one load against a profiled router and returns the table of its functions. */
export async function profileLoad(
  load: LoadName,
  directory: string,
  options: CandidateOptions,
  drive: (candidate: Candidate) => Promise<string>,
): Promise<string> {
  const into = join(directory, load);
  mkdirSync(into, { recursive: true });
  const candidate = await startCandidate("ours", {
    ...options,
    nodeFlags: ["--cpu-prof", `--cpu-prof-dir=${into}`, "--cpu-prof-interval", "500"],
    routerFlags: [...(options.routerFlags ?? []), "--drain-delay-seconds", "0"],
  });
  const result = await drive(candidate);
  await candidate.process?.stop(30_000); // the profile is written when the router ends by itself
  const newest = readdirSync(into)
    .filter((name) => name.endsWith(".cpuprofile"))
    .toSorted()
    .at(-1);
  if (newest === undefined) throw new BenchError(`no profile in ${into}: the router did not end by itself on SIGTERM.`);
  const file = join(into, newest);
  return `${load}: ${result}\n${topFunctions(JSON.parse(readFileSync(file, "utf8")) as CpuProfile)}\n  whole profile: ${file}`;
}

/** Functions by own time, busiest first, as shares of the time that the process was not idle. */
export function topFunctions(profile: CpuProfile, count = 25): string {
  const names = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    const where = callFrame.url === "" ? "" : ` ${shortUrl(callFrame.url)}:${callFrame.lineNumber + 1}`;
    names.set(id, `${callFrame.functionName === "" ? "(anonymous)" : callFrame.functionName}${where}`);
  }
  const ownUs = new Map<string, number>();
  let busyUs = 0;
  profile.samples.forEach((node, i) => {
    const name = names.get(node) ?? "?";
    const us = profile.timeDeltas[i] ?? 0;
    if (name === "(idle)") return;
    busyUs += us;
    ownUs.set(name, (ownUs.get(name) ?? 0) + us);
  });
  const top = [...ownUs].toSorted((a, b) => b[1] - a[1]).slice(0, count);
  return top.map(([name, us]) => `  ${((100 * us) / busyUs).toFixed(1).padStart(5)} %  ${name}`).join("\n");
}

function shortUrl(url: string): string {
  const from = url.lastIndexOf("/src/");
  return from < 0 ? url.split("/").slice(-2).join("/") : url.slice(from + 1);
}
