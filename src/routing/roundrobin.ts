// Next in turn. The turn is kept as "longest not chosen" per model, so that it does not depend on the order of the list and
// survives endpoints that come, go or are left out for one request.
import { smallest, type Candidate, type Choice, type Policy, type RequestView } from "./policy.ts";

interface Turn {
  tick: number;
  last: Map<string, number>;
}

export function roundRobin(): Policy {
  const turns = new Map<string, Turn>();
  return (view: RequestView, candidates: readonly Candidate[], random: () => number): Choice => {
    let turn = turns.get(view.model);
    if (turn === undefined) {
      turn = { tick: 0, last: new Map() };
      turns.set(view.model, turn);
    }
    const { last } = turn;
    let index = 0;
    for (let tries = 0; tries < candidates.length; tries++) {
      index = smallest(candidates.length, (i) => last.get(candidates[i]?.id ?? "") ?? -1, random);
      last.set(candidates[index]?.id ?? "", turn.tick++);
      // one that has come back lets turns go by
      const weight = candidates[index]?.weight ?? 1;
      if (weight >= 1 || random() < weight) break;
    }
    // endpoints that are long gone are forgotten
    if (last.size > 64 && last.size > candidates.length * 4) {
      const present = new Set(candidates.map((candidate) => candidate.id));
      for (const id of last.keys()) if (!present.has(id)) last.delete(id);
    }
    return { index, reason: "round_robin", cachedTokens: 0 };
  };
}
