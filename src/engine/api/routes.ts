// The table of routes: path to handler, method, whether it generates. Between the server and the handlers. The table is
// the surface: a route that is not here answers 404 as FastAPI does.

import type { EngineApp } from "./app.ts";
import { transcriptions } from "./audio.ts";
import { chatCompletions } from "./chat.ts";
import { completions } from "./completions.ts";
import { chatBatch, generativeScoring, systemOne } from "./batches.ts";
import {
  abortRequests,
  isPaused,
  isSleeping,
  pause,
  resetPrefixCache,
  resume,
  serverInfo,
  sleep,
  wakeUp,
  weightInfo,
  worldSize,
} from "./dev.ts";
import { ApiError } from "./errors.ts";
import { loadAdapter, unloadAdapter } from "./lora.ts";
import { generate as generateTokens, renderChatRequest, renderCompletionRequest } from "./scale-out.ts";
import type { ResolvedOptions } from "../options.ts";
import type { Exchange } from "./exchange.ts";
import { health, kvEventSources, listModels, load, metrics, version } from "./info.ts";
import { countTokens, messages } from "./messages.ts";
import { classify, embeddings, pooling, rerank, score } from "./pooling.ts";
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
  /** Whether a server with these options has the route. Default always. */
  readonly exists?: (options: ResolvedOptions) => boolean;
}

type Handler = Route["handle"];

const get = (handle: Handler): Route => ({ methods: ["GET"], body: "raw", generates: false, handle });
const post = (handle: Handler): Route => ({ methods: ["POST"], body: "json", generates: false, handle });
const generate = (handle: Handler): Route => ({ methods: ["POST"], body: "json", generates: true, handle });

const only = (exists: NonNullable<Route["exists"]>, route: Route): Route => ({ ...route, exists });

const generating = (options: ResolvedOptions): boolean => options.runner !== "pooling";
const computing = (options: ResolvedOptions): boolean => options.runner !== "generate";
const hearing = (options: ResolvedOptions): boolean => options.runner === "auto";
const developing = (options: ResolvedOptions): boolean => options.devMode;
const adapting = (options: ResolvedOptions): boolean => options.allowRuntimeLora;

const command = (handle: Handler): Route => ({ methods: ["POST"], body: "raw", generates: false, handle });

/** Routes that vLLM keeps shut without `--enable-scale-out`; it says so before it reads the body. */
function scaleOut(route: Route): Route {
  return {
    ...route,
    handle: (app, exchange, body, id) => {
      if (app.options.enableScaleOut) {
        route.handle(app, exchange, body, id);
        return;
      }
      const message = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.";
      throw new ApiError(403, "PermissionDeniedError", message);
    },
  };
}

const upload = (handle: Handler): Route => ({ methods: ["POST"], body: "raw", generates: true, handle });

const table: Readonly<Record<string, Route>> = {
  "/health": get(health),
  "/ping": { methods: ["GET", "POST"], body: "raw", generates: false, handle: health },
  "/version": get(version),
  "/load": get(load),
  "/metrics": get(metrics),
  "/tokenize": post(tokenizeRoute),
  "/detokenize": post(detokenizeRoute),
  "/invocations": generate(invocations),
  "/v1/models": get(listModels),
  "/v1/completions": only(generating, generate(completions)),
  "/v1/chat/completions": only(generating, generate(chatCompletions)),
  "/v1/chat/completions/batch": only(generating, generate(chatBatch)),
  "/generative_scoring": only(generating, generate(generativeScoring)),
  "/v1/systemone": only(generating, post(systemOne)),
  "/v1/completions/render": scaleOut(post(renderCompletionRequest)),
  "/v1/chat/completions/render": scaleOut(post(renderChatRequest)),
  "/inference/v1/generate": scaleOut(generate(generateTokens)),
  "/v1/messages": only(generating, generate(messages)),
  "/v1/messages/count_tokens": only(generating, post(countTokens)),
  "/v1/responses": only(generating, generate(createResponse)),
  "/rerank": only(computing, generate(rerank)),
  "/score": only(computing, generate(score)),
  "/classify": only(computing, generate(classify)),
  "/pooling": only(computing, generate(pooling)),
  "/v1/embeddings": only(computing, generate(embeddings)),
  "/v1/rerank": only(computing, generate(rerank)),
  "/v2/rerank": only(computing, generate(rerank)),
  "/v1/score": only(computing, generate(score)),
  "/v1/audio/transcriptions": only(hearing, upload(transcriptions)),
  "/v1/audio/translations": only(hearing, upload(transcriptions)),
  "/v1/load_lora_adapter": only(adapting, post(loadAdapter)),
  "/v1/unload_lora_adapter": only(adapting, post(unloadAdapter)),
  "/kv_event_sources": get(kvEventSources),
  "/server_info": only(developing, get(serverInfo)),
  "/get_world_size": only(developing, get(worldSize)),
  "/weight_info": only(developing, get(weightInfo)),
  "/is_sleeping": only(developing, get(isSleeping)),
  "/is_paused": only(developing, get(isPaused)),
  "/sleep": only(developing, command(sleep)),
  "/wake_up": only(developing, command(wakeUp)),
  "/pause": only(developing, command(pause)),
  "/resume": only(developing, command(resume)),
  "/reset_prefix_cache": only(developing, command(resetPrefixCache)),
  "/abort_requests": only(developing, command(abortRequests)),
};

/** Routes with an id in the path. */
const patterns: readonly (readonly [pattern: RegExp, template: string, route: Route])[] = [
  [/^\/v1\/responses\/([^/]+)$/, "/v1/responses/{response_id}", get(getResponse)],
  [/^\/v1\/responses\/([^/]+)\/cancel$/, "/v1/responses/{response_id}/cancel", command(cancelResponse)],
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
  /** The path with names for its ids, as metrics show it. */
  readonly template: string;
}

export function findRoute(path: string, options: ResolvedOptions): FoundRoute | null {
  const exact = Object.hasOwn(table, path) ? table[path] : undefined;
  if (exact !== undefined) return exact.exists?.(options) === false ? null : { route: exact, id: "", template: path };
  for (const [pattern, template, route] of patterns) {
    const id = pattern.exec(path)?.[1];
    if (id !== undefined) return { route, id, template };
  }
  return null;
}
