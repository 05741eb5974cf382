// From the endpoints that serve a model to the one that gets the request: leaves out what may not be used and hands the rest
// to the policy.
import type { Endpoint } from "../fleet/endpoint.ts";
import type { Candidate, ChoiceReason } from "../routing/policy.ts";
import type { RouterContext } from "./context.ts";

export interface Selection {
  readonly endpoint: Endpoint;
  readonly reason: ChoiceReason;
}

/** @returns null when no endpoint may be used */
export function selectEndpoint(ctx: RouterContext, model: string, session: string | null, tried: readonly Endpoint[]): Selection | null {
  const serving = ctx.registry.serving(model);
  if (serving === undefined) return null;
  const now = ctx.clock.nowMs();
  const usable = usableEndpoints(serving, tried, now);
  const first = usable[0];
  if (first === undefined) return null;
  if (usable.length === 1) return { endpoint: first, reason: "only_candidate" };
  const candidates: Candidate[] = usable.map((endpoint) => ({
    id: endpoint.id,
    queued: endpoint.queued,
    running: endpoint.running,
    weight: endpoint.breaker.weight(now),
  }));
  const choice = ctx.routing.choose({ model, sessionKey: session }, candidates, ctx.random);
  return { endpoint: usable[choice.index] ?? first, reason: choice.reason };
}

function usableEndpoints(serving: readonly Endpoint[], tried: readonly Endpoint[], nowMs: number): Endpoint[] {
  const known = serving.filter((endpoint) => endpoint.known && !tried.includes(endpoint));
  const admitted = known.filter((endpoint) => endpoint.breaker.admits(nowMs));
  const ejected = serving.filter((endpoint) => endpoint.known && endpoint.breaker.state(nowMs) === "ejected").length;
  // Panic: with more than half of them out it is rather the checks or the network that is wrong, and the few that are left
  // would drown. Ejection is then ignored.
  const allowed = ejected * 2 > serving.length ? known : admitted;
  const calm = allowed.filter((endpoint) => endpoint.busyUntilMs <= nowMs);
  // all of them busy: better a queue there than an error here
  return calm.length > 0 ? calm : allowed;
}
