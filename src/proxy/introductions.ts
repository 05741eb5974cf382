// Requests that come before engines have told which models they have, as in the first second of a router: their model may exist,
// so they wait to hear of it. Between a request's body and its model; who waits looks again with each sweep. Bounded in number
// and time, as any name can be asked for.
import type { Clock } from "../clock.ts";
import type { RouterConfig } from "../config/types.ts";
import type { Registry } from "../fleet/registry.ts";
import { knownModel, notTold } from "./refusals.ts";

/** Four simulated engines on a busy laptop take four seconds to be there; a name that nobody has must not wait for long either. */
export const longestIntroductionMs = 10_000;

export class Introductions {
  readonly #clock: Clock;
  readonly #registry: Registry;
  readonly #limitMs: number;
  readonly #most: number;
  #waiting = 0;

  constructor(clock: Clock, registry: Registry, { timeouts, limits }: Pick<RouterConfig, "timeouts" | "limits">) {
    this.#clock = clock;
    this.#registry = registry;
    this.#limitMs = Math.min(longestIntroductionMs, timeouts.holdMs);
    this.#most = limits.maxQueuedRequests;
  }

  /**
   * The model that a name stands for, or the waiting for it.
   * @param patienceMs for how long the client waits; 0 = it does not say
   * @param before the waiting so far
   * @throws LmstackError when there is none, it may not be waited for, or was for too long
   */
  find(name: string, patienceMs: number, before: Introduction | null): string | Introduction {
    const model = knownModel(this.#registry, name);
    if (model !== null) return model;
    const now = this.#clock.nowMs();
    const waitedMs = before === null ? 0 : now - before.sinceMs;
    const limitMs = patienceMs > 0 ? Math.min(patienceMs, this.#limitMs) : this.#limitMs;
    if (waitedMs >= limitMs || (before === null && this.#waiting >= this.#most)) throw notTold(name, waitedMs);
    if (before !== null) return before;
    this.#waiting++;
    return new Introduction(this.#clock, () => void this.#waiting--);
  }
}

/** The waiting of one request. */
export class Introduction {
  readonly sinceMs: number;
  readonly #clock: Clock;
  readonly #onEnd: () => void;

  constructor(clock: Clock, onEnd: () => void) {
    this.sinceMs = clock.nowMs();
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  /** It waits no more, whatever came of it; once. @returns for how long it did, in milliseconds */
  end(): number {
    this.#onEnd();
    return this.#clock.nowMs() - this.sinceMs;
  }
}
