// What is kept of a stream while it passes, so that another engine can go on with it: the text, and the little that the events
// say beside it. Plain events, which nearly all are, cost the copy of their few letters; others are parsed. It ends by itself
// where the stream turns out to be one that nobody can continue, and never keeps more than it is allowed to.
import { TextFrames } from "../../api/text-frames.ts";
import { objectChunk, objectChunkEnd } from "../../http/event-chunk.ts";
import type { MigrationBudget } from "./budget.ts";
import { isRecord, isUnset } from "../../api/json-values.ts";
import type { Json } from "./json.ts";

/** Why a stream can't be gone on with, as far as the stream itself shows: it is too long, or says more than text. */
export type StreamProblem = "too_large" | "no_budget" | "stream";

/** What an answer's events have in common. */
export interface StreamIdentity {
  readonly id: Json;
  readonly created: Json;
  readonly model: Json;
}

export interface StreamFinish {
  readonly reason: string;
  /** The text that ended it; null = the end-of-sequence token, or none. */
  readonly stopReason: Json;
}

/** Tokens up to an event, as the event tells them. */
export interface ToldTokens {
  readonly prompt: number;
  readonly completion: number;
}

const firstBytes = 256;

export class KeptStream {
  // side by side, and first: all that is touched for each event
  readonly #frames = new TextFrames();
  /** The text as it stands in JSON, UTF-8. */
  #bytes: Buffer | null = null;
  #length = 0;
  #problem: StreamProblem | null = null;
  readonly #budget: MigrationBudget;
  readonly #maxBytes: number;
  #tokenBytes = 0;
  identity: StreamIdentity | null = null;
  /** Of streams that carry the ids of their tokens. */
  readonly tokenIds: number[] = [];
  promptTokenIds: readonly number[] | null = null;
  /** Of streams that count in every event. */
  told: ToldTokens | null = null;
  finish: StreamFinish | null = null;
  /** The event that counts the tokens of the whole answer has passed. */
  sawUsage = false;
  sawRole = false;

  /** @param maxBytes of one stream */
  constructor(budget: MigrationBudget, maxBytes: number) {
    this.#budget = budget;
    this.#maxBytes = maxBytes;
  }

  get problem(): StreamProblem | null {
    return this.#problem;
  }

  /** What the client has of the answer. */
  get text(): string {
    const json = this.#bytes === null ? "" : this.#bytes.toString("utf8", 0, this.#length);
    return JSON.parse(`"${json}"`) as string;
  }

  /**
   * Keeps the text of whole chunks of one plain event each.
   * @param buf bytes [0, length) begin between two chunks
   * @returns false = there is something else among them, and nothing was kept
   */
  keepChunks(buf: Buffer, length: number): boolean {
    const frames = this.#frames;
    if (!frames.ready) return false;
    const mark = this.#length;
    let at = 0;
    while (at < length) {
      const start = objectChunk(buf, at, length);
      const end = objectChunkEnd;
      if (start < 0 || !frames.match(buf, start, end)) {
        this.#length = mark;
        return false;
      }
      this.#copy(buf, frames.textStart, frames.textEnd);
      at = end + 2;
    }
    return true;
  }

  /** The same for one event: bytes [start, end), from its `data:` to its empty line. */
  keepPlain(buf: Buffer, start: number, end: number): boolean {
    if (!this.#frames.match(buf, start, end)) return false;
    this.#copy(buf, this.#frames.textStart, this.#frames.textEnd);
    return true;
  }

  /** Keeps what any event says that the client gets. */
  keepEvent(buf: Buffer, start: number, end: number, payloadStart: number): void {
    if (this.#problem !== null) return;
    if (this.#frames.curious) this.#frames.learn(buf, start, end);
    let event: unknown;
    try {
      event = JSON.parse(buf.toString("utf8", payloadStart, end));
    } catch {
      this.stop("stream");
      return;
    }
    if (!isRecord(event) || !this.keep(event)) this.stop("stream");
  }

  /**
   * Keeps what a parsed event says.
   * @returns false = it says something that can't be gone on with
   */
  keep(event: Readonly<Record<string, Json>>): boolean {
    const { choices, usage } = event;
    this.identity ??= { id: event["id"] ?? null, created: event["created"] ?? null, model: event["model"] ?? null };
    this.#keepUsage(usage, Array.isArray(choices) && choices.length === 0);
    if (isIds(event["prompt_token_ids"])) this.promptTokenIds = event["prompt_token_ids"];
    if (!Array.isArray(choices) || choices.length > 1) return false;
    const choice: Json = choices[0];
    if (choice === undefined) return !isUnset(usage);
    if (!isRecord(choice) || choice["index"] !== 0 || !isUnset(choice["logprobs"])) return false;
    const { delta } = choice;
    if (isIds(choice["prompt_token_ids"])) this.promptTokenIds = choice["prompt_token_ids"];
    if (isIds(choice["token_ids"])) this.#addTokens(choice["token_ids"]);
    if (isRecord(delta)) {
      const { role, content, ...others } = delta;
      if (!Object.values(others).every(isUnset)) return false;
      if (!isUnset(role)) this.sawRole = true;
      if (typeof content === "string") this.addText(content);
    } else if (typeof choice["text"] === "string") this.addText(choice["text"]);
    const reason = choice["finish_reason"];
    if (typeof reason === "string") this.finish = { reason, stopReason: choice["stop_reason"] ?? null };
    return true;
  }

  /** Keeps no more, and lets go of what was kept. */
  stop(problem: StreamProblem): void {
    this.#problem ??= problem;
    this.release();
  }

  /** Lets go of all that was kept. */
  release(): void {
    if (this.#bytes !== null) this.#budget.give(this.#bytes.length);
    this.#budget.give(this.#tokenBytes);
    this.#bytes = null;
    this.#tokenBytes = 0;
    this.#length = 0;
    this.tokenIds.length = 0;
  }

  addText(text: string): void {
    if (text === "") return;
    const json = Buffer.from(JSON.stringify(text), "utf8");
    this.#copy(json, 1, json.length - 1);
  }

  #addTokens(ids: readonly number[]): void {
    // a number in an array of its own is no more than this
    const bytes = ids.length * 8;
    if (this.#problem !== null) return;
    if (this.#tokenBytes + bytes > this.#maxBytes) this.stop("too_large");
    else if (!this.#budget.take(bytes)) this.stop("no_budget");
    else {
      this.#tokenBytes += bytes;
      this.tokenIds.push(...ids);
    }
  }

  #keepUsage(usage: Json, alone: boolean): void {
    if (!isRecord(usage)) return;
    const { prompt_tokens: prompt, completion_tokens: completion } = usage;
    if (typeof prompt === "number" && typeof completion === "number") this.told = { prompt, completion };
    if (alone) this.sawUsage = true;
  }

  #copy(from: Buffer, start: number, end: number): void {
    if (this.#problem !== null) return;
    const length = this.#length + end - start;
    let bytes = this.#bytes;
    if (bytes === null || length > bytes.length) {
      bytes = this.#grow(length);
      if (bytes === null) return;
    }
    // a few letters each: a call into native code would cost more
    if (end - start <= 32) for (let i = start, to = this.#length; i < end; i++) bytes[to++] = from[i] ?? 0;
    else from.copy(bytes, this.#length, start, end);
    this.#length = length;
  }

  #grow(needed: number): Buffer | null {
    const before = this.#bytes;
    const size = Math.min(this.#maxBytes, Math.max(firstBytes, needed, (before?.length ?? 0) * 2));
    if (needed > size) {
      this.stop("too_large");
      return null;
    }
    if (!this.#budget.take(size)) {
      this.stop("no_budget");
      return null;
    }
    const grown = Buffer.allocUnsafeSlow(size);
    if (before !== null) {
      before.copy(grown, 0, 0, this.#length);
      this.#budget.give(before.length);
    }
    this.#bytes = grown;
    return grown;
  }
}

function isIds(value: Json): value is readonly number[] {
  return Array.isArray(value) && value.every((id) => typeof id === "number");
}
