// 600 streams at a frame per 20 ms for a minute, as 600 people reading: the engines, the router and the load are processes
// of their own, and the same load without a router is the control. No frame may be lost, none may be late, and nothing may
// be left when all have gone. Delays are compared only while nobody else uses the machine: they would be the neighbour's.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
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
/** Cores that others may use while delays are compared: three busy processes of our own need two. */
const foreignLimit = 0.3;

/** Four engines in a process; their origins. */
async function startEngines(t: TestContext): Promise<string[]> {
  const program = fileURLToPath(new URL("../bench/overhead/fake-engine.ts", import.meta.url));
  const child = fork(program, ["--engines", "4", "--frame-ms", String(frameMs)]);
  t.after(() => child.disconnect());
  const [{ ports }] = (await once(child, "message")) as [{ ports: number[] }];
  return ports.map((port) => `http://127.0.0.1:${port}`);
}

interface Run extends StreamsResult {
  readonly foreignCores: number;
}

/** One load, and what other processes of the machine took meanwhile. */
async function run(t: TestContext, what: string, url: string | readonly string[], seconds: number): Promise<Run> {
  let begin: CpuSnapshot | null = null;
  let end: CpuSnapshot | null = null;
  const result = await runStreams({
    url,
    streams,
    seconds,
    openTimeoutMs: 30_000,
    onBegin: () => (begin = snapshotCpu(process.pid, undefined)),
    onEnd: () => (end = snapshotCpu(process.pid, undefined)),
  });
  const foreignCores = begin === null || end === null ? 0 : cpuBetween(begin, end).foreignCores;
  const { frames, delayP50Ms, delayP99Ms, delayMaxMs } = result;
  const each = (frames / streams / result.seconds).toFixed(1);
  const delays = `p50 ${delayP50Ms.toFixed(1)}, p99 ${delayP99Ms.toFixed(1)}, max ${delayMaxMs.toFixed(1)} ms`;
  t.diagnostic(`${what}: ${each} frames/s a stream, delay ${delays}; others used ${foreignCores.toFixed(2)} cores`);
  assert.deepEqual(result.reasons, {}, what);
  return { ...result, foreignCores };
}

/** Whether the router's run could be compared; throws where it falls behind the control. */
function judged(control: Run, routed: Run): boolean {
  if (Math.max(control.foreignCores, routed.foreignCores) > foreignLimit) return false;
  const rate = ({ frames, seconds }: Run): number => frames / seconds;
  assert.ok(rate(routed) > 0.99 * rate(control), `${rate(routed)} frames/s, ${rate(control)} without the router`);
  const limit = control.delayP99Ms + allowedMs;
  assert.ok(routed.delayP99Ms <= limit, `p99 ${routed.delayP99Ms} ms, ${control.delayP99Ms} ms without the router`);
  return true;
}

test("600 streams for a minute lose nothing, are not late, and leave nothing behind", async (t) => {
  const engines = await startEngines(t);
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

  let compared = false;
  for (const seconds of roundSeconds) {
    const control = await run(t, "direct", engines, controlSeconds);
    compared = judged(control, await run(t, "routed", url, seconds));
    if (compared) break;
  }
  if (!compared) t.diagnostic("delays were not compared: other processes kept the machine busy");

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
