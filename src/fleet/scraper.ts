// Looks at each engine's `/metrics` now and then. An engine can't tell the router what it has just been sent, so the router
// counts that itself; what is read here corrects it: other routers' requests, the KV cache, hits, a restart. One that says
// nothing useful costs nothing more than being asked more rarely.
import type { Clock } from "../clock.ts";
import { askEngine } from "./engine-client.ts";
import { readEngineMetrics, type EngineSample } from "./engine-metrics.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Registry } from "./registry.ts";
import { Rota } from "./rota.ts";

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

interface Look {
  failures: number;
  last: EngineSample | null;
}

export class Scraper {
  readonly #options: ScraperOptions;
  readonly #rota: Rota<Look>;

  constructor(options: ScraperOptions) {
    this.#options = options;
    this.#rota = new Rota<Look>({
      clock: options.clock,
      maxAtOnce,
      // spread from the beginning: those that became ready together must not be asked together for ever
      begin: () => ({
        state: { failures: 0, last: null },
        waitMs: options.random() * Math.min(1000, options.intervalMs),
      }),
      ask: (endpoint, state) => this.#look(endpoint, state),
    });
  }

  /** Time between two looks at one engine: longer than asked for in a large fleet. */
  get intervalMs(): number {
    return Math.max(this.#options.intervalMs, (this.#rota.size / maxPerSecond) * 1000);
  }

  /** Looks at the registry again. */
  sync(): void {
    this.#rota.sync(this.#options.registry.list().filter((endpoint) => endpoint.known));
  }

  stop(): void {
    this.#rota.stop();
  }

  async #look(endpoint: Endpoint, look: Look): Promise<number> {
    const { clock, random, timeoutMs, engineKey } = this.#options;
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
    if (!this.#rota.has(endpoint)) return 0;
    if (sample === null) {
      if (look.failures++ === 0) this.#options.onNothing(endpoint, problem);
    } else {
      look.failures = 0;
      const before = look.last;
      look.last = sample;
      this.#options.onSample(endpoint, sample, before);
    }
    const rarely = Math.min(maxBackoff, 2 ** Math.min(look.failures, 10));
    return this.intervalMs * rarely * (0.9 + 0.2 * random());
  }
}
