// `--log-stats`: what each engine did lately, on standard output, in the layout that production-stack's users know.
import type { Clock, Timer } from "../clock.ts";
import type { Registry } from "../fleet/registry.ts";
import type { RouterLog } from "./log.ts";
import type { RouterMetrics } from "./router-metrics.ts";

export interface StatsLogOptions {
  readonly clock: Clock;
  readonly registry: Registry;
  readonly metrics: RouterMetrics;
  readonly log: RouterLog;
  readonly intervalMs: number;
}

export class StatsLog {
  readonly #options: StatsLogOptions;
  #timer: Timer;

  constructor(options: StatsLogOptions) {
    this.#options = options;
    this.#timer = this.#arm();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #arm(): Timer {
    return this.#options.clock.setTimer(this.#options.intervalMs, () => {
      this.#print();
      this.#timer = this.#arm();
    });
  }

  #print(): void {
    const { clock, registry, metrics, log } = this.#options;
    const now = clock.nowMs();
    const rows = registry.list().map((endpoint) => {
      const measured = metrics.endpoint(endpoint);
      const recent = measured.recent(now);
      return {
        models: endpoint.models,
        server: endpoint.url,
        state: endpoint.state(now),
        prefillRequests: endpoint.queued,
        decodingRequests: endpoint.running,
        qps: recent.perSecond,
        avgTtft: recent.firstToken,
        avgLatency: recent.duration,
        avgItl: recent.perToken,
        finished: measured.finished,
        uptimeSeconds: endpoint.uptimeMs(now) / 1000,
      };
    });
    log.stats(rows);
  }
}
