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
    const index = smallest(candidates.length, (i) => last.get(candidates[i]?.id ?? "") ?? -1, random);
    const chosen = candidates[index]?.id ?? "";
    last.set(chosen, turn.tick++);
    // endpoints that are long gone are forgotten
    if (last.size > 64 && last.size > candidates.length * 4) {
      const present = new Set(candidates.map((candidate) => candidate.id));
      for (const id of last.keys()) if (!present.has(id)) last.delete(id);
    }
    return { index, reason: "round_robin" };
  };
}
