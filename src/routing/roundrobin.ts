// Next in turn. The turn is kept as "longest not chosen" per model, so that it does not depend on the order of the list and
// survives endpoints that come, go or are left out for one request.
import { smallest, type Candidate, type Choice, type Policy, type RequestView } from "./policy.ts";

/** So many endpoints that are not there now are remembered in any case. */
const rememberedEndpoints = 64;

/** When each endpoint of a model was chosen last, as a count of choices; -1 = never. */
class Turns {
  #tick = 0;
  /** The candidates of the last request, which mostly are those of the next one: by place, no map need be asked. */
  #ids: readonly string[] = [];
  #ticks: number[] = [];
  /** Of those that were not among them. */
  readonly #absent = new Map<string, number>();

  /** By place in the list. */
  of(candidates: readonly Candidate[]): readonly number[] {
    const ids = this.#ids;
    let same = ids.length === candidates.length;
    for (let i = 0; same && i < ids.length; i++) same = ids[i] === candidates[i]?.id;
    if (!same) this.#enter(candidates.map(({ id }) => id));
    return this.#ticks;
  }

  /** @param index place in the list that was given to {@link of} last */
  take(index: number): void {
    this.#ticks[index] = this.#tick++;
  }

  #enter(ids: readonly string[]): void {
    for (const [i, id] of this.#ids.entries()) this.#absent.set(id, this.#ticks[i] ?? -1);
    this.#ids = ids;
    this.#ticks = ids.map((id) => this.#absent.get(id) ?? -1);
    for (const id of ids) this.#absent.delete(id);
    // endpoints that are long gone are forgotten
    if (this.#absent.size > Math.max(rememberedEndpoints, ids.length * 4)) this.#absent.clear();
  }
}

export function roundRobin(): Policy {
  const models = new Map<string, Turns>();
  return (view: RequestView, candidates: readonly Candidate[], random: () => number): Choice => {
    let turns = models.get(view.model);
    if (turns === undefined) models.set(view.model, (turns = new Turns()));
    const ticks = turns.of(candidates);
    let index = 0;
    for (let tries = 0; tries < candidates.length; tries++) {
      index = smallest(candidates.length, (i) => ticks[i] ?? -1, random);
      turns.take(index);
      // one that has come back lets turns go by
      const weight = candidates[index]?.weight ?? 1;
      if (weight >= 1 || random() < weight) break;
    }
    return { index, reason: "round_robin", cachedTokens: 0 };
  };
}
