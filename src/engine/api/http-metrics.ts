// What the HTTP layer counts, as prometheus-fastapi-instrumentator does in vLLM, and what the tool parser counts. Fed by
// the server when a response has ended; read by the exposition. It must never count the routes that vLLM leaves out.

import { buckets } from "./metric-families.ts";
import { Histogram } from "./metrics.ts";

interface Sizes {
  count: number;
  sum: number;
}

/** Probes and scrapes are not counted. */
const excluded = new Set(["/metrics", "/health", "/load", "/ping", "/version", "/server_info"]);

export class HttpMetrics {
  /** Key: labels in their order. */
  readonly requests = new Map<string, number>();
  readonly requestSizes = new Map<string, Sizes>();
  readonly responseSizes = new Map<string, Sizes>();
  readonly fine = new Histogram(buckets.httpFineSeconds);
  readonly durations = new Map<string, { handler: string; method: string; histogram: Histogram }>();
  /** Answers that went through the tool parser: `mode/outcome` to count. */
  readonly toolParser = new Map<string, number>();

  /** `handler` is the route's template, or `none`. Sizes are the content-length headers', 0 without one. */
  record(
    handler: string,
    method: string,
    status: number,
    sizes: { readonly request: number; readonly response: number },
    seconds: number,
  ): void {
    if (excluded.has(handler)) return;
    const group = `${Math.floor(status / 100)}xx`;
    const key = `handler="${handler}",method="${method}",status="${group}"`;
    this.requests.set(key, (this.requests.get(key) ?? 0) + 1);
    add(this.requestSizes, handler, sizes.request);
    add(this.responseSizes, handler, sizes.response);
    this.fine.observe(seconds);
    let row = this.durations.get(`${handler} ${method}`);
    if (row === undefined) {
      row = { handler, method, histogram: new Histogram(buckets.httpSeconds) };
      this.durations.set(`${handler} ${method}`, row);
    }
    row.histogram.observe(seconds);
  }

  parsedTools(mode: "streaming" | "non_streaming", found: boolean, times = 1): void {
    const key = `${mode}/${found ? "tool_call" : "no_tool_call"}`;
    this.toolParser.set(key, (this.toolParser.get(key) ?? 0) + times);
  }
}

function add(sizes: Map<string, Sizes>, handler: string, bytes: number): void {
  const entry = sizes.get(handler);
  if (entry === undefined) sizes.set(handler, { count: 1, sum: bytes });
  else {
    entry.count++;
    entry.sum += bytes;
  }
}
