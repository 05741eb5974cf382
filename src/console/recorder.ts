// What the console remembers of past requests: the latest of them, the latest errors, an hour of traffic in buckets of ten
// seconds, and the latest first-token times of each endpoint. Bounded, whatever the traffic.

import type { EndedRequest, Entry, TrafficPoint } from "./shapes.ts";

const bucketSeconds = 10;
const buckets = 360;
const maxEntries = 200;
const maxErrors = 50;
const maxTimes = 40;
const maxEndpoints = 4000;
/** Bounds of first-token times grow by a fifth each, from a millisecond to ten minutes. */
const factor = 1.2;
const bins = 75;

class Bucket {
  index = -1;
  requests = 0;
  errors = 0;
  generatedTokens = 0;
  readonly #times = new Uint32Array(bins);
  #measured = 0;

  begin(index: number): void {
    this.index = index;
    this.requests = 0;
    this.errors = 0;
    this.generatedTokens = 0;
    this.#times.fill(0);
    this.#measured = 0;
  }

  time(ms: number): void {
    const bin = Math.min(bins - 1, Math.max(0, Math.ceil(Math.log(Math.max(1, ms)) / Math.log(factor))));
    this.#times[bin] = (this.#times[bin] ?? 0) + 1;
    this.#measured++;
  }

  /** Upper bound of the bin in which the quantile lies: at most a fifth too much. */
  quantile(part: number): number | null {
    if (this.#measured === 0) return null;
    let left = Math.ceil(part * this.#measured);
    for (let bin = 0; bin < bins; bin++) {
      left -= this.#times[bin] ?? 0;
      if (left <= 0) return factor ** bin;
    }
    return factor ** (bins - 1);
  }
}

export class Recorder {
  readonly #wallMs: () => number;
  readonly #entries: Entry[] = [];
  readonly #errors: Entry[] = [];
  readonly #ring = Array.from({ length: buckets }, () => new Bucket());
  readonly #times = new Map<string, number[]>();
  #seq = 0;

  /** @param wallMs milliseconds since the epoch */
  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  get seq(): number {
    return this.#seq;
  }

  ended(request: EndedRequest): void {
    const atMs = this.#wallMs();
    const entry: Entry = { ...request, seq: ++this.#seq, atMs };
    push(this.#entries, entry, maxEntries);
    if (request.error !== null) push(this.#errors, entry, maxErrors);
    const bucket = this.#bucket(Math.floor(atMs / 1000 / bucketSeconds));
    bucket.requests++;
    if (request.error !== null) bucket.errors++;
    bucket.generatedTokens += request.generatedTokens ?? 0;
    if (request.firstTokenMs === null) return;
    bucket.time(request.firstTokenMs);
    if (request.endpoint === null) return;
    let times = this.#times.get(request.endpoint);
    if (times === undefined) {
      if (this.#times.size >= maxEndpoints) this.#times.delete(this.#times.keys().next().value ?? "");
      times = [];
      this.#times.set(request.endpoint, times);
    }
    push(times, Math.round(request.firstTokenMs), maxTimes);
  }

  #bucket(index: number): Bucket {
    const bucket = this.#ring[index % buckets] ?? new Bucket();
    if (bucket.index !== index) bucket.begin(index);
    return bucket;
  }

  /** Requests that ended after the one with this number, oldest first, as far as they are remembered. */
  since(seq: number): readonly Entry[] {
    return this.#entries.filter((entry) => entry.seq > seq);
  }

  get errors(): readonly Entry[] {
    return this.#errors;
  }

  /** First-token times of an endpoint's latest requests, oldest first. */
  times(endpoint: string): readonly number[] {
    return this.#times.get(endpoint) ?? [];
  }

  /** The last hour, from its first request on; the ten seconds that are not over are left out. */
  traffic(): readonly TrafficPoint[] {
    const now = Math.floor(this.#wallMs() / 1000 / bucketSeconds);
    const first = Math.min(...this.#ring.map(({ index }) => (index > now - buckets ? index : Infinity)));
    const points: TrafficPoint[] = [];
    for (let index = first; index < now; index++) {
      const bucket = this.#ring[index % buckets];
      const filled = bucket?.index === index ? bucket : null;
      points.push({
        t: index * bucketSeconds,
        requests: filled?.requests ?? 0,
        errors: filled?.errors ?? 0,
        generatedTokens: filled?.generatedTokens ?? 0,
        ttftP50Ms: filled?.quantile(0.5) ?? null,
        ttftP95Ms: filled?.quantile(0.95) ?? null,
      });
    }
    return points;
  }
}

function push<Item>(list: Item[], item: Item, most: number): void {
  list.push(item);
  if (list.length > most) list.shift();
}
