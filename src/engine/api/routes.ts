// The table of routes: path to handler, method, whether it generates. Between the server and the handlers. The table is
// the surface: a route that is not here answers 404 as FastAPI does.

import type { EngineApp } from './app.ts';
import { chatCompletions } from './chat.ts';
import { completions } from './completions.ts';
import type { Exchange } from './exchange.ts';
import { health, listModels, load, metrics, version } from './info.ts';
import type { JsonObject } from './validation.ts';

export interface Route {
  readonly methods: readonly string[];
  /** What the handler is given: a parsed JSON object, or nothing and it reads `exchange.body` itself. */
  readonly body: 'json' | 'raw';
  /** Generating routes count in /load and are hit by faults that concern generation. */
  readonly generates: boolean;
  /** `body` is an empty object for raw routes; `id` is the path parameter, if the path has one. */
  readonly handle: (app: EngineApp, exchange: Exchange, body: JsonObject, id: string) => void;
}

type Handler = Route['handle'];

const get = (handle: Handler): Route => ({ methods: ['GET'], body: 'raw', generates: false, handle });
const post = (handle: Handler): Route => ({ methods: ['POST'], body: 'json', generates: false, handle });
const generate = (handle: Handler): Route => ({ methods: ['POST'], body: 'json', generates: true, handle });

const table: Readonly<Record<string, Route>> = {
  '/health': get(health),
  '/ping': { methods: ['GET', 'POST'], body: 'raw', generates: false, handle: health },
  '/version': get(version),
  '/load': get(load),
  '/metrics': get(metrics),
  '/v1/models': get(listModels),
  '/v1/completions': generate(completions),
  '/v1/chat/completions': generate(chatCompletions),
};

export interface FoundRoute {
  readonly route: Route;
  readonly id: string;
}

export function findRoute(path: string): FoundRoute | null {
  const exact = Object.hasOwn(table, path) ? table[path] : undefined;
  return exact === undefined ? null : { route: exact, id: '' };
}

export { post };
