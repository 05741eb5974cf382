// One window of each kind of load: run it against one candidate, read what it cost. What a window means, whether it
// counts and how windows are compared is decided elsewhere.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { chatBody } from "./bodies.ts";
import { startCandidate } from "./candidates.ts";
import type { Candidate, CandidateName, CandidateOptions } from "./candidates.ts";
import { cpuBetween, residentKb, snapshotCpu } from "./cpu.ts";
import type { Job, JobResult } from "./load-process.ts";
import { BenchError, findProgram, nextMessage, scratchDirectory, startPinned } from "./processes.ts";
import type { Started } from "./processes.ts";
import { streamBody } from "../streams.ts";

/** What every window needs: the process that makes streams and latency load, and the core that load belongs on. */
export interface Bench {
  readonly load: Started;
  readonly loadCore: number;
}

/** What one window says about one candidate. */
export interface Window {
  /** Requests or frames that were done. */
  readonly units: number;
  readonly seconds: number;
  readonly candidateUs: number;
  readonly foreignCores: number;
  /** Why the window is worth nothing, where it is. */
  readonly failure?: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** A latency window asks all candidates in turns, so it speaks about all of them. */
export interface LatencyWindow {
  readonly foreignCores: number;
  readonly failure?: string;
  /** By candidate (in the order given) and second. */
  readonly msBySecond: readonly (readonly (readonly number[])[])[];
}

export interface MemoryWindow {
  readonly foreignCores: number;
  readonly failure?: string;
  readonly idleKb: number;
  readonly loadedKb: number;
  readonly streams: number;
}

function failureOf(reasons: Readonly<Record<string, number>>): { failure?: string } {
  const text = Object.entries(reasons)
    .map(([reason, count]) => `${count} x ${reason}`)
    .join(", ");
  return text === "" ? {} : { failure: text };
}

/** What `post.lua` prints. */
interface WrkResult {
  readonly requests: number;
  readonly connect: number;
  readonly read: number;
  readonly write: number;
  readonly status: number;
  readonly timeout: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** POSTs of `bytes` by wrk over keep-alive connections, as fast as the candidate takes them. */
export async function requestWindow(
  bench: Bench,
  candidate: Candidate,
  bytes: number,
  connections: number,
  seconds: number,
): Promise<Window> {
  const wrk = findProgram("wrk");
  if (wrk === undefined) throw new BenchError("wrk is not installed (Debian: apt-get install wrk).");
  const bodyFile = join(scratchDirectory(), `body-${bytes}.json`);
  writeFileSync(bodyFile, chatBody(bytes));
  // wrk knows whole seconds only; it is interrupted for anything shorter, and then still prints its result.
  const limits = ["-t", "1", "-c", String(connections), "-d", `${Math.ceil(seconds)}s`, "--timeout", "10s"];
  const script = ["-s", "test/bench/overhead/post.lua", candidate.url, "--", bodyFile];
  const begin = snapshotCpu(process.pid, candidate.process?.pid);
  const started = startPinned("wrk", bench.loadCore, [wrk, ...limits, ...script], "output");
  const interrupt = setTimeout(() => started.child.kill("SIGINT"), seconds * 1000);
  const output = await started.output();
  clearTimeout(interrupt);
  const cpu = cpuBetween(begin, snapshotCpu(process.pid, candidate.process?.pid));
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new BenchError(`wrk said nothing that could be read: ${started.lastWords()} ${output}`);
  const wrkResult = JSON.parse(line) as WrkResult;
  const { connect, read, write, status, timeout } = wrkResult;
  const errors = Object.entries({ connect, read, write, status, timeout }).filter(([, count]) => count > 0);
  const failure =
    wrkResult.requests === 0 ? { failure: "no request was answered" } : failureOf(Object.fromEntries(errors));
  return {
    units: wrkResult.requests,
    ...cpu,
    ...failure,
    p50Ms: wrkResult.p50Us / 1000,
    p99Ms: wrkResult.p99Us / 1000,
  };
}

async function runJob(bench: Bench, job: Job): Promise<JobResult> {
  const answer = nextMessage<JobResult>(bench.load);
  bench.load.child.send(job);
  const result = await answer;
  if (result.failure !== undefined) throw new BenchError(`the load process failed: ${result.failure}`);
  return result;
}

function streamJob(candidate: Candidate, streams: number, seconds: number, promptBytes: number): Job {
  return {
    kind: "streams",
    watched: { owner: process.pid, candidate: candidate.process?.pid },
    options: { url: candidate.streamUrls, streams, seconds, body: streamBody(promptBytes) },
  };
}

/** Concurrent SSE streams; a unit is a frame that arrived. */
export async function streamWindow(
  bench: Bench,
  candidate: Candidate,
  streams: number,
  seconds: number,
): Promise<Window> {
  const result = await runJob(bench, streamJob(candidate, streams, seconds, 300));
  const seen = result.streams;
  if (seen === undefined) throw new BenchError("the load process answered something else");
  return {
    units: seen.frames,
    ...cpuBetween(result.begin, result.end),
    ...failureOf(seen.reasons),
    p50Ms: seen.delayP50Ms,
    p99Ms: seen.delayP99Ms,
  };
}

/** Open-loop requests of 300 B to all candidates in turns. */
export async function latencyWindow(
  bench: Bench,
  candidates: readonly Candidate[],
  ratePerSecond: number,
  seconds: number,
): Promise<LatencyWindow> {
  const urls = candidates.map((candidate) => candidate.url);
  const options = { urls, ratePerSecond, seconds, body: chatBody(300) };
  const result = await runJob(bench, {
    kind: "latency",
    watched: { owner: process.pid, candidate: undefined },
    options,
  });
  if (result.latency === undefined) throw new BenchError("the load process answered something else");
  const { foreignCores } = cpuBetween(result.begin, result.end);
  return { foreignCores, ...failureOf(result.latency.errors), msBySecond: result.latency.msBySecond };
}

/** Resident memory of a fresh process: idle, and with streams of 1 kB prompts open and flowing. */
export async function memoryWindow(
  bench: Bench,
  name: CandidateName,
  options: CandidateOptions,
  streams: number,
  seconds: number,
): Promise<MemoryWindow> {
  const candidate = await startCandidate(name, options);
  const pid = candidate.process?.pid ?? 0;
  try {
    await new Promise((resolve) => setTimeout(resolve, 1000)); // start-up garbage settles; no condition says when
    const idleKb = residentKb(pid);
    const result = await runJob(bench, streamJob(candidate, streams, seconds, 1000));
    const failure = failureOf(result.streams?.reasons ?? {});
    return { foreignCores: 0, ...failure, idleKb, loadedKb: result.residentKb, streams };
  } finally {
    await candidate.process?.stop();
  }
}
