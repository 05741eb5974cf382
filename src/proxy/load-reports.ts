// What engines say of their load in the heads of their answers, into what the router knows of them. One that can't be read is
// left aside: the answer is none the worse for it.
import type { Endpoint } from "../fleet/endpoint.ts";
import { readLoadReport } from "../fleet/load-report.ts";
import type { RouterLog } from "../observe/log.ts";
import type { RouterMetrics } from "../observe/router-metrics.ts";
import type { Value } from "../observe/series.ts";

export class LoadReports {
  readonly #log: RouterLog;
  readonly #used: Value;
  readonly #unreadable: Value;
  readonly #complained = new WeakSet<Endpoint>();

  constructor(metrics: RouterMetrics, log: RouterLog) {
    this.#log = log;
    const family = metrics.registry.value("lmstack_load_reports_total");
    this.#used = family.child("used");
    this.#unreadable = family.child("unreadable");
  }

  take(endpoint: Endpoint, text: string, nowMs: number): void {
    const report = readLoadReport(text);
    if (report !== null) {
      this.#used.value++;
      endpoint.load.told({ running: null, ...report }, nowMs);
      return;
    }
    this.#unreadable.value++;
    if (this.#complained.has(endpoint)) return;
    this.#complained.add(endpoint);
    const shown = text.length > 80 ? `${text.slice(0, 80)}...` : text;
    this.#log.warn(`engine ${endpoint.id} reports a load that can't be read: ${JSON.stringify(shown)}`, {
      endpoint: endpoint.id,
    });
  }
}
