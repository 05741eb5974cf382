// Draws from the distributions that workloads are made of, each from a handed stream of random numbers, so that the same
// seed makes the same workload on every machine. Pure.

import { Random } from "../../engine/core/index.ts";

/** Independent streams from one seed: a longer answer must not move the next arrival. */
export function streamOf(seed: number, name: string): Random {
  let mixed = seed | 0;
  for (let i = 0; i < name.length; i++) mixed = (Math.imul(mixed, 31) + name.charCodeAt(i)) | 0;
  return new Random(mixed);
}

/** Gaps of a Poisson process have this distribution. */
export function exponential(random: Random, mean: number): number {
  return -Math.log(1 - random.unit()) * mean;
}

/** Lengths of texts: many short ones, a few long ones. @param sigma of the logarithm; 0.5 is mild, 1 is heavy */
function logNormal(random: Random, mean: number, sigma: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random.unit())) * Math.cos(2 * Math.PI * random.unit());
  return mean * Math.exp(sigma * normal - (sigma * sigma) / 2);
}

/** A number of tokens within bounds. */
export function tokensOf(random: Random, mean: number, sigma: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, Math.round(logNormal(random, mean, sigma))));
}

/** From 1 on; each further one with the same probability. */
export function geometric(random: Random, mean: number, most: number): number {
  let count = 1;
  while (count < most && random.unit() < 1 - 1 / mean) count++;
  return count;
}

/** Rank 0 is drawn most often: its weight is 1, that of rank k is 1/(k+1)^exponent. */
export class Zipf {
  readonly #upTo: number[] = [];

  constructor(count: number, exponent: number) {
    let sum = 0;
    for (let rank = 1; rank <= count; rank++) {
      sum += rank ** -exponent;
      this.#upTo.push(sum);
    }
  }

  draw(random: Random): number {
    const at = random.unit() * (this.#upTo.at(-1) ?? 1);
    const rank = this.#upTo.findIndex((upTo) => at < upTo);
    return rank < 0 ? this.#upTo.length - 1 : rank;
  }
}
