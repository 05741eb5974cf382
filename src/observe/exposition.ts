// Series as text: the format of Prometheus (version 0.0.4), and OpenMetrics 1.0 for whoever asks for it, which alone can
// carry exemplars. Bounds of buckets are written alike in both (`1.0`, as vLLM writes them), or a scraper that changes its
// mind would see other series.
import type { MetricDefinition } from "./metric-definition.ts";
import { Distribution, type Exemplar, type Value } from "./series.ts";

export type Format = "prometheus" | "openmetrics";

export const contentTypes: Readonly<Record<Format, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** What a scraper's `Accept` asks for. */
export function formatFor(accept: string | null): Format {
  return accept !== null && /\bapplication\/openmetrics-text\b/i.test(accept) ? "openmetrics" : "prometheus";
}

/** What ends an exposition. */
export const endOf: Readonly<Record<Format, string>> = { prometheus: "", openmetrics: "# EOF\n" };

export function renderFamily(
  name: string,
  definition: MetricDefinition,
  children: Iterable<Value | Distribution>,
  format: Format,
): string {
  const family = format === "openmetrics" && definition.type === "counter" ? name.replace(/_total$/, "") : name;
  let text = `# HELP ${family} ${definition.help}\n# TYPE ${family} ${definition.type}\n`;
  const bounds = [...(definition.buckets ?? []), Number.POSITIVE_INFINITY].map(numberText);
  for (const child of children) {
    text += child instanceof Distribution ? renderDistribution(name, child, bounds, format) : renderValue(name, child);
  }
  return text;
}

/** Label pairs as they stand between the braces. */
export function renderLabels(names: readonly string[], values: readonly string[]): string {
  let text = "";
  for (let i = 0; i < names.length; i++) text += `${i === 0 ? "" : ","}${names[i]}="${escape(values[i] ?? "")}"`;
  return text;
}

function renderValue(name: string, child: Value): string {
  const value = Number.isFinite(child.value) ? `${child.value}` : numberText(child.value);
  return child.labels === "" ? `${name} ${value}\n` : `${name}{${child.labels}} ${value}\n`;
}

function renderDistribution(name: string, child: Distribution, bounds: readonly string[], format: Format): string {
  const prefix = child.labels === "" ? "" : `${child.labels},`;
  const braces = child.labels === "" ? "" : `{${child.labels}}`;
  const { counts, exemplars } = child;
  let text = "";
  let total = 0;
  for (let i = 0; i < bounds.length; i++) {
    total += counts[i] ?? 0;
    const exemplar = exemplars !== null && format === "openmetrics" ? renderExemplar(exemplars[i]) : "";
    text += `${name}_bucket{${prefix}le="${bounds[i]}"} ${total}${exemplar}\n`;
  }
  return `${text}${name}_sum${braces} ${child.sum}\n${name}_count${braces} ${total}\n`;
}

function renderExemplar(exemplar: Exemplar | undefined): string {
  if (exemplar === undefined) return "";
  return ` # {trace_id="${exemplar.traceId}"} ${exemplar.value} ${exemplar.atSeconds.toFixed(3)}`;
}

/** A floating-point number as both formats write it. */
function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return Number.isInteger(value) ? `${value}.0` : `${value}`;
}

function escape(value: string): string {
  // nearly none has one of these, and a replacement costs more than a look
  return !/[\\"\n]/.test(value) ? value : value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));
}
