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
  const rowsOf = (some: readonly [string, MetricDefinition][]): string[][] =>
    some.map(([name, metric]) => [
      code(name),
      metric.type,
      Object.entries(metric.labels)
        .map(([label, values]) => labelText(name, label, values))
        .join("; "),
      metric.help,
    ]);
  const head = ["Name", "Type", "Labels", "Meaning"];
  const histograms = metrics.filter(([, metric]) => metric.buckets !== undefined);
  return [
    generatedNote("src/observe/catalogue.ts"),
    "# Metrics",
    "",
    "`GET /metrics` in the text format of Prometheus, or as OpenMetrics for whoever asks for it, which is how Prometheus gets exemplars: the trace ids of single requests. Every name and every label value of the router is here; no label ever holds what a client sent. Durations are seconds.",
    "",
    ...table(head, rowsOf(metrics.filter(([name, { legacy }]) => legacy !== true && !name.startsWith("gen_ai_")))),
    "",
    "## OpenTelemetry's names",
    "",
    "What the semantic conventions for generative AI ask of a model server, with their buckets.",
    "",
    ...table(head, rowsOf(metrics.filter(([name]) => name.startsWith("gen_ai_")))),
    "",
    "## production-stack's names",
    "",
    "For dashboards, adapters and triggers that exist; off with `--no-legacy-metrics`. Some of them are constants, or never set, in production-stack's router; here they hold what their names say. Not here: the semantic cache's and the PII names, since there is neither.",
    "",
    ...table(head, rowsOf(metrics.filter(([, { legacy }]) => legacy === true))),
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
