// What each path means: the one table that the whole router reads. A path that is not here does not exist (vLLM leaves
// /collective_rpc, /invocations and others outside its key; a blind proxy would open them to the world).
import type { ErrorShape } from "./error-body.ts";

export const apiNames = [
  "completions",
  "chat",
  "embeddings",
  "rerank",
  "score",
  "tokenize",
  "detokenize",
  "responses",
  "messages",
  "count_tokens",
  "audio",
  "images",
] as const;
/** Value of the `api` label. */
export type ApiName = (typeof apiNames)[number];

/** A path whose requests are relayed to an engine. */
export interface RelayRow {
  readonly kind: "relay";
  readonly api: ApiName;
  readonly path: string;
  readonly methods: readonly string[];
  /** Where the model is named; `response` = by the response id in the path. */
  readonly modelIn: "json" | "form" | "response";
  readonly errors: ErrorShape;
  /** What ends a stream that is whole; null = its end is. */
  readonly lastEvent: "[DONE]" | "message_stop" | "response" | null;
}

export const ownNames = [
  "models",
  "model",
  "health",
  "ready",
  "version",
  "metrics",
  "engines",
  "page",
  "console",
  "console-file",
  "console-events",
  "console-configuration",
] as const;
/** A path that the router answers itself. */
export interface OwnRow {
  readonly kind: "own";
  readonly own: (typeof ownNames)[number];
  readonly path: string;
  readonly methods: readonly string[];
  readonly guard: "client" | "admin" | "open";
}

/** A path that is known and not built. */
export interface LaterRow {
  readonly kind: "later";
  readonly path: string;
  readonly methods: readonly string[];
}

export type ApiRow = RelayRow | OwnRow | LaterRow;

function relay(api: ApiName, path: string, extra: Partial<Omit<RelayRow, "kind" | "api" | "path">> = {}): RelayRow {
  return { kind: "relay", api, path, methods: ["POST"], modelIn: "json", errors: "openai", lastEvent: null, ...extra };
}

function own(name: OwnRow["own"], path: string, guard: OwnRow["guard"]): OwnRow {
  // load balancers like to ask with HEAD
  return { kind: "own", own: name, path, methods: ["GET", "HEAD"], guard };
}

function later(path: string, methods: readonly string[]): LaterRow {
  return { kind: "later", path, methods };
}

/** Paths as written here, and the same with or without `/v1` in front. `{id}` stands for the rest of the path or one part. */
export const apiTable: readonly ApiRow[] = [
  relay("completions", "/v1/completions", { lastEvent: "[DONE]" }),
  relay("chat", "/v1/chat/completions", { lastEvent: "[DONE]" }),
  relay("embeddings", "/v1/embeddings"),
  relay("rerank", "/v1/rerank"),
  relay("score", "/v1/score"),
  relay("tokenize", "/tokenize"),
  relay("detokenize", "/detokenize"),
  relay("responses", "/v1/responses", { errors: "responses", lastEvent: "response" }),
  relay("responses", "/v1/responses/{id}", { methods: ["GET", "DELETE"], modelIn: "response", errors: "responses" }),
  relay("responses", "/v1/responses/{id}/cancel", { modelIn: "response", errors: "responses" }),
  relay("messages", "/v1/messages", { errors: "anthropic", lastEvent: "message_stop" }),
  relay("count_tokens", "/v1/messages/count_tokens", { errors: "anthropic" }),
  relay("audio", "/v1/audio/transcriptions", { modelIn: "form" }),
  relay("audio", "/v1/audio/translations", { modelIn: "form" }),
  relay("audio", "/v1/audio/speech"),
  relay("audio", "/v1/audio/voices", { methods: ["POST"], modelIn: "form" }),
  relay("images", "/v1/images/generations"),
  relay("images", "/v1/images/edits", { modelIn: "form" }),
  own("models", "/v1/models", "client"),
  own("model", "/v1/models/{rest}", "client"),
  own("health", "/health", "open"),
  own("ready", "/ready", "open"),
  own("version", "/version", "open"),
  own("metrics", "/metrics", "open"),
  own("engines", "/engines", "admin"),
  own("page", "/", "open"),
  // the page asks for the key itself: nothing that it shows is in its files
  own("console", "/console", "open"),
  own("console-events", "/console/events", "admin"),
  own("console-configuration", "/console/configuration", "admin"),
  own("console-file", "/console/{rest}", "open"),
  later("/v1/files", ["GET", "POST"]),
  later("/v1/files/{rest}", ["GET", "DELETE"]),
  later("/v1/batches", ["GET", "POST"]),
  later("/v1/batches/{rest}", ["GET", "POST"]),
  later("/sleep", ["POST"]),
  later("/wake_up", ["POST"]),
  later("/is_sleeping", ["GET"]),
];

export interface PathMatch {
  readonly rows: readonly ApiRow[];
  /** What `{id}` or `{rest}` stood for; "" = none. */
  readonly parameter: string;
}

const exact = new Map<string, ApiRow[]>();
const patterns: { row: ApiRow; expression: RegExp }[] = [];
for (const row of apiTable) {
  for (const path of spellings(row.path)) {
    if (path.includes("{")) {
      const source = path.replace(/[.]/g, "\\.").replace("{id}", "([^/]+)").replace("{rest}", "(.+)");
      patterns.push({ row, expression: new RegExp(`^${source}$`) });
    } else exact.set(path, [...(exact.get(path) ?? []), row]);
  }
}

/** A path with and without `/v1`; pages for a browser have only one. */
export function spellings(path: string): string[] {
  if (path === "/" || path.startsWith("/console")) return [path];
  return path.startsWith("/v1/") ? [path, path.slice(3)] : [path, `/v1${path}`];
}

/** Finds the rows of a path. `path` has no query; a slash at its end is ignored. */
export function matchPath(path: string): PathMatch | null {
  const plain = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
  const rows = exact.get(plain);
  if (rows !== undefined) return { rows, parameter: "" };
  for (const { row, expression } of patterns) {
    const match = expression.exec(plain);
    if (match !== null) return { rows: [row], parameter: decode(match[1] ?? "") };
  }
  return null;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
