// Answers of a model server, read apart from each other's accidents: random ids and times masked, frames that a late server
// merged joined again. What is left has to be equal with and without a router between.
import http from "node:http";

export interface Answer {
  readonly status: number;
  /** In order, names in lower case, without those that a proxy may change or add. */
  readonly headers: readonly string[];
  readonly contentType: string;
  readonly text: string;
  /** Milliseconds to the whole answer. */
  readonly tookMs: number;
}

export interface Request {
  readonly method?: "GET" | "POST";
  readonly path: string;
  /** An object is sent as JSON, a string as it is. */
  readonly body?: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Fields that belong to one hop or one moment, or that the router adds to what the engine says. */
const ownOfHop = new Set([
  "date",
  "connection",
  "keep-alive",
  "transfer-encoding",
  "x-request-id",
  "via",
  "server-timing",
  "x-accel-buffering",
  "cache-control",
]);

/** One request on a connection of its own. */
export function ask(origin: string, { method = "POST", path, body, headers = {} }: Request): Promise<Answer> {
  const bytes = body === undefined ? null : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const fields = bytes === null ? {} : { "content-type": "application/json", "content-length": bytes.length };
    const request = http.request(`${origin}${path}`, { method, agent: false, headers: { ...fields, ...headers } });
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("error", reject);
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const kept: string[] = [];
        for (let i = 0; i < response.rawHeaders.length; i += 2) {
          const name = (response.rawHeaders[i] ?? "").toLowerCase();
          if (!ownOfHop.has(name)) kept.push(`${name}: ${response.rawHeaders[i + 1]}`);
        }
        resolve({
          status: response.statusCode ?? 0,
          headers: kept,
          contentType: response.headers["content-type"] ?? "",
          text: Buffer.concat(chunks).toString("utf8"),
          tookMs: performance.now() - began,
        });
      });
    });
    request.end(bytes ?? undefined);
  });
}

/** Keys whose values are drawn at random or from the clock. */
const accidental = /^(id|created|created_at|completed_at|item_id|call_id|request_id|response_id)$/;

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

export function masked(value: Json): Json {
  if (isList(value)) return value.map(masked);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      accidental.test(key) && inner !== null && typeof inner !== "object" ? "*" : masked(inner),
    ]),
  );
}

/** What a stream said, however its text was cut into events. */
export interface Told {
  /** Kinds of events in order, text and counts taken out, equal neighbours joined. */
  readonly kinds: readonly string[];
  /** All text by where it stood: choice and field. */
  readonly texts: Readonly<Record<string, string>>;
  /** Lists that grow by each event: log probabilities and token ids. */
  readonly lists: Readonly<Record<string, readonly Json[]>>;
  /** Last usage that was told. */
  readonly usage: Json;
}

const textKeys = new Set(["text", "content", "arguments", "partial_json", "delta", "reasoning", "thinking"]);
const listKeys = new Set(["tokens", "token_logprobs", "top_logprobs", "text_offset", "token_ids"]);
/** In chat streams `logprobs.content` is a list and `delta.content` a text. */
const mergeable = /(completion\.chunk|text_completion|\.delta|content_block_delta)/;

/** Takes a stream of `data:` lines apart. Streams of several choices keep the order within each choice only. */
export function toldBy(stream: string): Told {
  const kinds = new Map<string, string[]>();
  const texts: Record<string, string> = {};
  const lists: Record<string, Json[]> = {};
  let usage: Json = null;
  for (const frame of stream.split("\n\n")) {
    if (frame === "") continue;
    const name = /^event: (.*)$/m.exec(frame)?.[1] ?? "";
    const data = /^data: (.*)$/m.exec(frame)?.[1];
    if (data === undefined) throw new Error(`a frame without data: ${JSON.stringify(frame)}`);
    const where = data === "[DONE]" ? "" : choiceOf(JSON.parse(data) as Json);
    const walk = (value: Json, path: string): Json => {
      if (isList(value)) {
        const key = path.slice(path.lastIndexOf(".") + 1);
        if (listKeys.has(key) || (key === "content" && path.includes("logprobs"))) {
          (lists[`${where} ${path}`] ??= []).push(...value);
          return "list";
        }
        return value.map((inner) => walk(inner, path));
      }
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value).map(([key, inner]) => {
          if (key === "usage" && inner !== null) {
            usage = inner;
            return [key, "usage"];
          }
          if (key === "sequence_number") return [key, "#"];
          if (textKeys.has(key) && typeof inner === "string") {
            texts[`${where} ${path}.${key}`] = (texts[`${where} ${path}.${key}`] ?? "") + inner;
            return [key, "text"];
          }
          const walked = walk(inner, `${path}.${key}`);
          return [key, key === "delta" && finishes(value) ? withoutText(walked) : walked];
        }),
      );
    };
    const parsed = data === "[DONE]" ? data : (JSON.parse(data) as Json);
    // what is not told piece by piece is compared to the letter
    const piecewise = data !== "[DONE]" && mergeable.test(data.slice(0, 4096));
    const kind = `${name} ${JSON.stringify(masked(piecewise ? walk(parsed, "") : withoutNumber(parsed)))}`;
    const order = kinds.get(where) ?? [];
    kinds.set(where, order);
    if (order.at(-1) !== kind) order.push(kind);
  }
  return {
    kinds: [...kinds.entries()].sort(([a], [b]) => a.localeCompare(b)).flatMap(([, order]) => order),
    texts,
    lists,
    usage,
  };
}

/** vLLM puts the last text into the frame with the finish reason, or ahead of it, as its steps and its answers happen to meet. */
function finishes(choice: Json): boolean {
  return ((choice as { readonly finish_reason?: Json }).finish_reason ?? null) !== null;
}

function withoutText(delta: Json): Json {
  if (typeof delta !== "object" || delta === null || isList(delta)) return delta;
  return Object.fromEntries(Object.entries(delta).filter(([, inner]) => inner !== "text"));
}

function withoutNumber(value: Json): Json {
  if (typeof value !== "object" || value === null || isList(value)) return value;
  return { ...value, ...("sequence_number" in value ? { sequence_number: "#" } : {}) };
}

function choiceOf(value: Json): string {
  const choices = (value as { readonly choices?: readonly { readonly index: number }[] }).choices;
  return choices?.[0] === undefined ? "" : `choice ${choices[0].index}`;
}
