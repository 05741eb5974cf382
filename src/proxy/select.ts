// From the endpoints that serve a model to the one that gets the request: leaves out what may not be used and hands the rest
// to the policy.
import type { Endpoint } from "../fleet/endpoint.ts";
import { isWait, type ChoiceReason, type RequestView } from "../routing/policy.ts";
import type { RouterContext } from "./context.ts";

export interface Selection {
  readonly endpoint: Endpoint;
  readonly reason: ChoiceReason;
  /** Prompt tokens that the endpoint is believed to have cached. */
  readonly cachedTokens: number;
}

/** @returns null when no endpoint may be used */
export function selectEndpoint(ctx: RouterContext, view: RequestView, tried: readonly Endpoint[]): Selection | null {
  const serving = ctx.registry.serving(view.model);
  const now = view.nowMs;
  if (serving === undefined) return null;
  const usable =
    tried.length === 0 && allSteady(serving, now) ? serving : usableEndpoints(serving, tried, now, ctx.random);
  const first = usable[0];
  if (first === undefined) return null;
  if (usable.length === 1) return { endpoint: first, reason: "only_candidate", cachedTokens: 0 };
  const choice = ctx.routing.choose(view, usable, ctx.random);
  const endpoint = usable[choice.index] ?? first;
  if (isWait(choice)) return { endpoint, reason: "least_load", cachedTokens: choice.cachedTokens };
  return { endpoint, reason: choice.reason, cachedTokens: choice.cachedTokens };
}

/** Nothing speaks against any of them, which is nearly always so: then nothing needs to be sorted out. */
function allSteady(endpoints: readonly Endpoint[], nowMs: number): boolean {
  for (const endpoint of endpoints) {
    if (!endpoint.known || !endpoint.breaker.steady || endpoint.busyUntilMs > nowMs) return false;
    endpoint.weight = 1;
  }
  return true;
}

function usableEndpoints(
  serving: readonly Endpoint[],
  tried: readonly Endpoint[],
  nowMs: number,
  random: () => number,
): readonly Endpoint[] {
  const checked = serving.filter((endpoint) => endpoint.known);
  const known = tried.length === 0 ? checked : checked.filter((endpoint) => !tried.includes(endpoint));
  for (const endpoint of known) endpoint.weight = endpoint.breaker.weight(nowMs);
  const admitted = known.filter((endpoint) => endpoint.breaker.admits(nowMs));
  // those that are being probed are out too, for all but the probe
  const ejected = checked.filter((endpoint) => endpoint.state(nowMs) === "ejected").length;
  // Panic: with more than half of them out it is rather the checks or the network that is wrong, and the few that are left
  // would drown. Ejection is then ignored. Those that are still starting help nobody and do not count.
  const allowed = ejected * 2 > checked.length ? known : admitted;
  const calm = allowed.filter((endpoint) => endpoint.busyUntilMs <= nowMs);
  // all of them busy: better a queue there than an error here
  return withoutNewcomers(calm.length > 0 ? calm : allowed, random);
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
