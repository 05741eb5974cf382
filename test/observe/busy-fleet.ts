// Metrics of a fleet of which every endpoint has been used, and has been out once: the most series that an endpoint can have.
import { ManualClock } from "../../src/clock.ts";
import { readEngineMetrics } from "../../src/fleet/engine-metrics.ts";
import { Registry } from "../../src/fleet/registry.ts";
import { Sweeper } from "../../src/http/sweeper.ts";
import { kvMetrics, type KvMirror } from "../../src/observe/kv-metrics.ts";
import { Mirror } from "../../src/observe/mirror.ts";
import { RouterMetrics } from "../../src/observe/router-metrics.ts";

const told = readEngineMetrics(
  "vllm:num_requests_running 12\nvllm:num_requests_waiting 3\nvllm:kv_cache_usage_perc 0.421875\nvllm:prefix_cache_queries_total 123456789\nvllm:prefix_cache_hits_total 98765432\nprocess_start_time_seconds 1700000000\n",
);
if (told === null) throw new Error("no sample");
const sample = told;

/** Under `kvaware`. */
function followed(ids: readonly string[]): KvMirror["sources"] {
  return {
    endpoints: ids,
    stateOf: () => "exact",
    blocksOf: () => 123_456,
    countsOf: () => ({ stored: 1_234_567, removed: 1_111_111, cleared: 0, ignored: 0, bad: 0 }),
  };
}

/** A fleet whose every series has been touched. */
export function busyFleet(
  endpoints: number,
  legacy: boolean,
): { metrics: RouterMetrics; shrinkTo: (count: number) => void } {
  const clock = new ManualClock();
  const registry = new Registry({ clock, sweeper: new Sweeper(clock, 500), keepAliveMs: 4_000, engineTls: null });
  const specs = Array.from({ length: endpoints }, (_, i) => ({
    url: `http://10.244.${100 + Math.floor(i / 250)}.${i % 250}:8000`,
    models: [`meta-llama/Llama-3.1-8B-Instruct-${i % 4}`],
    label: null,
    modelType: null,
  }));
  registry.reconcile(specs, { aliases: new Map(), knownModels: [] });
  const metrics = new RouterMetrics({ legacy, windowMs: 60_000 });
  const mirror = new Mirror(metrics, {
    registry,
    clock,
    clientConnections: () => 0,
    keptBytes: () => 0,
    keptBytesLimit: 0,
    staleMs: () => 1,
    bufferedBytes: () => 0,
    draining: () => false,
    revision: () => "static",
    version: "0.0.0",
  });
  const all = registry.list().map(({ id }) => id);
  const kv = kvMetrics(metrics.registry, () => ({ index: { bytes: 1e9 }, sources: followed(all), registry }));
  for (const id of all) kv.recovered(id, "join");
  mirror.follow();
  mirror.stop();
  for (const endpoint of registry.list()) {
    endpoint.becameReady(0);
    endpoint.told = { atMs: 0, sample, hitRate: 0.4 };
    endpoint.breaker.checkFailed(0);
    endpoint.breaker.checkPassed(0);
    const measured = metrics.endpoint(endpoint);
    const model = metrics.model(endpoint.models[0] ?? "");
    for (const outcome of ["ok", "client_gone", "reset", "server_error"] as const) measured.attempt(outcome).value++;
    for (const outcome of ["ok", "client_gone", "engine_error"] as const) {
      measured.sent(0);
      measured.began(0, 123);
      metrics.arrived(model);
      metrics.ended(model, measured, {
        api: "chat",
        outcome,
        status: 200,
        nowMs: 0,
        durationMs: 1234.5,
        firstTokenMs: 123.4,
        overheadMs: 0.1,
        usage: { promptTokens: 100, completionTokens: 20, cachedTokens: 10 },
        exemplar: null,
      });
    }
  }
  return {
    metrics,
    shrinkTo: (count) => registry.reconcile(specs.slice(0, count), { aliases: new Map(), knownModels: [] }),
  };
}
