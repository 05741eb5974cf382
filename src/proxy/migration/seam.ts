// Makes the events of a continuation events of the answer that it continues: the same id, one role, tokens counted from the
// beginning, a stop string that lies across the seam found. Pure but for what it tells the kept stream.
import type { Usage } from "../../api/usage.ts";
import { isRecord, isUnset } from "../../api/json-values.ts";
import type { Json } from "./json.ts";
import type { KeptStream, ToldTokens } from "./kept-stream.ts";
import type { Question } from "./question.ts";
import { StopScan } from "./stop-seam.ts";

type Event = Record<string, Json>;

/** What becomes of an event: other events for the client, perhaps none; then whether the answer goes on. */
export interface Woven {
  readonly events: readonly Event[];
  /** Tokens of the whole answer, where the event tells them; null = it does not. */
  readonly usage: Usage | null;
  /** `aborted`: the engine was told to stop. `broken`: it says what can't be part of this answer. */
  readonly goes: "on" | "stopped" | "aborted" | "broken";
}

const broken: Woven = { events: [], usage: null, goes: "broken" };

export class Seam {
  readonly #kept: KeptStream;
  readonly #question: Question;
  readonly #before: ToldTokens | null;
  readonly #stops: StopScan;
  /** Events with something generated, for an end that the engine does not count. */
  #generated = 0;

  /** Nobody knows what the client has: no count is better than one of a part. */
  readonly #uncountable: boolean;

  /** @param before tokens of the prompt and of the answer up to the seam; null = unknown, and nobody wants to know */
  constructor(kept: KeptStream, question: Question, before: ToldTokens | null) {
    this.#kept = kept;
    this.#question = question;
    this.#before = before;
    this.#uncountable = before === null && kept.text !== "";
    this.#stops = new StopScan(question.stops, question.includesStop, kept.text);
  }

  /** @param event a parsed event of the continuation; it is changed */
  weave(event: Event): Woven {
    const { choices, usage } = event;
    const { identity } = this.#kept;
    if (identity !== null) Object.assign(event, identity);
    const counted = isRecord(usage) && !this.#uncountable ? this.#count(usage) : null;
    if (!Array.isArray(choices) || choices.length > 1) return broken;
    const choice: Json = choices[0];
    if (choice === undefined) {
      const { countsUsage, wantsUsage } = this.#question;
      // the usage that only the router has asked for
      const isRouters = counted !== null && countsUsage && !wantsUsage;
      if (isRouters || this.#uncountable) return { events: [], usage: counted, goes: "on" };
      return this.#pass(event, counted);
    }
    if (!isRecord(choice)) return broken;
    if (choice["finish_reason"] === "abort") return { events: [], usage: null, goes: "aborted" };
    if ("prompt_token_ids" in event) event["prompt_token_ids"] = null;
    if ("prompt_token_ids" in choice) choice["prompt_token_ids"] = null;
    const { delta } = choice;
    const carrier = isRecord(delta) ? delta : choice;
    const key = isRecord(delta) ? "content" : "text";
    const opens = isRecord(delta) && !isUnset(delta["role"]);
    if (opens && this.#kept.sawRole) delete carrier["role"];
    const finish = choice["finish_reason"];
    const text = carrier[key];
    if (typeof text !== "string") {
      const rest = isUnset(finish) ? "" : this.#stops.rest();
      if (rest !== "") carrier[key] = rest;
      return this.#pass(event, counted);
    }
    if (opens && this.#kept.sawRole && text === "" && isUnset(finish)) return { events: [], usage: null, goes: "on" };
    this.#generated++;
    const seam = this.#stops.push(text);
    carrier[key] = isUnset(finish) || seam.stop !== null ? seam.text : seam.text + this.#stops.rest();
    if (seam.stop === null) return this.#pass(event, counted);
    choice["finish_reason"] = "stop";
    choice["stop_reason"] = seam.stop;
    return this.#stop(event);
  }

  #pass(event: Event, usage: Usage | null): Woven {
    return this.#kept.keep(event) ? { events: [event], usage, goes: "on" } : broken;
  }

  /** The answer ends here, though the engine would go on. */
  #stop(event: Event): Woven {
    if (!this.#kept.keep(event)) return broken;
    const { wantsUsage, countsUsage, api } = this.#question;
    if (!countsUsage || this.#before === null) return { events: [event], usage: null, goes: "stopped" };
    const told = { prompt: this.#before.prompt, completion: this.#before.completion + this.#generated };
    return {
      events: wantsUsage ? [event, usageEvent(this.#kept, api, told)] : [event],
      usage: { promptTokens: told.prompt, completionTokens: told.completion, cachedTokens: 0 },
      goes: "stopped",
    };
  }

  /** Counts from the beginning of the answer, in the event too; null = the engine tells no number. */
  #count(usage: Event): Usage | null {
    const before = this.#before;
    const { prompt_tokens: promptTokens, completion_tokens: continued, prompt_tokens_details: details } = usage;
    if (typeof promptTokens !== "number" || typeof continued !== "number") return null;
    const prompt = before?.prompt ?? promptTokens;
    const completion = (before?.completion ?? 0) + continued;
    if (before !== null) {
      usage["prompt_tokens"] = prompt;
      usage["completion_tokens"] = completion;
      usage["total_tokens"] = prompt + completion;
    }
    let cached: unknown = 0;
    if (isRecord(details)) {
      // what the second engine had cached includes the answer so far
      for (const [name, value] of Object.entries(details)) {
        if (typeof value === "number") details[name] = Math.min(value, prompt);
      }
      cached = details["cached_tokens"];
    }
    return {
      promptTokens: prompt,
      completionTokens: completion,
      cachedTokens: typeof cached === "number" ? cached : 0,
    };
  }
}

const objects = { completions: "text_completion", chat: "chat.completion.chunk" } as const;

/** The event that counts a whole answer. */
export function usageEvent(kept: KeptStream, api: Question["api"], told: ToldTokens): Event {
  const usage = {
    prompt_tokens: told.prompt,
    total_tokens: told.prompt + told.completion,
    completion_tokens: told.completion,
  };
  return { ...kept.identity, object: objects[api], choices: [], usage };
}

/** The event that ends an answer which has reached its limit with its last token. */
export function lengthEvent(kept: KeptStream, api: Question["api"]): Event {
  const end = { logprobs: null, finish_reason: "length", stop_reason: null };
  const choice = api === "chat" ? { index: 0, delta: {}, ...end } : { index: 0, text: "", ...end };
  return { ...kept.identity, object: objects[api], choices: [choice] };
}
