// What the console may see of the router: endpoints, requests in flight, and the configuration in force.
import type { ConsoleSource } from "../console/console.ts";
import type { EndpointView, LiveRequest } from "../console/shapes.ts";
import type { DynamicConfig } from "../config/types.ts";
import type { Told } from "../fleet/endpoint.ts";
import type { RouterContext } from "./context.ts";

export interface ConsoleState {
  readonly version: string;
  readonly draining: () => boolean;
  readonly dynamic: () => DynamicConfig;
  readonly revision: () => string;
}

export function consoleSource(ctx: () => RouterContext, state: ConsoleState): ConsoleSource {
  return {
    version: state.version,
    policy: () => ctx().routing.name,
    models: () => ctx().registry.names(),
    draining: state.draining,
    endpoints: () => endpoints(ctx()),
    live: () => live(ctx()),
    configuration: () => {
      // all of it can be shown: keys are in files, of which only the paths are here
      const { dynamic: _replaced, ...config } = ctx().config;
      return { revision: state.revision(), dynamic: plain(state.dynamic()), ...(plain(config) as object) };
    },
  };
}

/** With maps as objects, which JSON can say. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, one: unknown) => (one instanceof Map ? (Object.fromEntries(one) as unknown) : one)),
  ) as unknown;
}

function endpoints(ctx: RouterContext): readonly EndpointView[] {
  const now = ctx.clock.nowMs();
  return ctx.registry.list().map((endpoint) => ({
    id: endpoint.id,
    models: endpoint.models,
    state: endpoint.state(now),
    queued: endpoint.queued,
    running: endpoint.running,
    problem: endpoint.lastProblem,
    uptimeMs: endpoint.uptimeMs(now),
    engine: engineView(endpoint.told, now),
  }));
}

function engineView(told: Told | null, nowMs: number): EndpointView["engine"] {
  if (told === null) return null;
  const { sample, hitRate, atMs } = told;
  const { waiting, running, kvUsage } = sample;
  return { waiting, running, kvUsage, hitRate, ageMs: nowMs - atMs };
}

function live(ctx: RouterContext): readonly LiveRequest[] {
  const now = ctx.clock.nowMs();
  return Array.from(ctx.active, (request) => request.live(now));
}
