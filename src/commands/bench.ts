// `lmstack bench`: puts a workload on a URL in real time and says what came out; or holds two results against each other.
// Wires the parts together; it holds no logic of its own. Exit code 1 when the run means nothing.

import { runLoad, type LoadProgress, type LoadRun } from "../bench/load/run-load.ts";
import { StreamClient } from "../bench/load/stream-client.ts";
import { comparison, readResults } from "../bench/report/comparison.ts";
import { loadPage, loadTable } from "../bench/report/load-report.ts";
import { figure } from "../bench/report/table.ts";
import { loadWorkload } from "../bench/workload/source.ts";
import { atRate, type Workload } from "../bench/workload/workload.ts";
import { systemClock } from "../clock.ts";
import { diskFiles, readText } from "../config/files.ts";
import type { BenchOptions } from "../config/types.ts";
import { UsageError } from "../errors/usage-error.ts";
import { progressBar } from "./progress-bar.ts";
import { aboutWorkload, workloadRates, workloadSource, writeResult } from "./workload.ts";

const defaultRequests = 200;

/** @returns exit code. @throws UsageError for what can't be run */
export async function runBench(options: BenchOptions): Promise<number> {
  const base = urlOf(options.url);
  const workload = loadWorkload(workloadSource(options, defaultRequests));
  const [rate = 1] = workloadRates(options, workload);
  const model = options.model ?? (await firstModel(base, options.apiKey));
  const about = [...aboutWorkload(workload), `${base.href} with ${model}, seed ${options.seed}`];
  for (const line of about) process.stderr.write(`${line}\n`);

  const { stderr } = process;
  const bar = progressBar(
    { isTTY: stderr.isTTY, columns: stderr.columns ?? 80, write: (text) => stderr.write(text) },
    () => systemClock.nowMs(),
  );
  // Timers of the clock do not keep a process alive, and before the first request nothing else does.
  const alive = setInterval(() => undefined, 1000);
  let run: LoadRun;
  try {
    run = await runLoad(atRate(workload, rate), rate, { ...options, url: base, model }, systemClock, (now) =>
      bar.update(now.ended / now.total, live(now)),
    );
  } finally {
    clearInterval(alive);
    bar.end();
  }
  process.stdout.write(`${loadTable(run.result).join("\n")}\n`);
  if (options.json !== null) writeResult("--json", options.json, jsonText(options, workload, run));
  if (options.html !== null) writeResult("--html", options.html, loadPage(about, run));
  return run.result.discarded === null ? 0 : 1;
}

/** @throws UsageError when one of them holds no results */
export function runComparison([a = "", b = ""]: readonly string[]): Promise<number> {
  const read = (path: string): ReturnType<typeof readResults> => {
    const file = readText(diskFiles, path);
    if ("reason" in file) throw new UsageError(`--compare ${path}: ${file.reason}; give the path of a readable file`);
    return readResults(path, file.text);
  };
  const lines = comparison(read(a), read(b));
  if (lines.length === 0) {
    throw new UsageError(`--compare ${a} ${b}: no result of the same policy and rate; compare runs that have one`);
  }
  process.stdout.write(`${lines.join("\n")}\n`);
  return Promise.resolve(0);
}

function urlOf(text: string): URL {
  // an address that ends in /v1, as SDKs want it, means the same
  const url = URL.canParse(text) ? new URL(text.replace(/\/v1\/?$/, "")) : null;
  if (url !== null && /^https?:$/.test(url.protocol)) return url;
  throw new UsageError(`--url ${text}: not a URL; write one such as http://localhost:30080`);
}

async function firstModel(base: URL, apiKey: string | null): Promise<string> {
  const client = new StreamClient(base, apiKey, systemClock);
  try {
    return await client.firstModel();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--url ${base.href}: ${reason}; start what is to be measured, or give --model`);
  } finally {
    client.close();
  }
}

function live({ sent, ended, total, failed, ttftP50S, ttftP90S, tokensPerS }: LoadProgress): string {
  const bad = failed === 0 ? "" : `, ${failed} failed`;
  return (
    `${ended} of ${total}, ${sent - ended} in flight${bad}, ` +
    `TTFT p50 ${figure(ttftP50S)} s p90 ${figure(ttftP90S)} s, ${figure(tokensPerS)} tokens/s`
  );
}

function jsonText(options: BenchOptions, { name, requests, notes }: Workload, { result, seconds }: LoadRun): string {
  const report = {
    kind: "lmstack bench",
    workload: { name, requests: requests.length, notes },
    url: options.url,
    seed: options.seed,
    results: [result],
    seconds,
  };
  return `${JSON.stringify(report, null, 2)}\n`;
}
