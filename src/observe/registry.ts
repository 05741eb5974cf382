// Families of series, made from the catalogue and from nothing else: what is not there can't be emitted. Why not
// prom-client: docs/decisions/0003-metrics-registry.md.
import { metricCatalogue, type MetricDefinition, type MetricName } from "./catalogue.ts";
import { endOf, renderFamily, renderLabels, type Format } from "./exposition.ts";
import { Distribution, Value } from "./series.ts";

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
    const key = keyOf(values);
    let child = this.#children.get(key);
    if (child === undefined) {
      child = this.#create(renderLabels(this.#labelNames, values));
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

  get size(): number {
    return this.#children.size;
  }

  /** Forgets one series. */
  remove(...values: readonly string[]): void {
    this.#children.delete(keyOf(values));
  }

  /** Forgets all series: for those that are set anew at each scrape. */
  clear(): void {
    this.#children.clear();
  }

  /** Forgets the series whose first label has a value that is not kept: endpoints that are gone. */
  prune(keep: (first: string) => boolean): void {
    for (const key of this.#children.keys()) {
      const end = key.indexOf("\u0000");
      if (!keep(end < 0 ? key : key.slice(0, end))) this.#children.delete(key);
    }
  }

  render(format: Format): string {
    return renderFamily(this.name, this.#definition, this.#children.values(), format);
  }
}

function keyOf(values: readonly string[]): string {
  return values.length === 1 ? (values[0] ?? "") : values.join("\u0000");
}

type ValueName = { [N in MetricName]: (typeof metricCatalogue)[N]["type"] extends "histogram" ? never : N }[MetricName];
type DistributionName = Exclude<MetricName, ValueName>;

export interface RegistryOptions {
  /** Emit the families that are production-stack's. */
  readonly legacy: boolean;
}

export class MetricsRegistry {
  readonly #families = new Map<MetricName, Family<Value> | Family<Distribution>>();
  readonly #values = new Map<ValueName, Family<Value>>();
  readonly #distributions = new Map<DistributionName, Family<Distribution>>();
  readonly #collectors: (() => void)[] = [];

  /** Whether production-stack's families are there. */
  readonly legacy: boolean;

  constructor({ legacy }: RegistryOptions) {
    this.legacy = legacy;
    for (const name of Object.keys(metricCatalogue) as MetricName[]) {
      const definition: MetricDefinition = metricCatalogue[name];
      if (definition.legacy === true && !legacy) continue;
      if (isDistribution(name)) {
        const family = new Family<Distribution>(name, (labels, { buckets }) => new Distribution(labels, buckets ?? []));
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

  /** Series of all families. */
  get size(): number {
    let size = 0;
    for (const family of this.#families.values()) size += family.size;
    return size;
  }

  /** Forgets the series of endpoints that are gone, in every family whose first label names one. */
  pruneEndpoints(ids: ReadonlySet<string>, urls: ReadonlySet<string>): void {
    for (const [name, family] of this.#families) {
      const [first] = Object.keys(metricCatalogue[name].labels);
      if (first === "endpoint") family.prune((id) => ids.has(id));
      else if (first === "server") family.prune((url) => urls.has(url));
    }
  }

  /** Runs before each scrape, to set what is computed and not counted. */
  onScrape(collect: () => void): void {
    this.#collectors.push(collect);
  }

  render(format: Format = "prometheus"): string {
    for (const collect of this.#collectors) collect();
    let text = "";
    for (const family of this.#families.values()) text += family.render(format);
    return text + endOf[format];
  }
}

function isDistribution(name: MetricName): name is DistributionName {
  return metricCatalogue[name].type === "histogram";
}
