// What the machine's CPU did: reads /proc, so that a window's cost is the candidate's own CPU time and not the wall
// clock, and so that a window in which somebody else was busy can be recognised and thrown away. Linux only.
import { readdirSync, readFileSync } from "node:fs";

/** /proc counts in ticks of 10 ms on every Linux that Node runs on (USER_HZ is part of the kernel's ABI). */
const TICK_US = 10_000;

/** CPU counters at one moment, in microseconds since boot or since the process began. */
export interface CpuSnapshot {
  readonly atNs: number;
  /** All cores together, stolen time included: a neighbour on the host disturbs like one on the machine. */
  readonly busyUs: number;
  /** Every process that the benchmark started, itself and the ended children included. */
  readonly oursUs: number;
  /** The candidate alone, with its threads and its children. */
  readonly candidateUs: number;
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return fallback; // the process ended between two reads
  }
}

/** Fields of /proc/PID/stat behind the command name, which may itself hold spaces and parentheses. */
function statFields(pid: number): string[] {
  const text = readOr(`/proc/${pid}/stat`, "");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** User and system time of a process with all its threads, with or without the children that it has waited for. */
function processUs(pid: number): number {
  const fields = statFields(pid);
  let ticks = 0;
  // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from the field behind the name.
  for (let i = 11; i <= 14; i++) ticks += Number(fields[i] ?? 0);
  return ticks * TICK_US;
}

/** A process and its living descendants. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = Number(statFields(pid)[1] ?? 0);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (let i = 0; i < tree.length; i++) tree.push(...(children.get(tree[i] ?? 0) ?? []));
  return tree;
}

/** Time that any core was not idle, from the first line of /proc/stat. */
export function parseBusyUs(stat: string): number {
  const [user, nice, system, , , irq, softirq, steal] = (stat.split("\n")[0] ?? "").split(/\s+/).slice(1).map(Number);
  const ticks = (user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0) + (steal ?? 0);
  return ticks * TICK_US;
}

/**
 * Reads all counters. `owner` is the benchmark's main process: what it started is found through its descendants, so a
 * load generator that has ended is in its `cutime`.
 */
export function snapshotCpu(owner: number, candidate: number | undefined): CpuSnapshot {
  const sum = (pids: number[]): number => pids.reduce((us, pid) => us + processUs(pid), 0);
  const candidateTree = candidate === undefined ? [] : processTree(candidate);
  const ourTree = processTree(owner);
  // The trees first, as walking them takes milliseconds; then all counters as close together as can be.
  return {
    atNs: Number(process.hrtime.bigint()),
    candidateUs: sum(candidateTree),
    busyUs: parseBusyUs(readOr("/proc/stat", "")),
    oursUs: sum(ourTree),
  };
}

/** What a window cost, from the snapshots at its two ends. */
export interface CpuWindow {
  readonly seconds: number;
  readonly candidateUs: number;
  /** Cores that processes other than the benchmark's kept busy, on average. */
  readonly foreignCores: number;
  /** Cores that were busy on average, with whatever. */
  readonly busyCores: number;
}

export function cpuBetween(begin: CpuSnapshot, end: CpuSnapshot): CpuWindow {
  const wallUs = (end.atNs - begin.atNs) / 1000;
  const foreignUs = end.busyUs - begin.busyUs - (end.oursUs - begin.oursUs);
  return {
    seconds: wallUs / 1e6,
    candidateUs: end.candidateUs - begin.candidateUs,
    foreignCores: Math.max(0, foreignUs / wallUs),
    busyCores: (end.busyUs - begin.busyUs) / wallUs,
  };
}

/** Waits until others leave the machine alone for half a second, at most `patienceMs`; whether they did. */
export async function untilQuiet(owner: number, foreignLimit: number, patienceMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + patienceMs;
  while (performance.now() < deadlineMs) {
    const begin = snapshotCpu(owner, undefined);
    await new Promise((resolve) => setTimeout(resolve, 500));
    if (cpuBetween(begin, snapshotCpu(owner, undefined)).foreignCores <= foreignLimit) return true;
  }
  return false;
}

/** Resident memory of a process with its children, in KB. */
export function residentKb(pid: number): number {
  return processTree(pid).reduce((kb, each) => {
    const found = /VmRSS:\s+(\d+) kB/.exec(readOr(`/proc/${each}/status`, ""));
    return kb + Number(found?.[1] ?? 0);
  }, 0);
}
