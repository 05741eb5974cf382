// A workload's segments as text: words that are one token in the vocabularies of most models, the same for the same segment
// always and everywhere, different for different ones. Pure.

import { Random } from "../../engine/core/index.ts";
import type { Segment, WorkloadRequest } from "../workload/workload.ts";

const words =
  `time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power
hour game line end member law car city community name president team minute idea kid body information back parent face
others level office door health person art war history party result change morning reason research girl guy moment air
teacher force education boy age music early big small large next young important public bad same able good new first
last long great little own other old white clear full low true open red deep simple hot dark`
    .trim()
    .split(/\s+/);

/** So many words as the segment has tokens. */
export function textOf({ id, tokens }: Segment): string {
  const random = new Random(id + 1);
  let text = "";
  for (let i = 0; i < tokens; i++)
    text += `${i === 0 && text === "" ? "" : " "}${words[random.below(words.length)] ?? ""}`;
  return text;
}

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What answers really were, by their segment: the next turn holds that, as a real client's would. */
export type KnownAnswers = ReadonlyMap<number, string>;

const contentOf = (segment: Segment, known: KnownAnswers): string => known.get(segment.id) ?? textOf(segment);

export function promptText({ prompt }: WorkloadRequest, known: KnownAnswers): string {
  return prompt.map((segment) => contentOf(segment, known)).join(" ");
}

/** What stands before the conversation's first question is the system prompt; then questions and answers take turns. */
export function messagesOf({ prompt, named }: WorkloadRequest, known: KnownAnswers): Message[] {
  const opening = Math.max(0, named - 1);
  const messages: Message[] = [];
  if (named === 0) {
    return [{ role: "user", content: prompt.map((segment) => contentOf(segment, known)).join(" ") }];
  }
  if (opening > 0) {
    messages.push({ role: "system", content: prompt.slice(0, opening).map(textOf).join(" ") });
  }
  for (const [at, segment] of prompt.slice(opening).entries()) {
    messages.push({ role: at % 2 === 0 ? "user" : "assistant", content: contentOf(segment, known) });
  }
  return messages;
}
