// One request that waits in the router: for room on an endpoint, or, where its model has none that may be used, for an endpoint
// to appear (scale from zero). It says when the waiting is over for a reason other than its turn, and what came of it; the
// order of those that wait is `admission/queue.ts`.
import type { LmstackError } from "../errors/catalogue.ts";
import type { RouterContext } from "./context.ts";
import { noEndpoint, queueTimeout } from "./refusals.ts";

/** How long the client waits for its answer. */
export interface Patience {
  readonly sinceMs: number;
  /** 0 = it does not say. */
  readonly patienceMs: number;
}

export class EndpointWait {
  readonly sinceMs: number;
  readonly #ctx: RouterContext;
  readonly #model: string;
  readonly #client: Patience;
  /** There has been no endpoint since then; below 0 = there is one. */
  #absentSinceMs = -1;

  /** @param absent no endpoint may be used now */
  constructor(ctx: RouterContext, model: string, client: Patience, nowMs: number, absent: boolean) {
    this.#ctx = ctx;
    this.#model = model;
    this.#client = client;
    this.sinceMs = nowMs;
    if (absent) this.#lack(nowMs);
  }

  /** @returns why it is over: it took longer than the client waits, or all endpoints have been gone for too long */
  look(nowMs: number, absent: boolean): LmstackError | null {
    const { sinceMs, patienceMs } = this.#client;
    if (patienceMs > 0 && nowMs - sinceMs >= patienceMs) return queueTimeout(this.#model, patienceMs);
    if (!absent) this.#had("found", nowMs);
    else if (this.#absentSinceMs < 0) this.#lack(nowMs);
    if (this.#absentSinceMs < 0 || nowMs - this.#absentSinceMs < this.#ctx.config.timeouts.holdMs) return null;
    this.#had("timeout", nowMs);
    return noEndpoint(this.#ctx.registry, this.#model, nowMs, nowMs - this.sinceMs);
  }

  /** It waits no more. @param found an endpoint has been chosen */
  end(nowMs: number, found: boolean): void {
    this.#had(found ? "found" : "left", nowMs);
  }

  #lack(nowMs: number): void {
    this.#absentSinceMs = nowMs;
    this.#ctx.holds.began(this.#model);
  }

  #had(result: "found" | "timeout" | "left", nowMs: number): void {
    if (this.#absentSinceMs < 0) return;
    this.#ctx.holds.ended(this.#model, result, nowMs - this.#absentSinceMs);
    this.#absentSinceMs = -1;
  }
}
