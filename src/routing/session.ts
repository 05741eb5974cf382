// One session, one endpoint: rendezvous hashing (Thaler and Ravishankar, 1996), so that an endpoint that joins or leaves
// moves only its own sessions and every router replica chooses alike; with bounded load (Mirrokni et al., 2018), so that a
// hot session spills over instead of melting its endpoint.
import { costPolicy } from "./cost.ts";
import { type Candidate, type Decision, type Policy, type RequestView } from "./policy.ts";
import { hash32 } from "./rendezvous.ts";

/** An endpoint may carry this many times the mean before its sessions spill over. */
const boundFactor = 1.25;
/** Below this mean the bound would only scatter sessions: a few requests are no load. */
const boundFromInFlight = 8;

export function session(): Policy {
  const leastLoad = costPolicy(null);
  return (view: RequestView, candidates: readonly Candidate[], random: () => number): Decision => {
    const key = view.sessionKey;
    if (key === null) {
      const { index } = leastLoad({ ...view, mayWait: false }, candidates, random);
      return { index, reason: "no_session_least_load", cachedTokens: 0 };
    }
    let total = 0;
    for (const { load } of candidates) total += load.queued + load.running;
    const mean = (total + 1) / candidates.length;
    const bound = mean < boundFromInFlight ? Number.POSITIVE_INFINITY : Math.ceil(mean * boundFactor);
    let home = 0;
    let homeScore = -1;
    let index = -1;
    let score = -1;
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i];
      if (candidate === undefined) continue;
      const here = hash32(`${key}\u0000${candidate.id}`);
      if (here > homeScore) {
        home = i;
        homeScore = here;
      }
      if (candidate.load.queued + candidate.load.running < bound && here > score) {
        index = i;
        score = here;
      }
    }
    if (index < 0) index = home;
    return { index, reason: index === home ? "session" : "session_overflow", cachedTokens: 0 };
  };
}
