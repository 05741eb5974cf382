// The series that the data path holds: plain objects with numbers in them, so that counting is a field's increment. Labels
// are rendered once, when a series is made.

/** One series of a counter or gauge. */
export class Value {
  value = 0;
  readonly labels: string;

  constructor(labels: string) {
    this.labels = labels;
  }
}

/** Where a measurement can be looked up. */
export interface Trace {
  readonly traceId: string;
  /** Unix time. */
  readonly atSeconds: number;
}

export interface Exemplar extends Trace {
  readonly value: number;
}

/** One series of a histogram. */
export class Distribution {
  readonly labels: string;
  readonly #bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;
  /** The latest per bucket; null until a traced request is measured. */
  exemplars: (Exemplar | undefined)[] | null = null;

  constructor(labels: string, bounds: readonly number[]) {
    this.labels = labels;
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    this.observeMany(value, 1);
  }

  /** The same value `times` times. */
  observeMany(value: number, times: number): void {
    const i = this.#bucket(value);
    this.counts[i] = (this.counts[i] ?? 0) + times;
    this.sum += value * times;
  }

  /** The same, remembering where the measurement came from. */
  observeTraced(value: number, { traceId, atSeconds }: Trace): void {
    this.observe(value);
    (this.exemplars ??= [])[this.#bucket(value)] = { traceId, value, atSeconds };
  }

  #bucket(value: number): number {
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] ?? 0)) i++;
    return i;
  }
}
