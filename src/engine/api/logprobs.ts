// Made-up log probabilities in vLLM's two shapes. Used by completions and chat when a client asks for them; pure. Values
// mean nothing, but they are stable for a token and its place, and the chosen token is always the likeliest.

import { Random } from "../core/index.ts";
import type { Vocabulary } from "../text/vocabulary.ts";

interface Candidate {
  readonly text: string;
  readonly logprob: number;
}

/** The chosen token and `alternatives` others, likeliest first. */
function candidates(vocabulary: Vocabulary, token: number, place: number, alternatives: number): Candidate[] {
  const random = new Random(token * 7919 + place);
  let logprob = -0.05 - random.unit();
  const list: Candidate[] = [{ text: vocabulary.textOf(token), logprob }];
  while (list.length < Math.max(1, alternatives)) {
    logprob -= 0.2 + random.unit();
    const text = vocabulary.textOf(256 + random.below(2000));
    if (!list.some((entry) => entry.text === text)) list.push({ text, logprob });
  }
  return list;
}

/** `logprobs` of a text completion; `offset` is where the first token starts in the text. */
export function completionLogprobs(
  vocabulary: Vocabulary,
  tokens: readonly number[],
  from: number,
  offset: number,
  wanted: number,
  /** The first token is the prompt's, of which nothing can be said. */
  startsWithPrompt = false,
): object {
  const offsets: number[] = [];
  const logprobs: (number | null)[] = [];
  const texts: string[] = [];
  const top: (Record<string, number> | null)[] = [];
  let at = offset;
  tokens.forEach((token, place) => {
    const list = candidates(vocabulary, token, from + place, wanted);
    const text = vocabulary.textOf(token);
    offsets.push(at);
    const unknown = startsWithPrompt && place === 0;
    logprobs.push(unknown ? null : (list[0]?.logprob ?? 0));
    texts.push(text);
    top.push(unknown ? null : Object.fromEntries(list.map((entry) => [entry.text, entry.logprob])));
    at += text.length;
  });
  return { text_offset: offsets, token_logprobs: logprobs, tokens: texts, top_logprobs: top };
}

/** `prompt_logprobs`: per token of the prompt, by token id; null for the first. */
export function promptLogprobs(vocabulary: Vocabulary, tokens: readonly number[], wanted: number): (object | null)[] {
  return tokens.map((token, place) => {
    if (place === 0) return null;
    const list = candidates(vocabulary, token, place, wanted);
    const ids = list.map((entry, at) => (at === 0 ? token : (vocabulary.encode(entry.text, true)[0] ?? 0)));
    const entries = new Map<number, object>();
    list.forEach(({ text, logprob }, at) => entries.set(ids[at] ?? 0, { logprob, rank: at + 1, decoded_token: text }));
    return Object.fromEntries(entries) as object;
  });
}

/** `logprobs` of a chat choice. */
export function chatLogprobs(vocabulary: Vocabulary, tokens: readonly number[], from: number, wanted: number): object {
  const shape = (entry: Candidate): object => ({
    token: entry.text,
    logprob: entry.logprob,
    bytes: [...Buffer.from(entry.text, "utf8")],
  });
  return {
    content: tokens.map((token, place) => {
      const list = candidates(vocabulary, token, from + place, wanted);
      const chosen = list[0] ?? { text: "", logprob: 0 };
      return { ...shape(chosen), top_logprobs: wanted > 0 ? list.map(shape) : [] };
    }),
  };
}
