// From the endpoints that serve a model to the one that gets the request: leaves out what may not be used and hands the rest
// to the policy.
import type { Endpoint } from "../fleet/endpoint.ts";
import { isWait, type ChoiceReason, type RequestView, type Score } from "../routing/policy.ts";
import type { RouterContext } from "./context.ts";

export interface Selection {
  readonly endpoint: Endpoint;
  readonly reason: ChoiceReason;
  /** Prompt tokens that the endpoint is believed to have cached. */
  readonly cachedTokens: number;
  /** How the candidates looked, where the request is traced and the policy can say. */
  readonly scores?: readonly Score[];
}

/** The request had better wait in the router. */
export interface Delay {
  readonly wait: true;
  /** What it would have to compute where it would go now. */
  readonly uncachedTokens: number;
  readonly candidates: readonly Endpoint[];
}

/** @returns null when no endpoint may be used */
export function selectEndpoint(
  ctx: RouterContext,
  view: RequestView,
  tried: readonly Endpoint[],
): Selection | Delay | null {
  const usable = usableEndpoints(ctx, view.model, tried, view.nowMs);
  const first = usable[0];
  if (first === undefined) return null;
  // nobody goes past those that wait already without having been compared with them
  const behind = view.mayWait && ctx.queue.length(view.model) > 0;
  if (usable.length === 1 && !behind) {
    // nothing is to be chosen, but what is expected of it is compared with what comes true
    const cachedTokens =
      ctx.kv.wanted && view.prompt !== null ? Math.max(0, ctx.kv.view.match(first.id, view.prompt)) : 0;
    return { endpoint: first, reason: "only_candidate", cachedTokens };
  }
  const choice = ctx.routing.choose(view, usable, ctx.random);
  const { cachedTokens } = choice;
  if (isWait(choice) || behind)
    return { wait: true, uncachedTokens: view.promptTokens - cachedTokens, candidates: usable };
  const selection = { endpoint: usable[choice.index] ?? first, reason: choice.reason, cachedTokens };
  if (ctx.tracing === null && ctx.console?.watched !== true) return selection;
  const scores = ctx.routing.choose.explain?.(view, usable);
  return scores === undefined ? selection : { ...selection, scores };
}

/** Endpoints that serve a model and may be used now. */
export function usableEndpoints(
  ctx: RouterContext,
  model: string,
  tried: readonly Endpoint[],
  nowMs: number,
): readonly Endpoint[] {
  const serving = ctx.registry.serving(model);
  if (serving === undefined) return [];
  const steady = allSteady(serving, nowMs);
  if (steady) ctx.panics.over(model);
  return steady && tried.length === 0 ? serving : sortOut(ctx, model, serving, tried, nowMs);
}

/** Nothing speaks against any of them, which is nearly always so: then nothing needs to be sorted out. */
function allSteady(endpoints: readonly Endpoint[], nowMs: number): boolean {
  for (const endpoint of endpoints) {
    if (!endpoint.known || endpoint.sleeping || !endpoint.breaker.steady || endpoint.busyUntilMs > nowMs) return false;
    endpoint.weight = 1;
  }
  return true;
}

function sortOut(
  ctx: RouterContext,
  model: string,
  serving: readonly Endpoint[],
  tried: readonly Endpoint[],
  nowMs: number,
): readonly Endpoint[] {
  const checked = serving.filter((endpoint) => endpoint.known && !endpoint.sleeping);
  const known = tried.length === 0 ? checked : checked.filter((endpoint) => !tried.includes(endpoint));
  for (const endpoint of known) endpoint.weight = endpoint.breaker.weight(nowMs);
  const admitted = known.filter((endpoint) => endpoint.breaker.admits(nowMs));
  // those that are being probed are out too, for all but the probe
  const ejected = checked.filter((endpoint) => endpoint.state(nowMs) === "ejected").length;
  // Panic: with more than half of them out it is rather the checks or the network that is wrong, and the few that are left
  // would drown. Ejection is then ignored. Those that are still starting help nobody and do not count.
  const panic = ejected * 2 > checked.length;
  if (panic) ctx.panics.began(model, ejected, checked.length);
  else ctx.panics.over(model);
  const allowed = panic ? known : admitted;
  const calm = allowed.filter((endpoint) => endpoint.busyUntilMs <= nowMs);
  // all of them busy: better a queue there than an error here
  return withoutNewcomers(calm.length > 0 ? calm : allowed, ctx.random);
}

/**
 * An endpoint that has come back gets its share by lot. A policy that compares loads would send it nothing as long as the
 * others are idle, for all of the slow start; and who takes part takes part in full.
 */
function withoutNewcomers(usable: readonly Endpoint[], random: () => number): readonly Endpoint[] {
  if (usable.length < 2) return usable;
  const drawn = usable.filter((endpoint) => endpoint.weight >= 1 || random() < endpoint.weight);
  if (drawn.length === 0) return usable;
  for (const endpoint of drawn) endpoint.weight = 1;
  return drawn;
}
