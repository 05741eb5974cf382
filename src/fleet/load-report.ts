// What an engine says of its load in the head of an answer (`endpoint-load-metrics`, as Envoy's and gRPC's ORCA define it): by
// vLLM when a request asks with `endpoint-load-metrics-format`. Two of the figures of its `/metrics`, younger. Pure.
// BIN, protobuf in base64, is not read: no engine writes it, and the router never asks for it.

export const loadReportField = "endpoint-load-metrics";
export const loadReportFormatField = "endpoint-load-metrics-format";

export interface LoadReport {
  /** Requests that wait in the engine; null = it does not say. */
  readonly waiting: number | null;
  /** Share of the KV blocks in use, 0 to 1; null = it does not say. */
  readonly kvUsage: number | null;
}

/** More is no report of a few figures. */
const maxChars = 4096;
const waitingName = "num_requests_waiting";
/** vLLM's, and Triton's. */
const usageNames: readonly string[] = ["kv_cache_usage_perc", "kv_cache_utilization"];

/** @returns null when it can't be read, or tells nothing that is of use here */
export function readLoadReport(value: string): LoadReport | null {
  if (value.length > maxChars) return null;
  const text = /^TEXT\s+(.*)$/i.exec(value)?.[1];
  const json = /^JSON\s+(.*)$/i.exec(value)?.[1];
  const metrics = text !== undefined ? textMetrics(text) : json !== undefined ? jsonMetrics(json) : [];
  // data-parallel ranks stand one behind another: their requests add up, and of their shares it is the mean
  const waiting = metrics.filter(([name]) => name === waitingName).map(([, one]) => one);
  const usage = metrics.filter(([name]) => usageNames.includes(name)).map(([, one]) => one);
  if (waiting.length + usage.length === 0) return null;
  return {
    waiting: waiting.length === 0 ? null : sum(waiting),
    kvUsage: usage.length === 0 ? null : Math.min(1, sum(usage) / usage.length),
  };
}

type Metric = readonly [name: string, value: number];

/** `named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=3.0` */
function textMetrics(text: string): Metric[] {
  return text.split(",").flatMap((part) => {
    const [, name = "", value = ""] = /^\s*named_metrics\.(\w+)\s*=\s*([0-9.eE+-]+)\s*$/.exec(part) ?? [];
    return metric(name, value === "" ? Number.NaN : Number(value));
  });
}

/** `{"named_metrics": {"kv_cache_usage_perc": 0.4}}`, with the name of the field in either of protobuf's spellings */
function jsonMetrics(text: string): Metric[] {
  const report = parsed(text);
  const named = field(report, "named_metrics") ?? field(report, "namedMetrics");
  if (typeof named !== "object" || named === null) return [];
  return Object.entries(named).flatMap(([name, value]) => metric(name, typeof value === "number" ? value : Number.NaN));
}

function metric(name: string, value: number): Metric[] {
  return Number.isFinite(value) && value >= 0 ? [[name, value]] : [];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Object.entries(value).find(([key]) => key === name)?.[1] : null;
}

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);
