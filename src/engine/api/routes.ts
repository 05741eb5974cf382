// The table of routes: path to handler, method, whether it generates. Between the server and the handlers. The table is
// the surface: a route that is not here answers 404 as FastAPI does.

import type { EngineApp } from "./app.ts";
import { transcriptions } from "./audio.ts";
import { chatCompletions } from "./chat.ts";
import { completions } from "./completions.ts";
import { ApiError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { health, listModels, load, metrics, version } from "./info.ts";
import { countTokens, messages } from "./messages.ts";
import { embeddings, rerank, score } from "./pooling.ts";
import { cancelResponse, createResponse, getResponse } from "./responses.ts";
import { detokenizeRoute, tokenizeRoute } from "./tokenize.ts";
import type { JsonObject } from "./validation.ts";

export interface Route {
  readonly methods: readonly string[];
  /** What the handler is given: a parsed JSON object, or nothing and it reads `exchange.body` itself. */
  readonly body: "json" | "raw";
  /** Generating routes count in /load and are hit by faults that concern generation. */
  readonly generates: boolean;
  /** `body` is an empty object for raw routes; `id` is the path parameter, if the path has one. */
  readonly handle: (app: EngineApp, exchange: Exchange, body: JsonObject, id: string) => void;
}

type Handler = Route["handle"];

const get = (handle: Handler): Route => ({ methods: ["GET"], body: "raw", generates: false, handle });
const post = (handle: Handler): Route => ({ methods: ["POST"], body: "json", generates: false, handle });
const generate = (handle: Handler): Route => ({ methods: ["POST"], body: "json", generates: true, handle });

/** Routes that vLLM keeps shut without `--enable-scale-out`. */
const shut: Route = {
  methods: ["POST"],
  body: "raw",
  generates: false,
  handle: () => {
    const message = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.";
    throw new ApiError(403, "PermissionDeniedError", message);
  },
};

const upload = (handle: Handler): Route => ({ methods: ["POST"], body: "raw", generates: true, handle });

const table: Readonly<Record<string, Route>> = {
  "/health": get(health),
  "/ping": { methods: ["GET", "POST"], body: "raw", generates: false, handle: health },
  "/version": get(version),
  "/load": get(load),
  "/metrics": get(metrics),
  "/tokenize": post(tokenizeRoute),
  "/detokenize": post(detokenizeRoute),
  "/rerank": generate(rerank),
  "/score": generate(score),
  "/invocations": generate(invocations),
  "/v1/models": get(listModels),
  "/v1/completions": generate(completions),
  "/v1/chat/completions": generate(chatCompletions),
  "/v1/completions/render": shut,
  "/v1/chat/completions/render": shut,
  "/inference/v1/generate": shut,
  "/v1/messages": generate(messages),
  "/v1/messages/count_tokens": post(countTokens),
  "/v1/responses": generate(createResponse),
  "/v1/embeddings": generate(embeddings),
  "/v1/rerank": generate(rerank),
  "/v2/rerank": generate(rerank),
  "/v1/score": generate(score),
  "/v1/audio/transcriptions": upload(transcriptions),
  "/v1/audio/translations": upload(transcriptions),
};

/** Routes with an id in the path. */
const patterns: readonly (readonly [RegExp, Route])[] = [
  [/^\/v1\/responses\/([^/]+)$/, get(getResponse)],
  [/^\/v1\/responses\/([^/]+)\/cancel$/, { methods: ["POST"], body: "raw", generates: false, handle: cancelResponse }],
];

/** SageMaker's one route: what the body looks like says which API it means. */
function invocations(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  if (body["messages"] !== undefined) chatCompletions(app, exchange, body);
  else if (body["input"] !== undefined) embeddings(app, exchange, body);
  else completions(app, exchange, body);
}

export interface FoundRoute {
  readonly route: Route;
  /** The path's id, or nothing. */
  readonly id: string;
}

export function findRoute(path: string): FoundRoute | null {
  const exact = Object.hasOwn(table, path) ? table[path] : undefined;
  if (exact !== undefined) return { route: exact, id: "" };
  for (const [pattern, route] of patterns) {
    const id = pattern.exec(path)?.[1];
    if (id !== undefined) return { route, id };
  }
  return null;
}
