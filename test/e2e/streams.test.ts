// 600 streams at a frame per 20 ms for a minute, as 600 people reading: the engines, the router and the load are processes
// of their own, and the same load without a router is the control. No frame may be lost, none may be late, and nothing may
// be left when all have gone. Delays are compared only while nobody else uses the machine: they would be the neighbour's. A
// machine whose cores are full with 600 streams is asked again with as many as it has room for.
import assert from "node:assert/strict";
import { fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { cpuBetween, snapshotCpu, type CpuSnapshot } from "../bench/overhead/cpu.ts";
import { runStreams, type StreamsResult } from "../bench/streams.ts";
import { start } from "../commands/process.ts";

const streams = 600;
/** The first is the endurance run; the others only try again to compare on a quiet machine. */
const roundSeconds = [60, 15, 15];
const controlSeconds = 10;
const frameMs = 20;
const allowedMs = 20;
/**
 * Part of their cores that engines and load may need without a router, for lateness with one to be its own and not that of full
 * cores: its reads and writes cost somewhat more. Judged by the control, so that no router excuses itself.
 */
const roomy = 0.7;
/** Cores that others may use while delays are compared: three busy processes of our own need two. */
const foreignLimit = 0.3;

/** Four engines in a process. */
async function startEngines(t: TestContext): Promise<{ urls: string[]; pid: number }> {
  const program = fileURLToPath(new URL("../bench/overhead/fake-engine.ts", import.meta.url));
  const child = fork(program, ["--engines", "4", "--frame-ms", String(frameMs)]);
  t.after(() => child.disconnect());
  const [{ ports }] = (await once(child, "message")) as [{ ports: number[] }];
  assert.ok(child.pid !== undefined);
  return { urls: ports.map((port) => `http://127.0.0.1:${port}`), pid: child.pid };
}

/**
 * The router gets a core of its own and the load and the engines the others, as with clients and engines on other machines:
 * what is measured is the router's lateness, not how the system shares out its cores. The control has the same cores.
 */
function setCoresAside(router: number, others: readonly number[]): void {
  const last = availableParallelism() - 1;
  if (last === 0) return;
  const pins: [number, string][] = [
    [router, String(last)],
    ...others.map((pid): [number, string] => [pid, `0-${last - 1}`]),
  ];
  for (const [pid, cores] of pins) {
    const { status, error, stderr } = spawnSync("taskset", ["-a", "-c", "-p", cores, String(pid)], {
      encoding: "utf8",
    });
    if (status === 0) continue;
    process.stdout.write(`no core is set aside: taskset (Debian: util-linux): ${error?.message ?? stderr}\n`);
  }
}

interface Run extends StreamsResult {
  readonly streams: number;
  readonly foreignCores: number;
  readonly busyCores: number;
}

/** One load, and what other processes of the machine took meanwhile. */
async function run(what: string, url: string | readonly string[], count: number, seconds: number): Promise<Run> {
  let begin: CpuSnapshot | null = null;
  let end: CpuSnapshot | null = null;
  const result = await runStreams({
    url,
    streams: count,
    seconds,
    openTimeoutMs: 30_000,
    onBegin: () => (begin = snapshotCpu(process.pid, undefined)),
    onEnd: () => (end = snapshotCpu(process.pid, undefined)),
  });
  assert.ok(begin !== null && end !== null);
  const { foreignCores, busyCores } = cpuBetween(begin, end);
  const { frames, delayP50Ms, delayP99Ms, delayMaxMs } = result;
  const each = (frames / count / result.seconds).toFixed(1);
  const delays = `p50 ${delayP50Ms.toFixed(1)}, p99 ${delayP99Ms.toFixed(1)}, max ${delayMaxMs.toFixed(1)} ms`;
  process.stdout.write(
    `${count} streams ${what}: ${each} frames/s each, delay ${delays}; ` +
      `${busyCores.toFixed(2)} cores busy, ${foreignCores.toFixed(2)} with others\n`,
  );
  assert.deepEqual(result.reasons, {}, what);
  return { ...result, streams: count, foreignCores, busyCores };
}

/** As many streams as the machine has room for, by what the control took; when fewer, with some reserve. */
function affordable({ streams: had, busyCores }: Run): number {
  const limit = roomy * Math.max(1, availableParallelism() - 1);
  return busyCores <= limit ? had : Math.floor((0.9 * had * limit) / busyCores);
}

/** Whether the router's run could be compared, and was on time; throws where it is late on a machine with room. */
function judged(control: Run, routed: Run): boolean {
  if (Math.max(control.foreignCores, routed.foreignCores) > foreignLimit) return false;
  const rate = ({ frames, seconds }: Run): number => frames / seconds;
  const late = routed.delayP99Ms - control.delayP99Ms;
  const said = `${routed.streams} streams: p99 ${late.toFixed(1)} ms above the control's, of ${allowedMs}`;
  process.stdout.write(`${said}\n`);
  if (late <= allowedMs && rate(routed) > 0.99 * rate(control)) return true;
  if (affordable(control) < control.streams) return false;
  throw new assert.AssertionError({
    message: `${said}; ${rate(routed)} frames/s, ${rate(control)} without the router`,
  });
}

test("600 streams for a minute lose nothing, are not late, and leave nothing behind", async (t) => {
  const { urls: engines, pid: enginesPid } = await startEngines(t);
  const models = engines.map(() => "bench").join(",");
  const argv = [
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--static-backends",
    engines.join(","),
    "--static-models",
    models,
  ];
  const router = start(t, ["router", ...argv]);
  const [, url = ""] = await router.says(/lmstack router listening on (http:\/\/127\.0\.0\.1:\d+)/);
  for (let i = 0, from = 0; i < engines.length; i++) {
    from += (await router.says(/is ready and serves bench/, from)).index + 1;
  }

  setCoresAside(router.pid, [enginesPid, process.pid]);
  let compared = false;
  let now = streams;
  for (const seconds of roundSeconds) {
    const control = await run("direct", engines, now, controlSeconds);
    compared = judged(control, await run("routed", url, now, seconds));
    if (compared) break;
    now = affordable(control);
  }
  if (!compared) process.stdout.write("delays were not compared: the machine was too busy or is too slow\n");

  const gauges = await settled(url);
  assert.ok(gauges.length > 0);
  for (const line of gauges) assert.match(line, / 0$/);
});

/** The in-flight gauges, once the router has seen every client leave. */
async function settled(url: string): Promise<string[]> {
  const began = performance.now();
  for (;;) {
    const text = await (await fetch(`${url}/metrics`)).text();
    const lines = text.split("\n").filter((line) => /^lmstack_\w*(in_flight|buffered_bytes)\b/.test(line));
    // each question is a round trip: no sleep is needed
    if (lines.every((line) => line.endsWith(" 0")) || performance.now() - began > 5000) return lines;
  }
}
