// One session, one endpoint: rendezvous hashing (Thaler and Ravishankar, 1996), so that an endpoint that joins or leaves
// moves only its own sessions and every router replica chooses alike; with bounded load (Mirrokni et al., 2018), so that a
// hot session spills over instead of melting its endpoint.
import { smallest, weightedLoad, type Candidate, type Choice, type Policy, type RequestView } from "./policy.ts";

/** An endpoint may carry this many times the mean before its sessions spill over. */
const boundFactor = 1.25;
/** Below this mean the bound would only scatter sessions: a few requests are no load. */
const boundFromInFlight = 8;

export function session(): Policy {
  return (view: RequestView, candidates: readonly Candidate[], random: () => number): Choice => {
    const key = view.sessionKey;
    if (key === null) {
      return {
        index: smallest(candidates.length, (i) => load(candidates, i), random),
        reason: "no_session_least_load",
      };
    }
    let total = 0;
    for (const candidate of candidates) total += candidate.queued + candidate.running;
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
      if (candidate.queued + candidate.running < bound && here > score) {
        index = i;
        score = here;
      }
    }
    if (index < 0) index = home;
    return { index, reason: index === home ? "session" : "session_overflow" };
  };
}

function load(candidates: readonly Candidate[], index: number): number {
  const candidate = candidates[index];
  return candidate === undefined ? Number.POSITIVE_INFINITY : weightedLoad(candidate);
}

/** MurmurHash3 x86 32-bit over UTF-16 code units (Appleby, public domain), seed 0. */
function hash32(text: string): number {
  let h = 0;
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  h ^= text.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
