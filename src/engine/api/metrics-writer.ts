// Prometheus' text format as Python's client writes it. Below the exposition; pure. It must stay as odd as the original:
// scrapers have been written against it.

import type { Family } from "./metric-families.ts";
import type { Histogram } from "./metrics.ts";

export interface HistogramRow {
  readonly histogram: Histogram;
  /** Labels of a line, with `le` in its alphabetical place; null for lines without one. */
  readonly labels: (le: string | null) => string;
}

export type Sample = readonly [labels: string, value: number];

/** The text format as Python's client writes it: floats always with a point, a `_created` gauge beside each counter. */
export class MetricsWriter {
  text = "";
  readonly #created: string;

  constructor(createdSeconds: number) {
    this.#created = pythonNumber(createdSeconds);
  }

  /** Counters of the process itself have no `_created` gauge. */
  gauge(family: Family, samples: readonly Sample[]): void {
    this.#head(family.name, family.help, family.type);
    for (const [labels, value] of samples) this.#line(family.name, labels, value);
  }

  counter(family: Family, samples: readonly Sample[]): void {
    this.gauge(family, samples);
    this.#createdGauges(
      family.name.replace(/_total$/, ""),
      family.help,
      samples.map(([labels]) => labels),
    );
  }

  histogram(family: Family, rows: readonly HistogramRow[]): void {
    const { name } = family;
    this.#head(name, family.help, "histogram");
    for (const { labels, histogram } of rows) {
      let below = 0;
      histogram.bounds.forEach((bound, at) => {
        below += histogram.counts[at] ?? 0;
        this.#line(`${name}_bucket`, labels(pythonNumber(bound)), below);
      });
      this.#line(`${name}_bucket`, labels("+Inf"), histogram.count);
      this.#line(`${name}_count`, labels(null), histogram.count);
      this.#line(`${name}_sum`, labels(null), histogram.sum);
    }
    this.#createdGauges(
      name,
      family.help,
      rows.map((row) => row.labels(null)),
    );
  }

  summary(family: Family, rows: readonly { labels: string; count: number; sum: number }[]): void {
    const { name } = family;
    this.#head(name, family.help, "summary");
    for (const { labels, count, sum } of rows) {
      this.#line(`${name}_count`, labels, count);
      this.#line(`${name}_sum`, labels, sum);
    }
    this.#createdGauges(
      name,
      family.help,
      rows.map((row) => row.labels),
    );
  }

  #createdGauges(name: string, help: string, labels: readonly string[]): void {
    this.#head(`${name}_created`, help, "gauge");
    for (const one of labels) this.text += `${name}_created${one === "" ? "" : `{${one}}`} ${this.#created}\n`;
  }

  #line(name: string, labels: string, value: number): void {
    this.text += `${name}${labels === "" ? "" : `{${labels}}`} ${pythonNumber(value)}\n`;
  }

  #head(name: string, help: string, type: string): void {
    this.text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }
}

/** A number as Python's Prometheus client writes it: always with a point, and an exponent from seven digits on. */
export function pythonNumber(value: number): string {
  const text = Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
  const point = text.indexOf(".");
  if (point <= 6 || value <= 0) return text;
  const mantissa = `${text.charAt(0)}.${text.slice(1, point)}${text.slice(point + 1)}`.replace(/[0.]+$/, "");
  return `${mantissa}e+0${point - 1}`;
}
