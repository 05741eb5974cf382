// Restarts under 200 requests a second, of the router and of its engines: not one request fails.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { startEngine, type EngineOptions, type RunningEngine } from "../../src/engine/serve.ts";
import { temporaryFile } from "../helpers/files.ts";
import { get } from "../helpers/http-client.ts";
import { startLmstack } from "../helpers/process.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { Load } from "./load.ts";

const engineOptions: EngineOptions = { models: ["m"], preset: "fast", simApi: true };

async function startEngines(t: TestContext, count: number, options: EngineOptions = {}): Promise<RunningEngine[]> {
  const engines = await Promise.all(Array.from({ length: count }, () => startEngine({ ...engineOptions, ...options })));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  return engines;
}

test("G1: a new process takes over the listening socket under load (SIGUSR2), the old one drains, and no request fails", async (t) => {
  const engines = await startEngines(t, 4);
  const backends = engines.map(({ url }) => url).join(",");
  const old = await startLmstack(t, [
    "router",
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--static-backends",
    backends,
    "--drain-delay-seconds",
    "0.7",
  ]);
  const ready = async (): Promise<boolean> => (await get(old.port, "/ready")).status === 200;
  const known = async (): Promise<number> =>
    ((await get(old.port, "/engines")).json() as { state: string }[]).filter(({ state }) => state === "ready").length;
  while (!(await ready()) || (await known()) < 4);
  const load = new Load(t, { port: old.port, perSecond: 200, model: "m", tokens: 10 });
  await until(() => load.ended > 100, "the load runs");
  const started = async (): Promise<string> =>
    /^process_start_time_seconds (.*)$/m.exec((await get(old.port, "/metrics")).text)?.[1] ?? "";
  const before = await started();
  old.child.kill("SIGUSR2");
  await until(() => /process (\d+) has taken over/.test(old.output()), "a successor serves");
  const successor = Number(/process (\d+) has taken over/.exec(old.output())?.[1]);
  t.after(() => {
    try {
      process.kill(successor, "SIGKILL");
    } catch {
      // it has ended already
    }
  });
  assert.ok(await ready(), "the address is ready all the time");
  assert.equal(await old.exited, 0);
  const at = load.ended;
  await until(() => load.ended > at + 100, "the load goes on without the old process");
  assert.notEqual(await started(), before, "another process answers");
  await load.stop();
  assert.deepEqual(load.failures, []);
  assert.equal(load.ended, load.sent);
});

test("G1: a successor that can't start changes nothing, and the log says why", async (t) => {
  const [engine] = await startEngines(t, 1);
  // its dynamic file is gone when the successor wants to read it
  const file = temporaryFile(
    t,
    "engines.json",
    JSON.stringify({ service_discovery: "static", routing_logic: "roundrobin", static_backends: engine?.url }),
  );
  const router = await startLmstack(t, ["router", "--host", "127.0.0.1", "--port", "0", "--dynamic-config-json", file]);
  rmSync(file);
  router.child.kill("SIGUSR2");
  await until(() => router.output().includes("this process goes on"), "the log says that it failed");
  assert.equal((await get(router.port, "/ready")).status, 200);
  router.child.kill("SIGTERM");
});

test("G3, B8: eight engines restart one after the other under load, each while it drains, and no request fails", async (t) => {
  // as vLLM with --shutdown-timeout: requests in flight finish, new ones get 500 until the process ends
  const options = { shutdownTimeoutSeconds: 0.3 };
  const engines = await startEngines(t, 8, options);
  const router = await startTestRouter(t, ["--static-backends", engines.map(({ url }) => url).join(",")]);
  const load = new Load(t, { port: router.port, perSecond: 200, model: "m", tokens: 10 });
  await until(() => load.ended > 100, "the load runs");
  for (const [i, engine] of engines.entries()) {
    await engine.close();
    engines[i] = await startEngine({ ...engineOptions, ...options, port: engine.port });
    const at = load.ended;
    await until(() => load.ended > at + 20, "the load goes on");
  }
  // each of them serves again
  await until(
    () => router.context.registry.list().every((endpoint) => endpoint.state(performance.now()) === "ready"),
    "all are back",
  );
  await load.stop();
  assert.deepEqual(load.failures, []);
  await router.idle();
  t.diagnostic(
    `${load.ended} requests, ${router.metric('lmstack_retries_total{reason="server_error"}')} retries after 500`,
  );
});

test("G1: a socket that was not inherited is told as a mistake of one line", async (t) => {
  await assert.rejects(
    startLmstack(t, ["router", "--static-backends", "http://127.0.0.1:1", "--static-models", "m", "--listen-fd", "9"]),
    /ended with 2: lmstack: --listen-fd 9: this process has inherited no listening socket there \(E\w+\); leave it out/,
  );
});
