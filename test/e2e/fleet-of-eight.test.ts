// Eight engines, of which one hangs (its process is stopped: connections are accepted and nothing is answered), one is ten
// times slower than the others, one flaps, and one is half-dead (its health answers, its inference does not). No client sees
// an error where a retry is allowed; the 99th percentile ten seconds later is printed beside that of the healthy fleet in the
// same run.
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { cpuBetween, snapshotCpu } from "../bench/overhead/cpu.ts";
import { Load } from "../chaos/load.ts";
import { temporaryFile } from "../helpers/files.ts";
import { get, post } from "../helpers/http-client.ts";
import { startLmstack, type LmstackProcess } from "../helpers/process.ts";
import { until } from "../helpers/until.ts";

const healthyMs = 10_000;
const settleMs = 10_000;
const brokenMs = 15_000;

async function fault(engine: LmstackProcess, what: object): Promise<void> {
  const answer = await post(engine.port, "/sim/faults", what);
  assert.equal(answer.status, 200, answer.text);
}

test("one hung, one slow, one flapping and one half-dead engine among eight: no client sees an error, nor waits for them", async (t) => {
  const argv = ["engine", "--host", "127.0.0.1", "--port", "0", "--model", "m", "--sim-api", "--preset", "fast"];
  // a decode step of 2 ms, so that an answer takes time that can be told apart; the ninth is ten times slower
  const engines = await Promise.all(
    Array.from({ length: 9 }, (_, i) => startLmstack(t, [...argv, "--speed", i === 8 ? "0.0025" : "0.025"])),
  );
  const [hung, , flapping, halfDead] = engines;
  assert.ok(hung && flapping && halfDead);
  const urls = engines.map(({ url }) => url);
  const list = (present: readonly string[]): string =>
    JSON.stringify({ service_discovery: "static", routing_logic: "leastload", static_backends: present.join(",") });
  const file = temporaryFile(t, "engines.json", list(urls.slice(0, 8)));
  const router = await startLmstack(t, ["router", "--host", "127.0.0.1", "--port", "0", "--dynamic-config-json", file]);
  const ready = async (): Promise<number> =>
    ((await get(router.port, "/engines")).json() as { state: string }[]).filter(({ state }) => state === "ready")
      .length;
  while ((await ready()) < 8);
  const load = new Load(t, { port: router.port, perSecond: 60, model: "m", tokens: 10 });
  const before = snapshotCpu(process.pid, router.child.pid);
  await until(() => load.ended > 60, "the load runs");
  const healthySince = performance.now();
  await until(() => performance.now() - healthySince > healthyMs, "a healthy time is over");
  const healthy = load.quantile(0.99, healthySince);

  // the second one becomes the slow one
  writeFileSync(`${file}.next`, list([...urls.slice(0, 1), ...urls.slice(2)]));
  renameSync(`${file}.next`, file);
  hung.child.kill("SIGSTOP");
  await fault(halfDead, { fault: "error_status", status: 500 });
  const flap = setInterval(() => void fault(flapping, { fault: "refuse", seconds: 1 }).catch(() => undefined), 2_000);
  t.after(() => clearInterval(flap));
  const brokenSince = performance.now();
  await until(() => performance.now() - brokenSince > settleMs, "the router has had its time");
  const settledSince = performance.now();
  await until(() => performance.now() - settledSince > brokenMs, "a broken time is over");
  const broken = load.quantile(0.99, settledSince);
  const { foreignCores } = cpuBetween(before, snapshotCpu(process.pid, router.child.pid));
  clearInterval(flap);
  await load.stop();
  // times are for people to read: what a shared machine does to a p99 says nothing of the router
  process.stdout.write(
    `${load.ended} requests, ${load.failures.length} failed; p99 ${healthy.toFixed(1)} ms healthy, ${broken.toFixed(1)} ms with four broken ` +
      `(${(broken / healthy).toFixed(2)} times); mark 1.5; others used ${foreignCores.toFixed(2)} cores\n`,
  );
  assert.deepEqual(load.failures, []);
});
