// Models whose requests wait for an endpoint to appear, as they are seen from outside: in metrics for each request, in the log
// when the first of a model begins to wait and when the model has an endpoint again.
import type { HoldResult } from "../observe/catalogue.ts";
import type { RouterLog } from "../observe/log.ts";
import type { RouterMetrics } from "../observe/router-metrics.ts";

export class Holds {
  readonly #metrics: RouterMetrics;
  readonly #log: RouterLog;
  readonly #waiting = new Map<string, number>();

  constructor(metrics: RouterMetrics, log: RouterLog) {
    this.#metrics = metrics;
    this.#log = log;
  }

  began(model: string): void {
    const before = this.#waiting.get(model) ?? 0;
    this.#waiting.set(model, before + 1);
    if (before === 0) this.#log.warn(`model ${model}: no engine may be used, its requests wait for one`, { model });
  }

  /** @param waitedMs since it had none */
  ended(model: string, result: HoldResult, waitedMs: number): void {
    const left = (this.#waiting.get(model) ?? 1) - 1;
    if (left > 0) this.#waiting.set(model, left);
    else this.#waiting.delete(model);
    this.#metrics.registry.value("lmstack_held_requests_total").child(model, result).value++;
    if (left > 0) return;
    const after = `after ${(waitedMs / 1000).toFixed(1)} s`;
    if (result === "found")
      this.#log.info(`model ${model}: an engine is there ${after}, none of its requests waits for one`, { model });
    else if (result === "timeout")
      this.#log.error(`model ${model}: no engine came, the last request that waited was given up ${after}`, { model });
  }
}
