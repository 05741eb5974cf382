// What a row of the catalogue of metrics is, and the two bounded sets of label values that most rows name.

export interface MetricDefinition {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Label name -> where its values come from: a closed list, or a bounded set in words. */
  readonly labels: Readonly<Record<string, readonly string[] | string>>;
  /** Upper bounds, ascending, without +Inf. */
  readonly buckets?: readonly number[];
  /** Emitted with `--legacy-metrics` only: a name of production-stack. */
  readonly legacy?: true;
}

export const modelValues = "models that are configured or discovered, else `other`";
export const endpointValues = "endpoints that discovery lists";
