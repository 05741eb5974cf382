// Readable nonsense: an endless, seeded stream of sentences, as token ids. Between the tokenizer and the generating
// routes; pure. The same prompt and seed must give the same tokens on any engine, whatever else it is doing.

import { Random, textHash } from "../core/index.ts";
import type { Vocabulary } from "./vocabulary.ts";
import { adjectives, adverbs, glue, nouns, verbs } from "./words.ts";

export interface FillerOptions {
  readonly seed: number;
  /** Text whose words the filler picks up; the tail of the prompt. */
  readonly topic: string;
  /** No end-of-sequence token before this many tokens. */
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly vocabulary: Vocabulary;
  /** A script instead of made-up text; then it ends. */
  readonly script?: string;
}

const openers = ["The", "A", "Every", "This", "Some", "Each"];
const links = [" near", " with", " without", " behind", " between", " around", " before", " after", " under", " in"];
const ends = [".", ".", ".", ".", ".", ".", "?", "!"];

/** Gives one token id per call. */
export class Filler {
  readonly #random: Random;
  readonly #vocabulary: Vocabulary;
  readonly #topics: readonly string[];
  readonly #minTokens: number;
  readonly #ignoreEos: boolean;
  readonly #endsAt: number;
  #queue: number[] = [];
  #at = 0;
  #given = 0;
  #sentences = 0;
  #scripted: boolean;

  constructor(options: FillerOptions) {
    this.#vocabulary = options.vocabulary;
    this.#random = new Random(options.seed);
    this.#topics = topicWords(options.topic);
    this.#minTokens = options.minTokens;
    this.#ignoreEos = options.ignoreEos;
    this.#scripted = options.script !== undefined;
    if (options.script !== undefined) this.#queue = options.vocabulary.encode(options.script, true);
    // An answer's natural length: mostly a paragraph or two, sometimes long.
    this.#endsAt = 64 + Math.floor(this.#random.unit() ** 2 * 512);
  }

  readonly next = (): number => {
    if (this.#at === this.#queue.length) {
      const done = this.#scripted || this.#given >= this.#endsAt;
      if (done && !this.#ignoreEos && this.#given >= this.#minTokens) return this.#vocabulary.endOfSequence;
      this.#scripted = false;
      this.#queue = this.#vocabulary.encode(this.#sentence(), true);
      this.#at = 0;
    }
    this.#given++;
    return this.#queue[this.#at++] ?? this.#vocabulary.endOfSequence;
  };

  #sentence(): string {
    const pick = (list: readonly string[]): string => list[this.#random.below(list.length)] ?? "";
    const noun = (): string => {
      const own = this.#topics.length > 0 && this.#random.below(4) === 0;
      return own ? pick(this.#topics) : pick(nouns);
    };
    let text = this.#sentences === 0 ? "" : this.#sentences % 6 === 0 ? "\n\n" : " ";
    this.#sentences++;
    text += pick(openers);
    if (this.#random.below(2) === 0) text += ` ${pick(adjectives)}`;
    text += ` ${noun()} ${pick(verbs)} the`;
    if (this.#random.below(3) === 0) text += ` ${pick(adjectives)}`;
    text += ` ${noun()}`;
    if (this.#random.below(2) === 0) text += `${pick(links)} the ${noun()}`;
    if (this.#random.below(4) === 0) text += ` ${pick(adverbs)}`;
    return text + pick(ends);
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
