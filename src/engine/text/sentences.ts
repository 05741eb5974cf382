// Readable nonsense, sentence by sentence: what the filler is made of, as text. Pure. The same seed and prompt must give the
// same sentences for ever: a text that an engine has begun is taken up by another one at any character.

import { Random, textHash } from "../core/index.ts";
import { adjectives, adverbs, glue, nouns, verbs } from "./words.ts";

const openers = ["The", "A", "Every", "This", "Some", "Each"];
const links = [" near", " with", " without", " behind", " between", " around", " before", " after", " under", " in"];
const ends = [".", ".", ".", ".", ".", ".", "?", "!"];

/** An endless text for one prompt. */
export class Sentences {
  readonly #random: Random;
  readonly #prompt: string;
  #topics: readonly string[] | null = null;
  #count = 0;
  /** The answer's natural length in tokens: mostly a paragraph or two, sometimes long. */
  readonly length: number;

  /** @param prompt the sentences pick up words of its tail */
  constructor(seed: number, prompt: string) {
    this.#random = new Random(seed);
    this.#prompt = prompt;
    this.length = 64 + Math.floor(this.#random.unit() ** 2 * 512);
  }

  /** The next sentence, with the space or the empty line before it. */
  next(): string {
    let text = this.#count === 0 ? "" : this.#count % 6 === 0 ? "\n\n" : " ";
    this.#count++;
    text += this.#pick(openers);
    if (this.#random.below(2) === 0) text += ` ${this.#pick(adjectives)}`;
    text += ` ${this.#noun()} ${this.#pick(verbs)} the`;
    if (this.#random.below(3) === 0) text += ` ${this.#pick(adjectives)}`;
    text += ` ${this.#noun()}`;
    if (this.#random.below(2) === 0) text += `${this.#pick(links)} the ${this.#noun()}`;
    if (this.#random.below(4) === 0) text += ` ${this.#pick(adverbs)}`;
    return text + this.#pick(ends);
  }

  #pick(list: readonly string[]): string {
    return list[this.#random.below(list.length)] ?? "";
  }

  #noun(): string {
    this.#topics ??= topicWords(this.#prompt);
    const own = this.#topics.length > 0 && this.#random.below(4) === 0;
    return this.#pick(own ? this.#topics : nouns);
  }
}

/** Words that read badly in a noun's place. */
const skipped = new Set([...glue, ...verbs, ...adverbs, ...adjectives, "tell", "please", "what", "write", "give"]);

function topicWords(text: string): readonly string[] {
  const words = text.slice(-400).match(/[A-Za-z]{4,12}/g) ?? [];
  const lower = words.map((word) => word.toLowerCase());
  return lower.filter((word) => !skipped.has(word)).slice(-12);
}

/** Seed of one choice: depends on the prompt, the request's seed, the choice, and the server's seed. */
export function choiceSeed(prompt: string, requestSeed: number, choice: number, serverSeed: number): number {
  return textHash(`${serverSeed}/${requestSeed}/${choice}/${prompt}`);
}

/**
 * Where in a prompt the text begins that this engine, or another one with the same seeds, had made of what stands before: the
 * first place from which everything up to the end is what {@link Sentences} would say. The prompt's length where it ends with
 * nothing of the kind.
 *
 * As the first place is taken, an answer is the same however often it is interrupted and asked to go on: what is a beginning
 * for a prompt is one for every continuation of it, and no earlier place can become one.
 */
export function beginningOf(prompt: string, requestSeed: number, choice: number, serverSeed: number): number {
  const possible = new RegExp(`(?:${openers.join("|")}) |(?:${openers.flatMap(prefixes).join("|")})$`, "g");
  for (const { index } of prompt.matchAll(possible)) {
    const before = prompt.slice(0, index);
    const sentences = new Sentences(choiceSeed(before, requestSeed, choice, serverSeed), before);
    if (says(sentences, prompt, index)) return index;
  }
  return prompt.length;
}

function prefixes(word: string): string[] {
  return Array.from(word, (_, i) => word.slice(0, i + 1)).toReversed();
}

function says(sentences: Sentences, text: string, from: number): boolean {
  for (let at = from; at < text.length;) {
    const sentence = sentences.next();
    if (!text.startsWith(sentence, at)) return sentence.startsWith(text.slice(at));
    at += sentence.length;
  }
  return true;
}
