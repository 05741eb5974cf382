// A tokenizer as the engine sees it, and the built-in one in that form. Between the routes and whichever tokenizer the
// server was given. It must give a text back as it was, whatever its tokens are.

import { PieceDecoder } from "./piece-decoder.ts";
import { detokenize, endOfSequenceId, messageStartId, tokenize, tokenText, vocabularySize } from "./tokenizer.ts";

/** A model's own template. */
export interface ChatTemplate {
  /** @throws Error what the template itself refuses */
  render(variables: Readonly<Record<string, unknown>>): string;
}

export interface Vocabulary {
  readonly size: number;
  /** What a chat model ends its turn with. */
  readonly endOfSequence: number;
  /** What opens a chat message; null when the vocabulary has no such token. */
  readonly messageStart: number | null;
  /** How the model's prompts are made of messages; null = as ChatML. */
  readonly chatTemplate: ChatTemplate | null;
  /** With what the model wants around a text, unless `bare`. */
  encode(text: string, bare?: boolean): number[];
  decode(ids: readonly number[]): string;
  /** The text of one token. */
  textOf(id: number): string;
  /** One token as the vocabulary spells it. */
  spell(id: number): string;
  /** Turns ids into text one by one. */
  decoder(): { push(id: number): string };
}

export const builtInVocabulary: Vocabulary = {
  size: vocabularySize,
  endOfSequence: endOfSequenceId,
  messageStart: messageStartId,
  chatTemplate: null,
  encode: (text) => tokenize(text),
  decode: (ids) => detokenize(ids),
  textOf: (id) => tokenText(id),
  // Byte-level vocabularies have letters of their own for spaces and line feeds.
  spell: (id) => tokenText(id).replaceAll(" ", "\u0120").replaceAll("\n", "\u010a"),
  decoder: () => new PieceDecoder(),
};
