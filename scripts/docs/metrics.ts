// docs/metrics.md: every metric that the router emits. Pure: catalogue in, text out.
import { code, generatedNote, table } from "../../src/config/docs/markdown.ts";
import { metricCatalogue, type MetricDefinition } from "../../src/observe/catalogue.ts";

export function metricsPage(): string {
  const metrics: [string, MetricDefinition][] = Object.entries(metricCatalogue);
  const lists = new Map<string, readonly string[]>();
  const labelText = (metric: string, label: string, values: readonly string[] | string): string => {
    if (typeof values === "string") return `${code(label)}: ${values}`;
    if (values.length <= 6) return `${code(label)}: ${values.map(code).join(", ")}`;
    // a long list stands below
    const title = `${label} of ${metric}`;
    lists.set(title, values);
    return `${code(label)}: [closed list](#${title.replaceAll(" ", "-")})`;
  };
  const rows = metrics.map(([name, metric]) => [
    code(name),
    metric.type,
    Object.entries(metric.labels)
      .map(([label, values]) => labelText(name, label, values))
      .join("; "),
    metric.help,
  ]);
  const histograms = metrics.filter(([, metric]) => metric.buckets !== undefined);
  return [
    generatedNote("src/observe/catalogue.ts"),
    "# Metrics",
    "",
    "`GET /metrics` in the text format of Prometheus. Every name and every label value of the router is here; no label ever holds what a client sent. Durations are seconds.",
    "",
    ...table(["Name", "Type", "Labels", "Meaning"], rows),
    "",
    "## Buckets",
    "",
    ...table(
      ["Histogram", "Upper bounds"],
      histograms.map(([name, metric]) => [code(name), [...(metric.buckets ?? []).map(String), "+Inf"].join(", ")]),
    ),
    "",
    "## Label values",
    "",
    ...[...lists].flatMap(([title, values]) => [`### ${title}`, "", values.map(code).join(", "), ""]),
  ].join("\n");
}
