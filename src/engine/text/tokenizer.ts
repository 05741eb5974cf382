// The built-in approximate tokenizer: text to token ids and back, about four bytes a token in English. Bottom of the
// text folder; pure. Ids are stable across versions and processes, and detokenizing what was tokenized gives the same
// text: every piece has a fixed place in the vocabulary, and what no piece covers falls back to bytes.

import { adjectives, adverbs, fragments, glue, nouns, verbs } from "./words.ts";

/** Size of the vocabulary, that of the Qwen family. */
export const vocabularySize = 151_936;
export const endOfTextId = 151_643;
export const messageStartId = 151_644;
/** What a chat model ends its turn with. */
export const endOfSequenceId = 151_645;

const specials = new Map<number, string>([
  [endOfTextId, "<|endoftext|>"],
  [messageStartId, "<|im_start|>"],
  [endOfSequenceId, "<|im_end|>"],
]);

const capitalized = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

/** Regions of the id space, in order: single bytes, listed pieces, then computed ones. */
const listed = buildListed();
const idOfListed = new Map(listed.map((piece, at) => [piece, 256 + at]));
/** Lengths of the listed pieces that begin with a character, longest first: few per character, so matching is quick. */
const lengthsByStart = new Map<number, number[]>();
for (const piece of listed) {
  // A leading space alone would say nothing: two characters there.
  const start = startKey(piece, 0);
  const lengths = lengthsByStart.get(start) ?? [];
  if (!lengths.includes(piece.length)) lengths.push(piece.length);
  lengthsByStart.set(start, lengths);
}
for (const lengths of lengthsByStart.values()) lengths.sort((a, b) => b - a);

function startKey(text: string, at: number): number {
  const first = text.charCodeAt(at);
  return first === 32 && at + 1 < text.length ? 0x10000 + text.charCodeAt(at + 1) : first;
}

// Computed regions: one, two and three letters, after a space or not, capitalised or not: 26 + 26^2 + 26^3 each.
const lettersBase = 8192;
const lettersCount = 26 + 676 + 17_576;
const digitsBase = lettersBase + 4 * lettersCount;
const digitsCount = 10 + 100 + 1000;
const charactersBase = digitsBase + digitsCount;

/** Ranges of code points that are one token each, as the common scripts are in a real vocabulary. */
const characterRanges: readonly (readonly [from: number, to: number])[] = [
  [0x00a0, 0x0800],
  [0x0900, 0x0a00],
  [0x0e00, 0x0e80],
  [0x2010, 0x2070],
  [0x20a0, 0x20c0],
  [0x2190, 0x2300],
  [0x3000, 0x3100],
  [0x4e00, 0xa000],
  [0xac00, 0xd7a4],
  [0xff00, 0xff60],
];

function buildListed(): readonly string[] {
  const pieces = new Set<string>();
  for (const word of [...nouns, ...verbs, ...adjectives, ...adverbs, ...glue, ...fragments]) {
    for (const form of [word, ` ${word}`, capitalized(word), ` ${capitalized(word)}`]) pieces.add(form);
  }
  for (let length = 2; length <= 32; length++) pieces.add(" ".repeat(length));
  for (const mark of ["\n\n", "\r\n", ". ", ", ", '": "', '","', '{"', '"}', '"]', '("', '")', "();", " = ", " == "]) {
    pieces.add(mark);
  }
  for (const mark of [
    "...",
    "--",
    "//",
    "/*",
    "*/",
    "://",
    "->",
    "=>",
    "::",
    "<|",
    "|>",
    "'s",
    "'t",
    " '",
    ' "',
    " (",
  ]) {
    pieces.add(mark);
  }
  return [...pieces].filter((piece) => piece.length > 1 || piece === "a" || piece === "I");
}

const isLower = (unit: number): boolean => unit >= 97 && unit <= 122;
const isUpper = (unit: number): boolean => unit >= 65 && unit <= 90;
const isDigit = (unit: number): boolean => unit >= 48 && unit <= 57;

/** Token ids of a text. Lone surrogates become U+FFFD, as in UTF-8. */
export function tokenize(text: string): number[] {
  const ids: number[] = [];
  let at = 0;
  while (at < text.length) {
    const unit = text.charCodeAt(at);
    const id = matchListed(text, at) ?? matchLetters(text, at) ?? matchDigits(text, at);
    if (id !== null) {
      ids.push(id.id);
      at += id.length;
    } else if (unit < 0x80) {
      ids.push(unit);
      at++;
    } else {
      at += pushCharacter(ids, text, at);
    }
  }
  return ids;
}

interface Match {
  readonly id: number;
  readonly length: number;
}

/** The longest listed piece that does not cut a word in the middle, so that "theatre" is not "the" + "atre". */
function matchListed(text: string, at: number): Match | null {
  const lengths = lengthsByStart.get(startKey(text, at));
  if (lengths === undefined) return null;
  for (const length of lengths) {
    if (at + length > text.length) continue;
    const id = idOfListed.get(text.slice(at, at + length));
    if (id === undefined) continue;
    const last = text.charCodeAt(at + length - 1);
    const next = at + length < text.length ? text.charCodeAt(at + length) : 0;
    if ((isLower(last) || isUpper(last)) && isLower(next)) continue;
    return { id, length };
  }
  return null;
}

function matchLetters(text: string, from: number): Match | null {
  const spaced = text.charCodeAt(from) === 32 ? 1 : 0;
  const at = from + spaced;
  const first = at < text.length ? text.charCodeAt(at) : 0;
  const upper = isUpper(first) ? 1 : 0;
  if (upper === 0 && !isLower(first)) return null;
  let value = first - (upper === 1 ? 65 : 97);
  let count = 1;
  while (count < 3 && at + count < text.length && isLower(text.charCodeAt(at + count))) {
    value = value * 26 + (text.charCodeAt(at + count) - 97);
    count++;
  }
  const offset = count === 1 ? 0 : count === 2 ? 26 : 702;
  return { id: lettersBase + (spaced * 2 + upper) * lettersCount + offset + value, length: spaced + count };
}

function matchDigits(text: string, at: number): Match | null {
  let value = 0;
  let count = 0;
  while (count < 3 && at + count < text.length && isDigit(text.charCodeAt(at + count))) {
    value = value * 10 + (text.charCodeAt(at + count) - 48);
    count++;
  }
  if (count === 0) return null;
  return { id: digitsBase + (count === 1 ? 0 : count === 2 ? 10 : 110) + value, length: count };
}

function pushCharacter(ids: number[], text: string, at: number): number {
  const point = text.codePointAt(at) ?? 0xfffd;
  const length = point > 0xffff ? 2 : 1;
  let base = charactersBase;
  for (const [from, to] of characterRanges) {
    if (point >= from && point < to) {
      ids.push(base + point - from);
      return length;
    }
    base += to - from;
  }
  for (const byte of Buffer.from(String.fromCodePoint(point), "utf8")) ids.push(byte);
  return length;
}

const pieceCache = new Map<number, string>();

/** Text of one token; a byte that is no character by itself reads as U+FFFD, an id of no piece as nothing. */
export function tokenText(id: number): string {
  if (id < 256) return id < 0x80 ? String.fromCharCode(id) : "\ufffd";
  let text = pieceCache.get(id);
  if (text === undefined) {
    text = computePiece(id);
    pieceCache.set(id, text);
  }
  return text;
}

function computePiece(id: number): string {
  const special = specials.get(id);
  if (special !== undefined) return special;
  if (id < lettersBase) return listed[id - 256] ?? "";
  if (id < digitsBase) return letters(id - lettersBase);
  if (id < charactersBase) return digits(id - digitsBase);
  let offset = id - charactersBase;
  for (const [from, to] of characterRanges) {
    if (offset < to - from) return String.fromCharCode(from + offset);
    offset -= to - from;
  }
  return "";
}

function letters(offset: number): string {
  const form = Math.floor(offset / lettersCount);
  let value = offset % lettersCount;
  let count = 1;
  if (value >= 702) {
    value -= 702;
    count = 3;
  } else if (value >= 26) {
    value -= 26;
    count = 2;
  }
  let word = "";
  for (let place = 0; place < count; place++) {
    word = String.fromCharCode(97 + (value % 26)) + word;
    value = Math.floor(value / 26);
  }
  if (form % 2 === 1) word = capitalized(word);
  return form >= 2 ? ` ${word}` : word;
}

function digits(offset: number): string {
  if (offset < 10) return String(offset);
  if (offset < 110) return String(offset - 10).padStart(2, "0");
  return String(offset - 110).padStart(3, "0");
}

/** Text of token ids; runs of byte tokens are read together as UTF-8. Special tokens are left out on request. */
export function detokenize(ids: readonly number[], skipSpecial = false): string {
  let text = "";
  let bytes: number[] = [];
  for (const id of ids) {
    if (id < 256) {
      bytes.push(id);
      continue;
    }
    if (bytes.length > 0) text += Buffer.from(bytes).toString("utf8");
    if (bytes.length > 0) bytes = [];
    if (!skipSpecial || !specials.has(id)) text += tokenText(id);
  }
  return bytes.length > 0 ? text + Buffer.from(bytes).toString("utf8") : text;
}

export function isSpecial(id: number): boolean {
  return specials.has(id);
}
