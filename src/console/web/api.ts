// The browser's side of the wire. Keys live in this tab only; everything is below the path at which the page was found, so
// that a prefix of a proxy in front does no harm.
import type { Snapshot } from "../shapes.ts";

const base = new URL(".", location.href);
const keyName = "lmstack-key";

export class NeedsKey extends Error {}

/** The key that is sent along; "" = none. */
export function key(): string {
  return sessionStorage.getItem(keyName) ?? "";
}

export function setKey(value: string): void {
  sessionStorage.setItem(keyName, value);
}

function headers(): Record<string, string> {
  return key() === "" ? {} : { authorization: `Bearer ${key()}` };
}

async function get(path: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(new URL(path, base), {
    headers: headers(),
    ...(signal === undefined ? {} : { signal }),
  });
  if (response.status === 401) throw new NeedsKey();
  if (!response.ok) throw new Error(await problem(response));
  return response;
}

/** What the router says went wrong, in one line. */
async function problem(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } };
    if (error?.message !== undefined) return `${response.status}: ${error.message}`;
  } catch {
    // no JSON: shown as it is
  }
  return `${response.status}: ${text.slice(0, 300)}`;
}

export async function configuration(): Promise<object> {
  return (await (await get("console/configuration")).json()) as object;
}

/** Snapshots until the signal; @throws NeedsKey, or Error when the stream ends */
export async function watch(signal: AbortSignal, onSnapshot: (snapshot: Snapshot) => void): Promise<void> {
  const response = await get("console/events", signal);
  await events(response, (data) => onSnapshot(JSON.parse(data) as Snapshot));
  throw new Error("The router ended the stream.");
}

/** Reads the `data:` of each event of a stream. */
async function events(response: Response, onData: (data: string) => void): Promise<void> {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const data = text
        .slice(0, end)
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart())
        .join("\n");
      text = text.slice(end + 2);
      if (data !== "") onData(data);
    }
  }
}

export interface Prompt {
  readonly model: string;
  readonly text: string;
  readonly maxTokens: number;
  readonly temperature: number;
}

export interface Answer {
  readonly text: string;
  readonly requestId: string;
  readonly endpoint: string | null;
  /** Milliseconds until the first token; null = none yet. */
  readonly firstMs: number | null;
  readonly totalMs: number;
  readonly tokens: number;
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string } }[];
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
  readonly error?: { readonly message?: string };
}

/** Streams a chat; reports after each event. @throws Error with the router's or the engine's words */
export async function chat(prompt: Prompt, signal: AbortSignal, onAnswer: (answer: Answer) => void): Promise<void> {
  const began = performance.now();
  const response = await fetch(new URL("v1/chat/completions", base), {
    method: "POST",
    headers: { "content-type": "application/json", ...headers() },
    body: JSON.stringify({
      model: prompt.model,
      messages: [{ role: "user", content: prompt.text }],
      max_tokens: prompt.maxTokens,
      temperature: prompt.temperature,
      stream: true,
      stream_options: { include_usage: true },
    }),
    signal,
  });
  if (!response.ok) throw new Error(await problem(response));
  let answer: Answer = {
    text: "",
    requestId: response.headers.get("x-request-id") ?? "",
    endpoint: null,
    firstMs: null,
    totalMs: 0,
    tokens: 0,
    promptTokens: null,
    cachedTokens: null,
  };
  await events(response, (data) => {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw new Error(chunk.error.message ?? "The engine failed.");
    const part = chunk.choices?.[0]?.delta?.content ?? "";
    const now = performance.now() - began;
    answer = {
      ...answer,
      text: answer.text + part,
      firstMs: answer.firstMs ?? (part === "" ? null : now),
      totalMs: now,
      tokens: chunk.usage?.completion_tokens ?? (part === "" ? answer.tokens : answer.tokens + 1),
      promptTokens: chunk.usage?.prompt_tokens ?? answer.promptTokens,
      cachedTokens: chunk.usage?.prompt_tokens_details?.cached_tokens ?? answer.cachedTokens,
    };
    onAnswer(answer);
  });
}
