// Counters, gauges and histograms whose children are plain objects with a number in them: the hot path increments a field.
// The names come from the catalogue; a child's labels are rendered once. Text format of Prometheus, version 0.0.4. Why not
// prom-client: docs/decisions/0003-metrics-registry.md.
import { metricCatalogue, type MetricDefinition, type MetricName } from "./catalogue.ts";

/** One series of a counter or gauge. */
export class Value {
  value = 0;
  readonly labels: string;

  constructor(labels: string) {
    this.labels = labels;
  }
}

/** One series of a histogram. */
export class Distribution {
  readonly labels: string;
  readonly #bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;

  constructor(labels: string, bounds: readonly number[]) {
    this.labels = labels;
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] ?? 0)) i++;
    this.counts[i] = (this.counts[i] ?? 0) + 1;
    this.sum += value;
  }
}

class Family<Child extends Value | Distribution> {
  readonly name: MetricName;
  readonly #definition: MetricDefinition;
  readonly #labelNames: readonly string[];
  readonly #children = new Map<string, Child>();
  readonly #create: (labels: string) => Child;

  constructor(name: MetricName, create: (labels: string, definition: MetricDefinition) => Child) {
    this.name = name;
    const definition: MetricDefinition = metricCatalogue[name];
    this.#definition = definition;
    this.#labelNames = Object.keys(definition.labels);
    this.#create = (labels) => create(labels, definition);
  }

  /** The series with these label values, in the catalogue's order. */
  child(...values: readonly string[]): Child {
    const key = values.join("\u0000");
    let child = this.#children.get(key);
    if (child === undefined) {
      child = this.#create(this.#labelNames.map((name, i) => `${name}="${escape(values[i] ?? "")}"`).join(","));
      this.#children.set(key, child);
    }
    return child;
  }

  /** Sum over all series of a counter or gauge. */
  total(): number {
    let sum = 0;
    for (const child of this.#children.values()) if (child instanceof Value) sum += child.value;
    return sum;
  }

  /** Forgets all series: for those that are set anew at each scrape. */
  clear(): void {
    this.#children.clear();
  }

  /** Forgets the series whose first label has a value that is not kept: endpoints that are gone. */
  prune(keep: (first: string) => boolean): void {
    for (const key of this.#children.keys()) if (!keep(key.split("\u0000")[0] ?? "")) this.#children.delete(key);
  }

  render(): string {
    const { name } = this;
    let text = `# HELP ${name} ${this.#definition.help}\n# TYPE ${name} ${this.#definition.type}\n`;
    for (const child of this.#children.values()) {
      text +=
        child instanceof Distribution
          ? renderDistribution(name, child, this.#definition.buckets ?? [])
          : renderValue(name, child);
    }
    return text;
  }
}

function renderValue(name: string, child: Value): string {
  return child.labels === "" ? `${name} ${child.value}\n` : `${name}{${child.labels}} ${child.value}\n`;
}

function renderDistribution(name: string, child: Distribution, bounds: readonly number[]): string {
  const prefix = child.labels === "" ? "" : `${child.labels},`;
  const braces = child.labels === "" ? "" : `{${child.labels}}`;
  let text = "";
  let total = 0;
  for (let i = 0; i <= bounds.length; i++) {
    total += child.counts[i] ?? 0;
    text += `${name}_bucket{${prefix}le="${i < bounds.length ? bounds[i] : "+Inf"}"} ${total}\n`;
  }
  return `${text}${name}_sum${braces} ${child.sum}\n${name}_count${braces} ${total}\n`;
}

function escape(value: string): string {
  return value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));
}

type ValueName = { [N in MetricName]: (typeof metricCatalogue)[N]["type"] extends "histogram" ? never : N }[MetricName];
type DistributionName = Exclude<MetricName, ValueName>;

export class MetricsRegistry {
  readonly #families = new Map<MetricName, Family<Value> | Family<Distribution>>();
  readonly #values = new Map<ValueName, Family<Value>>();
  readonly #distributions = new Map<DistributionName, Family<Distribution>>();
  readonly #collectors: (() => void)[] = [];

  constructor() {
    for (const name of Object.keys(metricCatalogue) as MetricName[]) {
      if (isDistribution(name)) {
        const family = new Family<Distribution>(
          name,
          (labels, definition) => new Distribution(labels, definition.buckets ?? []),
        );
        this.#distributions.set(name, family);
        this.#families.set(name, family);
      } else {
        const family = new Family<Value>(name, (labels) => new Value(labels));
        this.#values.set(name, family);
        this.#families.set(name, family);
      }
    }
  }

  /** A counter or gauge. */
  value(name: ValueName): Family<Value> {
    const family = this.#values.get(name);
    if (family === undefined) throw new Error(`no metric ${name}`);
    return family;
  }

  distribution(name: DistributionName): Family<Distribution> {
    const family = this.#distributions.get(name);
    if (family === undefined) throw new Error(`no metric ${name}`);
    return family;
  }

  /** Runs before each scrape, to set what is computed and not counted. */
  onScrape(collect: () => void): void {
    this.#collectors.push(collect);
  }

  render(): string {
    for (const collect of this.#collectors) collect();
    let text = "";
    for (const family of this.#families.values()) text += family.render();
    return text;
  }
}

function isDistribution(name: MetricName): name is DistributionName {
  return metricCatalogue[name].type === "histogram";
}
