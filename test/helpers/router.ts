// A router on 127.0.0.1 and a free port, with the options of its command line, a quiet log, and an end when the test ends.
// Use: `const router = await startTestRouter(t, ["--static-backends", engine.url])`, then requests to `router.port`.
import type { TestContext } from "node:test";
import { systemClock, type Clock } from "../../src/clock.ts";
import { loadRouterConfig } from "../../src/config/parse-command.ts";
import type { RouterLog } from "../../src/observe/log.ts";
import type { RouterContext } from "../../src/proxy/context.ts";
import { startRouter, type RunningRouter } from "../../src/proxy/start-router.ts";
import { valueOf } from "./exposition.ts";
import { until } from "./until.ts";

export interface TestRouterOptions {
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly page?: string;
  readonly log?: RouterLog;
  /** Do not wait until every endpoint has passed its first check. */
  readonly early?: boolean;
}

export interface TestRouter {
  readonly url: string;
  readonly port: number;
  readonly running: RunningRouter;
  readonly context: RouterContext;
  /** Value of a metric's series, by name and labels as they are rendered; 0 where there is none. */
  metric(series: string): number;
  /** Waits until no request is under way, and checks that nothing of them is left: no load, no connection in use. */
  idle(): Promise<void>;
}

/** @param argv options of `lmstack router`; host, port and log level are set here */
export async function startTestRouter(
  t: TestContext,
  argv: readonly string[],
  options: TestRouterOptions = {},
): Promise<TestRouter> {
  const quiet = ["--host", "127.0.0.1", "--port", "0", "--log-level", "critical", "--log-format", "json"];
  // engines made of bytes count what they are asked
  if (!argv.includes("--engine-stats-interval")) quiet.push("--engine-stats-interval", "0");
  // who has no engine is told so at once, where waiting for one is not what is tested
  if (!argv.includes("--hold-timeout-seconds")) quiet.push("--hold-timeout-seconds", "0");
  const { config } = loadRouterConfig([...quiet, ...argv], {});
  const running = await startRouter(config, {
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
    version: "0.0.0-test",
    page: options.page ?? null,
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  t.after(() => running.close());
  const { context } = running;
  if (options.early !== true) {
    await until(() => context.registry.list().every((endpoint) => endpoint.known), "every endpoint is known");
  }
  const metric = (series: string): number => valueOf(context.metrics.registry.render(), series);
  return {
    url: running.url,
    port: running.port,
    running,
    context,
    metric,
    async idle() {
      await until(() => context.active.size === 0, "no request is under way");
      for (const endpoint of context.registry.list()) {
        if (endpoint.queued !== 0 || endpoint.running !== 0) {
          throw new Error(`${endpoint.id} keeps a load of ${endpoint.queued} queued and ${endpoint.running} running`);
        }
      }
      for (const line of context.metrics.registry.render().split("\n")) {
        if (/^lmstack_(requests_in_flight|endpoint_in_flight|buffered_bytes)\b.* [^0]/.test(line)) {
          throw new Error(`a gauge is not back at 0: ${line}`);
        }
      }
    },
  };
}
