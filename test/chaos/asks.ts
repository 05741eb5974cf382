// What the clients of a chaos run ask for, and the text that each of these requests may be answered with: the simulator
// gives the same prompt the same text on every engine, so an engine that nobody disturbs is asked once.
import { rawRequest } from "../helpers/http-client.ts";
import type { Draw } from "./draw.ts";

export type Api = "completions" | "chat" | "messages" | "responses";

/** Served by simulated engines, and by engines made of bytes. */
export const simModel = "sim-model";
export const rawModel = "raw-model";

export interface Ask {
  /** Its `X-Request-Id`. */
  readonly id: string;
  readonly api: Api;
  readonly model: string;
  readonly stream: boolean;
  /** On the wire. */
  readonly bytes: Buffer;
  /** Where the body begins in them. */
  readonly bodyAt: number;
  /** What a whole answer says; null where no engine has the model. */
  readonly expected: string | null;
}

const paths: Readonly<Record<Api, string>> = {
  completions: "/v1/completions",
  chat: "/v1/chat/completions",
  messages: "/v1/messages",
  responses: "/v1/responses",
};

const prompts = ["Tell me about the river", "A town by night", "Why do birds sing", "The captain's table", "Rain"];
const lengths = [1, 3, 8, 20, 40];

/** What the simulator is told to do wrong with this one request, on whichever engine it comes to. */
const requestFaults = [
  "error_status:500",
  "error_status:503",
  "error_status:429",
  "error_status:400",
  "queue_full",
  "error_frame:0",
  "error_frame:2",
  "cut_mid_stream:reset:0",
  "cut_mid_stream:reset:2",
  "cut_mid_stream:clean:1",
  "cut_mid_stream:half_frame:1",
  "cut_mid_stream:half_chunk:1",
  "stall_mid_stream:1",
  "hang_before_headers",
  "hang",
] as const;

function bodyOf(api: Api, model: string, prompt: string, tokens: number, stream: boolean): Record<string, unknown> {
  const common = { model, stream, temperature: 0 };
  switch (api) {
    case "completions":
      return { ...common, prompt, max_tokens: tokens };
    case "chat":
      return { ...common, messages: [{ role: "user", content: prompt }], max_tokens: tokens };
    case "messages":
      return { ...common, messages: [{ role: "user", content: prompt }], max_tokens: tokens };
    case "responses":
      return { ...common, input: prompt, max_output_tokens: tokens };
  }
}

/** The words that a raw engine says to a prompt: `count` of them from the one numbered `from` on. */
export function rawWords(prompt: string, from: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => ` w${prompt.length}.${from + i}`);
}

/** The generated text in the body of a whole answer. */
export function textOf(api: Api, body: unknown): string | null {
  const found = at(body, textPaths[api]);
  return typeof found === "string" ? found : null;
}

const textPaths: Readonly<Record<Api, readonly (string | number)[]>> = {
  completions: ["choices", 0, "text"],
  chat: ["choices", 0, "message", "content"],
  messages: ["content", 0, "text"],
  responses: ["output", 0, "content", 0, "text"],
};

/** What stands in a value of JSON at a path; undefined = nothing. */
export function at(value: unknown, path: readonly (string | number)[]): unknown {
  let here = value;
  for (const key of path) {
    if (typeof here !== "object" || here === null) return undefined;
    here = (here as Record<string, unknown>)[key];
  }
  return here;
}

/** Makes requests. */
export class Asks {
  readonly #draw: Draw;
  readonly #referenceUrl: string;
  readonly #known = new Map<string, Promise<string>>();
  readonly #prefix: string;
  #number = 0;

  /** @param referenceUrl an engine with the seed of all others that nothing happens to */
  constructor(draw: Draw, referenceUrl: string, prefix: string) {
    this.#draw = draw;
    this.#referenceUrl = referenceUrl;
    this.#prefix = prefix;
  }

  /** @param plain nothing is asked to go wrong, and the model exists */
  async next(plain: boolean): Promise<Ask> {
    const draw = this.#draw;
    // the number twice: a network that changes one byte of it must not make another request's id
    const number = this.#number++;
    const id = `${this.#prefix}-${number}-${number}`;
    const model = draw.weighted([
      [plain ? 0 : 3, "no-such-model"],
      [57, simModel],
      [40, rawModel],
    ]);
    const api = model === rawModel ? draw.pick(["completions", "chat"] as const) : draw.pick(apis);
    const stream = draw.chance(0.7);
    const tokens = draw.pick(lengths);
    const prompt = draw.pick(prompts);
    const body = bodyOf(api, model, prompt, tokens, stream);
    if (draw.chance(0.3) && stream && (api === "chat" || api === "completions")) {
      body["stream_options"] = { include_usage: true, ...(draw.chance(0.5) ? { continuous_usage_stats: true } : {}) };
    }
    // with this no other engine could go on where one died
    if (draw.chance(0.2)) body["min_tokens"] = 1;
    const faulty = !plain && model === simModel && draw.chance(0.35);
    const fields = [`x-request-id: ${id}`, ...(faulty ? [`x-sim-fault: ${draw.pick(requestFaults)}`] : [])];
    const json = JSON.stringify(body);
    const bytes = rawRequest("POST", paths[api], json, fields);
    const expected =
      model === simModel
        ? await this.#reference(api, prompt, tokens)
        : model === rawModel
          ? rawWords(prompt, 0, tokens).join("")
          : null;
    return { id, api, model, stream, bytes, bodyAt: bytes.length - Buffer.byteLength(json), expected };
  }

  #reference(api: Api, prompt: string, tokens: number): Promise<string> {
    const key = `${api}/${tokens}/${prompt}`;
    let known = this.#known.get(key);
    if (known === undefined) {
      known = this.#askReference(api, prompt, tokens);
      this.#known.set(key, known);
    }
    return known;
  }

  async #askReference(api: Api, prompt: string, tokens: number): Promise<string> {
    const answer = await fetch(`${this.#referenceUrl}${paths[api]}`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close" },
      body: JSON.stringify(bodyOf(api, simModel, prompt, tokens, false)),
    });
    const text = textOf(api, await answer.json());
    if (text === null) throw new Error(`the reference engine answered ${answer.status} to ${paths[api]}`);
    return text;
  }
}

const apis: readonly Api[] = ["completions", "chat", "messages", "responses"];
