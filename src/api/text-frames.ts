// Recognises the events of one stream that only carry a piece of text, which nearly all of them are: they differ in the text
// and in nothing else. What stands before and behind it is learnt from the first such event; after that an event is known in a
// few comparisons, without being parsed.
import { isRecord, isUnset } from "./json-values.ts";

/** Events that were looked at in vain, after which nothing more is learnt: this stream has no plain events. */
const maxLessons = 16;

/** Of a plain event what stands around its text, from `"choices"` on and up to the reason why the answer ended. */
interface Form {
  readonly lead: Buffer;
  readonly tail: Buffer;
}

/** The last one that was learnt: all streams of an engine have the same, and it need not be kept for each. */
let common: Form = { lead: Buffer.alloc(0), tail: Buffer.alloc(0) };

export class TextFrames {
  #lead: Buffer | null = null;
  #tail: Buffer | null = null;
  /** Bytes of an event before its text and behind it. */
  #startBytes = 0;
  #endBytes = 0;
  #lessons = 0;
  /** Of the event that {@link match} has recognised: its text as it stands in the JSON, without the quotes. */
  textStart = 0;
  textEnd = 0;

  /** Whether more events should be shown to {@link learn}. */
  get curious(): boolean {
    return this.#lead === null && this.#lessons < maxLessons;
  }

  /** Whether such an event has been seen. */
  get ready(): boolean {
    return this.#lead !== null;
  }

  /** Whether bytes [start, end) are such an event. Of the part that all events share only the length is looked at. */
  match(buf: Buffer, start: number, end: number): boolean {
    const lead = this.#lead;
    const tail = this.#tail;
    if (lead === null || tail === null) return false;
    const from = start + this.#startBytes;
    const to = end - this.#endBytes;
    if (to < from) return false;
    for (let i = lead.length, at = from; i > 0;) if (buf[--at] !== lead[--i]) return false;
    for (let i = 0; i < tail.length; i++) if (buf[to + i] !== tail[i]) return false;
    // the text must not end before: something else would stand in between
    for (let at = from; at < to; at++) {
      const code = buf[at];
      if (code === quote) return false;
      if (code === backslash) at++;
      if (at >= to) return false;
    }
    this.textStart = from;
    this.textEnd = to;
    return true;
  }

  /** Looks at an event: bytes [start, end), from its `data:` to its empty line. */
  learn(buf: Buffer, start: number, end: number): void {
    if (!this.curious) return;
    this.#lessons++;
    const frame = buf.toString("latin1", start, end);
    const text = plainText(frame);
    const choices = frame.indexOf('"choices"');
    const key = /"(?:content|text)": ?"/.exec(frame);
    if (text === null || key === null || key.index < choices) return;
    const from = key.index + key[0].length;
    // escapes may be spelt in more than one way: then another event has to do
    const inner = Buffer.from(JSON.stringify(text), "utf8").toString("latin1").slice(1, -1);
    if (!frame.startsWith(`${inner}"`, from)) return;
    const to = from + inner.length;
    const reason = /"finish_reason": ?null/.exec(frame.slice(to));
    const lead = Buffer.from(frame.slice(choices, from), "latin1");
    const tail = Buffer.from(
      reason === null ? frame.slice(to) : frame.slice(to, to + reason.index + reason[0].length),
      "latin1",
    );
    if (!lead.equals(common.lead) || !tail.equals(common.tail)) common = { lead, tail };
    this.#lead = common.lead;
    this.#tail = common.tail;
    this.#startBytes = from;
    this.#endBytes = frame.length - to;
  }
}

const quote = 0x22;
const backslash = 0x5c;

/** The text of an event that holds a piece of one answer and says nothing else about it; else null. */
function plainText(frame: string): string | null {
  const match = /^data: ?(\{.*\})\r?\n\r?\n$/.exec(frame);
  if (match?.[1] === undefined) return null;
  let event: unknown;
  try {
    event = JSON.parse(Buffer.from(match[1], "latin1").toString("utf8"));
  } catch {
    return null;
  }
  if (!isRecord(event) || !isUnset(event["usage"]) || !isUnset(event["error"])) return null;
  const choices = event["choices"];
  if (!Array.isArray(choices) || choices.length !== 1) return null;
  const choice: unknown = choices[0];
  if (!isRecord(choice) || choice["index"] !== 0) return null;
  const { delta, index: _, text, ...rest } = choice;
  if (!Object.values(rest).every(isUnset)) return null;
  if (delta === undefined) return typeof text === "string" ? text : null;
  if (!isRecord(delta) || text !== undefined) return null;
  const { content, ...others } = delta;
  return typeof content === "string" && Object.values(others).every(isUnset) ? content : null;
}
