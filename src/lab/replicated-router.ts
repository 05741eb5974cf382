// Several routers in front of the same engines, as replicas behind a Service: each request comes to one of them at random, and
// each knows only what it sent itself (with KV events: what the engines tell all of them).

import { Random } from "../engine/core/index.ts";
import type { LabFleet, LabRouter } from "./simulation.ts";

export function replicatedRouter(
  count: number,
  { requests }: LabFleet,
  random: Random,
  make: (random: Random) => LabRouter,
): LabRouter {
  const routers = Array.from({ length: count }, () => make(new Random(random.next())));
  const of = new Uint16Array(requests.length);
  const routerOf = (request: number): LabRouter => {
    const router = routers[of[request] ?? 0];
    if (router === undefined) throw new Error("a request belongs to no router");
    return router;
  };
  return {
    arrive(request) {
      of[request] = random.below(count);
      routerOf(request).arrive(request);
    },
    firstToken: (request, endpoint) => routerOf(request).firstToken(request, endpoint),
    finished: (request, endpoint, usage) => routerOf(request).finished(request, endpoint, usage),
  };
}
