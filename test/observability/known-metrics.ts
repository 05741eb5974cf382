// What a dashboard or rule may name: our catalogue, what was recorded from a real vLLM, and our recording rules.
import { readFileSync } from "node:fs";
import { recordingGroups } from "../../observability/rules/recording.ts";
import { metricCatalogue, type MetricDefinition } from "../../src/observe/catalogue.ts";

export interface KnownMetric {
  readonly type: "counter" | "gauge" | "histogram" | "record";
  /** null = any: a recording rule has those that it keeps. */
  readonly labels: ReadonlySet<string> | null;
}

/** Labels that a scrape adds. */
const scraped = ["instance", "job", "namespace", "pod"];

interface Recorded {
  readonly type: string;
  readonly labels: readonly string[];
}

function read(): ReadonlyMap<string, KnownMetric> {
  const known = new Map<string, KnownMetric>();
  const add = (name: string, type: string, labels: readonly string[]): void => {
    const all = new Set([...labels, ...scraped]);
    if (type === "histogram") {
      known.set(`${name}_bucket`, { type: "counter", labels: new Set([...all, "le"]) });
      known.set(`${name}_sum`, { type: "counter", labels: all });
      known.set(`${name}_count`, { type: "counter", labels: all });
    } else known.set(name, { type: type === "counter" ? "counter" : "gauge", labels: all });
  };
  const own: [string, MetricDefinition][] = Object.entries(metricCatalogue);
  // those of production-stack are for others' dashboards: some of them are named as an engine's own
  for (const [name, metric] of own) if (metric.legacy !== true) add(name, metric.type, Object.keys(metric.labels));
  const digest = JSON.parse(
    readFileSync(new URL("../engine/fixtures/metrics_digest.json", import.meta.url), "utf8"),
  ) as Readonly<Record<string, Recorded>>;
  for (const [name, { type, labels }] of Object.entries(digest)) if (!known.has(name)) add(name, type, labels);
  for (const { rules } of recordingGroups(1)) {
    for (const rule of rules) if ("record" in rule) known.set(rule.record, { type: "record", labels: null });
  }
  return known;
}

export const knownMetrics = read();
