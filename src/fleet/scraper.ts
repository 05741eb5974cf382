// Looks at each engine's `/metrics` now and then. An engine can't tell the router what it has just been sent, so the router
// counts that itself; what is read here corrects it: other routers' requests, the KV cache, hits, a restart. One that says
// nothing useful costs nothing more than being asked more rarely.
import type { Clock, Timer } from "../clock.ts";
import { askEngine } from "./engine-client.ts";
import { readEngineMetrics, type EngineSample } from "./engine-metrics.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Registry } from "./registry.ts";

export interface ScraperOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly registry: Registry;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly engineKey: () => string | null;
  /** @param before the sample before of the same process; null = there is none */
  readonly onSample: (endpoint: Endpoint, sample: EngineSample, before: EngineSample | null) => void;
  /** Nothing useful was said. */
  readonly onNothing: (endpoint: Endpoint, problem: string) => void;
}

/** Questions under way at one time. */
const maxAtOnce = 32;
/** All engines together are not asked more often: parsing what they say is work for the loop that relays. */
const maxPerSecond = 100;
/** One that fails is asked up to so many times more rarely. */
const maxBackoff = 8;

interface Entry {
  dueMs: number;
  busy: boolean;
  failures: number;
  last: EngineSample | null;
}

export class Scraper {
  readonly #options: ScraperOptions;
  readonly #entries = new Map<Endpoint, Entry>();
  #timer: Timer | null = null;
  #underWay = 0;
  #stopped = false;

  constructor(options: ScraperOptions) {
    this.#options = options;
  }

  /** Time between two looks at one engine: longer than asked for in a large fleet. */
  get intervalMs(): number {
    return Math.max(this.#options.intervalMs, (this.#entries.size / maxPerSecond) * 1000);
  }

  /** Looks at the registry again. */
  sync(): void {
    if (this.#stopped) return;
    const { registry, clock, random } = this.#options;
    const present = new Set(registry.list().filter((endpoint) => endpoint.known));
    for (const endpoint of this.#entries.keys()) if (!present.has(endpoint)) this.#entries.delete(endpoint);
    const now = clock.nowMs();
    for (const endpoint of present) {
      // spread from the beginning: those that became ready together must not be asked together for ever
      if (!this.#entries.has(endpoint))
        this.#entries.set(endpoint, {
          dueMs: now + random() * Math.min(1000, this.#options.intervalMs),
          busy: false,
          failures: 0,
          last: null,
        });
    }
    this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#entries.clear();
  }

  readonly #run = (): void => {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#stopped) return;
    const now = this.#options.clock.nowMs();
    let soonest = Number.POSITIVE_INFINITY;
    for (const [endpoint, entry] of this.#entries) {
      if (entry.busy) continue;
      if (entry.dueMs > now) soonest = Math.min(soonest, entry.dueMs);
      else if (this.#underWay < maxAtOnce) void this.#look(endpoint, entry);
    }
    if (soonest !== Number.POSITIVE_INFINITY)
      this.#timer = this.#options.clock.setTimer(Math.max(1, soonest - now), this.#run);
  };

  async #look(endpoint: Endpoint, entry: Entry): Promise<void> {
    const { clock, random, timeoutMs, engineKey } = this.#options;
    entry.busy = true;
    this.#underWay++;
    let problem = "";
    let sample: EngineSample | null = null;
    try {
      const answer = await askEngine(endpoint, "GET", "/metrics", null, engineKey(), timeoutMs, clock);
      if (answer.status === 200) sample = readEngineMetrics(answer.body.toString("latin1"));
      if (sample === null)
        problem = answer.status === 200 ? "no metrics of vLLM" : `/metrics answered ${answer.status}`;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    this.#underWay--;
    entry.busy = false;
    if (this.#stopped || this.#entries.get(endpoint) !== entry) return;
    if (sample === null) {
      if (entry.failures++ === 0) this.#options.onNothing(endpoint, problem);
    } else {
      entry.failures = 0;
      const before = entry.last;
      entry.last = sample;
      this.#options.onSample(endpoint, sample, before);
    }
    const rarely = Math.min(maxBackoff, 2 ** Math.min(entry.failures, 10));
    entry.dueMs = clock.nowMs() + this.intervalMs * rarely * (0.9 + 0.2 * random());
    this.#run();
  }
}
