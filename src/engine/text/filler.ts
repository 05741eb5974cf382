// Readable nonsense as token ids, between the tokenizer and the generating routes; pure. The same prompt and seed must give
// the same tokens on any engine, whatever else it is doing; and as with a model that always takes the likeliest token, a
// prompt that ends with a piece of the answer must give the rest of it.

import { beginningOf, choiceSeed, Sentences } from "./sentences.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface FillerOptions {
  /** What was asked. Where it ends with made-up text, that is gone on with. */
  readonly prompt: string;
  readonly requestSeed: number;
  /** Number of the choice, from 0. */
  readonly choice: number;
  readonly serverSeed: number;
  /** No end-of-sequence token before this many tokens. */
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly vocabulary: Vocabulary;
  /** A script instead of made-up text; then it ends. */
  readonly script?: string;
}

/** Gives one token id per call. */
export class Filler {
  readonly #sentences: Sentences;
  readonly #vocabulary: Vocabulary;
  readonly #minTokens: number;
  readonly #ignoreEos: boolean;
  #queue: readonly number[] = [];
  #at = 0;
  #given = 0;
  /** Tokens of the sentences so far, each as a whole, wherever the prompt cuts one. */
  #said = 0;
  #scripted: boolean;

  constructor(options: FillerOptions) {
    const { prompt, requestSeed, choice, serverSeed, script } = options;
    this.#vocabulary = options.vocabulary;
    this.#minTokens = options.minTokens;
    this.#ignoreEos = options.ignoreEos;
    this.#scripted = script !== undefined;
    const begins = this.#scripted ? prompt.length : beginningOf(prompt, requestSeed, choice, serverSeed);
    const asked = prompt.slice(0, begins);
    this.#sentences = new Sentences(choiceSeed(asked, requestSeed, choice, serverSeed), asked);
    if (script !== undefined) this.#queue = this.#encode(script);
    else this.#skip(prompt.length - begins);
  }

  readonly next = (): number => {
    if (this.#at === this.#queue.length) {
      const done = this.#scripted || this.#said >= this.#sentences.length;
      if (done && !this.#ignoreEos && this.#given >= this.#minTokens) return this.#vocabulary.endOfSequence;
      this.#scripted = false;
      this.#queue = this.#encode(this.#sentences.next());
      this.#said += this.#queue.length;
      this.#at = 0;
    }
    this.#given++;
    return this.#queue[this.#at++] ?? this.#vocabulary.endOfSequence;
  };

  #encode(text: string): readonly number[] {
    return this.#vocabulary.encode(text, true);
  }

  /** Passes over the first characters of the text. */
  #skip(characters: number): void {
    let left = characters;
    while (left > 0) {
      const sentence = this.#sentences.next();
      this.#queue = this.#encode(sentence);
      this.#said += this.#queue.length;
      this.#at = 0;
      let text = "";
      while (this.#at < this.#queue.length && text.length < left) {
        text += this.#vocabulary.textOf(this.#queue[this.#at++] ?? 0);
      }
      // in the middle of a token the rest of the sentence is read anew
      if (left < sentence.length && text !== sentence.slice(0, left)) {
        this.#queue = this.#encode(sentence.slice(left));
        this.#at = 0;
      }
      left -= Math.min(left, sentence.length);
    }
  }
}
