// Why a request went where it went, for people: asked for with the header `x-lmstack-explain: 1`, answered in a field of the
// same name, and written into the log. Worked out only when somebody asks.
import { credential } from "../admission/keys.ts";
import type { Exchange } from "../http/exchange.ts";
import type { Candidate, RequestView, Score } from "../routing/policy.ts";
import type { RouterContext } from "./context.ts";
import type { Selection } from "./select.ts";

/** Field of the request, `1` to ask, and of the answer. */
export const explainField = "x-lmstack-explain";
/** Where the key of an administrator stands that asks with a client's credential. */
export const adminKeyField = "x-lmstack-admin-key";

/** As it stands in the field, as JSON; times in milliseconds. */
export interface Explanation {
  readonly policy: string;
  readonly reason: string;
  readonly endpoint: string;
  /** Estimate. */
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
  /** Time in the router's queue. */
  readonly queued_ms: number;
  readonly candidates: number;
  /** The cheapest few. */
  readonly scores: readonly {
    readonly endpoint: string;
    readonly cost_ms: number;
    readonly wait_ms: number;
    readonly prefill_ms: number;
    readonly pressure_ms: number;
    readonly cached_tokens: number;
  }[];
}

const shownScores = 8;

/** Whether a request may be explained: names and load of engines are for administrators, where there are any. */
export function mayExplain(exchange: Exchange, ctx: RouterContext): boolean {
  const asked = exchange.header(explainField);
  if (asked === null || !/^(1|true|yes|on)$/i.test(asked)) return false;
  const { admin } = ctx.keys;
  if (admin === null) return true;
  const key =
    exchange.header(adminKeyField) ?? credential(exchange.header("authorization"), exchange.header("x-api-key"));
  return key !== null && admin.has(key);
}

/** @param candidates what the policy chose from, before the request was sent */
export function explain(
  ctx: RouterContext,
  view: RequestView,
  candidates: readonly Candidate[],
  selection: Selection,
  queuedMs: number,
): Explanation {
  const { choose, name } = ctx.routing;
  return {
    policy: name,
    reason: selection.reason,
    endpoint: selection.endpoint.id,
    prompt_tokens: view.promptTokens,
    cached_tokens: selection.cachedTokens,
    queued_ms: tenths(queuedMs),
    candidates: candidates.length,
    scores: cheapest(choose.explain?.(view, candidates) ?? []).map((score) => ({
      endpoint: score.id,
      cost_ms: tenths(score.cost),
      wait_ms: tenths(score.waitMs),
      prefill_ms: tenths(score.prefillMs),
      pressure_ms: tenths(score.pressureMs),
      cached_tokens: score.cachedTokens,
    })),
  };
}

/** Those that are worth showing. */
export function cheapest(scores: readonly Score[]): readonly Score[] {
  return scores.toSorted((a, b) => a.cost - b.cost).slice(0, shownScores);
}

/** The answer's line, with its end. */
export function explanationLine(explanation: Explanation): string {
  return `${explainField}: ${JSON.stringify(explanation)}\r\n`;
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
