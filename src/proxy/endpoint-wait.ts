// One request that waits in the router: for room on an endpoint, or, where its model has none that may be used, for an endpoint
// to appear (scale from zero). It says when the waiting is over for a reason other than its turn, and what came of it; the
// order of those that wait is `admission/queue.ts`.
import type { RouterContext } from "./context.ts";

export class EndpointWait {
  readonly sinceMs: number;
  readonly #ctx: RouterContext;
  readonly #model: string;
  /** There has been no endpoint since then; below 0 = there is one. */
  #absentSinceMs = -1;

  constructor(ctx: RouterContext, model: string, nowMs: number, absent: boolean) {
    this.#ctx = ctx;
    this.#model = model;
    this.sinceMs = nowMs;
    if (absent) this.#lack(nowMs);
  }

  /** @param absent no endpoint may be used now. @returns whether that has lasted too long */
  look(nowMs: number, absent: boolean): boolean {
    if (!absent) this.#had("found", nowMs);
    else if (this.#absentSinceMs < 0) this.#lack(nowMs);
    if (this.#absentSinceMs < 0 || nowMs - this.#absentSinceMs < this.#ctx.config.timeouts.holdMs) return false;
    this.#had("timeout", nowMs);
    return true;
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
