// Drawing from a seed: what every actor of a chaos run does is taken from a stream of its own, so that one seed says all of
// it, whoever runs first.
import { Random, textHash } from "../../src/engine/core/index.ts";

export class Draw {
  readonly #random: Random;

  /** @param actor names whose decisions these are */
  constructor(seed: number, actor: string) {
    this.#random = new Random(textHash(`${seed}/${actor}`));
  }

  readonly unit = (): number => this.#random.unit();

  below(bound: number): number {
    return this.#random.below(bound);
  }

  between(least: number, most: number): number {
    return least + this.#random.below(most - least + 1);
  }

  chance(share: number): boolean {
    return this.#random.unit() < share;
  }

  pick<T>(list: readonly T[]): T {
    const one = list[this.#random.below(list.length)];
    if (one === undefined) throw new RangeError("nothing to pick from");
    return one;
  }

  /** One of several, by weight. */
  weighted<T>(list: readonly (readonly [weight: number, what: T])[]): T {
    let left = this.#random.unit() * list.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, what] of list) {
      left -= weight;
      if (left < 0) return what;
    }
    throw new RangeError("nothing to pick from");
  }
}
