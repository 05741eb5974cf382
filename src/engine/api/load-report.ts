// The `endpoint-load-metrics` of whole completions and chats, as vLLM writes it when a request asks for it: two gauges of each
// rank, as of the last step, in the order of the exposition. Streams never carry it.

import type { EngineApp } from "./app.ts";
import type { Exchange } from "./exchange.ts";
import { pythonFloat } from "./validation.ts";

/** Header pairs; none where nobody asked, or for a format that vLLM does not write. */
export function loadReport(app: EngineApp, exchange: Exchange): readonly string[] {
  const format = exchange.header("endpoint-load-metrics-format")?.toLowerCase();
  if (format !== "text" && format !== "json") return [];
  const gauges = app.ranks.flatMap(({ metrics }) => metrics.view()?.gauges ?? []);
  const metrics: readonly (readonly [string, string])[] = [
    ...gauges.map(({ waiting }) => ["num_requests_waiting", pythonFloat(waiting)] as const),
    ...gauges.map((one) => ["kv_cache_usage_perc", pythonFloat(one.kvBlocksUsed / one.kvBlocksTotal)] as const),
  ];
  if (format === "text") {
    return [
      "endpoint-load-metrics",
      `TEXT ${metrics.map(([name, value]) => `named_metrics.${name}=${value}`).join(", ")}`,
    ];
  }
  // a Python dictionary has each name once, and the last value
  const named = [...new Map(metrics)].map(([name, value]) => `"${name}": ${value}`).join(", ");
  return ["endpoint-load-metrics", `JSON {"named_metrics": {${named}}}`];
}
