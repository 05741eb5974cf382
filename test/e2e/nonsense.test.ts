// A port scan of nonsense for a minute: 2,000 sockets that never finish their request, the corpus of request smuggling and
// random bytes. Others are served as before: no failure, no socket left, and p99 is printed beside that of a quiet time in
// the same run.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { cpuBetween, snapshotCpu } from "../bench/overhead/cpu.ts";
import { startFakeEngines } from "../bench/overhead/fake-engine.ts";
import { Load } from "../chaos/load.ts";
import { Nonsense } from "../chaos/nonsense.ts";
import { get } from "../helpers/http-client.ts";
import { startLmstack } from "../helpers/process.ts";
import { until } from "../helpers/until.ts";

const quietMs = 10_000;
const nonsenseMs = 60_000;

test("A10, E4: 2,000 slow sockets, broken requests and random bytes for a minute: others do not notice", async (t) => {
  const engines = await startFakeEngines(4, 5);
  t.after(() => engines.close());
  const router = await startLmstack(t, [
    "router",
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--static-backends",
    engines.urls.join(","),
  ]);
  const connections = async (): Promise<number> =>
    Number(/^lmstack_client_connections (\d+)$/m.exec((await get(router.port, "/metrics")).text)?.[1] ?? Number.NaN);
  const descriptors = (): number => readdirSync(`/proc/${router.child.pid}/fd`).length;
  while (!(await get(router.port, "/v1/models")).text.includes("bench"));
  const load = new Load(t, { port: router.port, perSecond: 100, model: "bench", tokens: 3 });
  await until(() => load.ended > 100, "the load runs");
  const before = snapshotCpu(process.pid, router.child.pid);
  const quietSince = performance.now();
  await until(() => performance.now() - quietSince > quietMs, "a quiet time is over");
  const nonsense = new Nonsense({ port: router.port, sockets: 2_000, perSecond: 200, seed: 1 });
  t.after(() => nonsense.stop());
  await until(() => nonsense.sitting === 2_000, "all sit there", 60_000);
  const since = performance.now();
  const quiet = load.quantile(0.99, quietSince);
  const open = descriptors();
  await until(() => performance.now() - since > nonsenseMs, "a minute is over", 2 * nonsenseMs);
  const loud = load.quantile(0.99, since);
  const { foreignCores } = cpuBetween(before, snapshotCpu(process.pid, router.child.pid));
  nonsense.stop();
  await load.stop();
  // times are for people to read: what a shared machine does to a p99 says nothing of the router
  process.stdout.write(
    `p99 ${quiet.toFixed(1)} ms in the quiet, ${loud.toFixed(1)} ms in the nonsense (${(loud / quiet).toFixed(2)} times, mark 2), ` +
      `${nonsense.connections} connections, ${open} descriptors meanwhile; others used ${foreignCores.toFixed(2)} cores\n`,
  );
  assert.deepEqual(load.failures, []);
  for (const began = performance.now(); (await connections()) > 1;)
    assert.ok(performance.now() - began < 20_000, `${await connections()} connections of clients are left`);
  // the question itself, and checks of engines that may be under way
  assert.ok(descriptors() < 60, `${descriptors()} descriptors are left`);
});
