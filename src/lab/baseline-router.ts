// A baseline as the router of a run: keeps what such a policy counts, and sends each request on at once.

import type { Random } from "../engine/core/index.ts";
import type { Baseline, BaselineEndpoint } from "./baselines/baseline.ts";
import type { LabFleet, LabRouter } from "./simulation.ts";

type Counts = { -readonly [K in keyof BaselineEndpoint]: number };

export function baselineRouter(choose: Baseline, fleet: LabFleet, random: Random): LabRouter {
  const endpoints = fleet.engines.map((): Counts => ({
    inFlight: 0,
    prefillTokens: 0,
    activeBlocks: 0,
    matchedTokens: 0,
    waiting: 0,
    kvUsage: 0,
  }));
  const uncached = new Int32Array(fleet.requests.length);
  const unit = (): number => random.unit();
  return {
    arrive(request) {
      const { promptTokens = 0 } = fleet.requests[request] ?? {};
      for (const [at, endpoint] of endpoints.entries()) {
        const engine = fleet.engines[at];
        endpoint.matchedTokens = fleet.cachedTokens(request, at);
        endpoint.waiting = engine?.waiting ?? 0;
        endpoint.kvUsage = engine?.kvUsage ?? 0;
      }
      const chosen = choose(promptTokens, endpoints, unit);
      const endpoint = endpoints[chosen];
      if (endpoint === undefined) throw new Error(`a baseline chose ${chosen} of ${endpoints.length}`);
      uncached[request] = promptTokens - endpoint.matchedTokens;
      endpoint.inFlight++;
      endpoint.prefillTokens += uncached[request] ?? 0;
      endpoint.activeBlocks += promptTokens / 16;
      fleet.send(request, chosen);
    },
    firstToken(request, at) {
      const endpoint = endpoints[at];
      if (endpoint !== undefined) endpoint.prefillTokens -= uncached[request] ?? 0;
    },
    finished(request, at) {
      const endpoint = endpoints[at];
      const { promptTokens = 0 } = fleet.requests[request] ?? {};
      if (endpoint === undefined) return;
      endpoint.inFlight--;
      endpoint.activeBlocks -= promptTokens / 16;
    },
  };
}
