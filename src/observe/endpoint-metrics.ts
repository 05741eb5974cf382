// What is measured of one endpoint: its series, bound once, and what happened on it within the window that
// `--request-stats-window` gives, for the gauges of production-stack and the table of `--log-stats`.
import type { AttemptOutcome } from "./catalogue.ts";
import { LegacyMetrics } from "./legacy-metrics.ts";
import { timePerOutputToken, type EndedRequest } from "./model-metrics.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { Distribution, Value } from "./series.ts";
import { SlidingWindow } from "./sliding-window.ts";

export interface EndpointMetricsOptions {
  readonly legacy: boolean;
  /** Length of the window. */
  readonly windowMs: number;
}

export class EndpointMetrics {
  readonly firstToken: Distribution;
  readonly #registry: MetricsRegistry;
  readonly #id: string;
  readonly #windowMs: number;
  readonly #legacy: LegacyMetrics | null;
  readonly #attempts: Partial<Record<AttemptOutcome, Value>> = {};
  readonly #sent: SlidingWindow;
  readonly #duration: SlidingWindow;
  readonly #firstToken: SlidingWindow;
  readonly #decoding: SlidingWindow;
  readonly #perToken: SlidingWindow;
  /** Requests that ended on it, well or not, since the start. */
  finished = 0;

  constructor(registry: MetricsRegistry, id: string, url: string, options: EndpointMetricsOptions) {
    this.#registry = registry;
    this.#id = id;
    const { windowMs } = options;
    this.#windowMs = windowMs;
    this.firstToken = registry.distribution("lmstack_endpoint_time_to_first_token_seconds").child(id);
    this.#legacy = options.legacy ? new LegacyMetrics(registry, url) : null;
    this.#sent = new SlidingWindow(windowMs);
    this.#duration = new SlidingWindow(windowMs);
    this.#firstToken = new SlidingWindow(windowMs);
    this.#decoding = new SlidingWindow(windowMs);
    this.#perToken = new SlidingWindow(windowMs);
  }

  attempt(outcome: AttemptOutcome): Value {
    return (this.#attempts[outcome] ??= this.#registry.value("lmstack_attempts_total").child(this.#id, outcome));
  }

  /** A request was handed to it. */
  sent(nowMs: number): void {
    this.#sent.add(nowMs, 1);
  }

  /** Its first event came. @param waitedMs since the request was handed to it */
  began(nowMs: number, waitedMs: number): void {
    this.firstToken.observe(waitedMs / 1000);
    this.#firstToken.add(nowMs, waitedMs / 1000);
  }

  /** A request ended on it. */
  ended(model: string, request: EndedRequest): void {
    const { nowMs, durationMs, firstTokenMs } = request;
    this.finished++;
    this.#duration.add(nowMs, durationMs / 1000);
    if (firstTokenMs !== null) {
      this.#decoding.add(nowMs, (durationMs - firstTokenMs) / 1000);
      const perTokenMs = timePerOutputToken(durationMs, firstTokenMs, request.usage);
      if (perTokenMs !== null) this.#perToken.add(nowMs, perTokenMs / 1000);
    }
    this.#legacy?.ended(model, request);
  }

  /** Within the window; seconds, null = nothing to take a mean of. */
  recent(nowMs: number): RecentRequests {
    return {
      perSecond: this.#sent.count(nowMs) / (this.#windowMs / 1000),
      duration: this.#duration.mean(nowMs),
      firstToken: this.#firstToken.mean(nowMs),
      decoding: this.#decoding.mean(nowMs),
      perToken: this.#perToken.mean(nowMs),
    };
  }
}

export interface RecentRequests {
  readonly perSecond: number;
  readonly duration: number | null;
  readonly firstToken: number | null;
  readonly decoding: number | null;
  readonly perToken: number | null;
}
