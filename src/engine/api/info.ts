// The small routes that tell about the server: health, version, load, models. They must stay cheap and must answer while
// the engine is busy, as vLLM's do.

import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import { notFound } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { metricsContentType, renderMetrics } from "./exposition.ts";
import { vllmVersion } from "../options.ts";

interface ModelEntry {
  readonly id: string;
  readonly root: string;
  /** The base model of an adapter. */
  readonly parent: string | null;
}

/** 200 and nothing; 503 only when the engine is dead. */
export function health(app: EngineApp, exchange: Exchange): void {
  exchange.send(app.dead ? 503 : 200, null, "");
}

export function version(_app: EngineApp, exchange: Exchange): void {
  exchange.json(200, { version: vllmVersion });
}

export function load(app: EngineApp, exchange: Exchange): void {
  exchange.json(200, { server_load: app.options.enableServerLoadTracking ? app.inFlight : 0 });
}

export function listModels(app: EngineApp, exchange: Exchange): void {
  const wrong = app.faultOf(exchange, "wrong_models") !== null;
  const entries: readonly ModelEntry[] = wrong
    ? [{ id: "some/other-model", root: "some/other-model", parent: null }]
    : [
        ...app.options.models.map((id) => ({ id, root: app.options.modelRoot, parent: null })),
        ...app.adapters.list().map(({ name, path }) => ({ id: name, root: path, parent: app.model })),
      ];
  const created = app.createdSeconds();
  exchange.json(200, {
    object: "list",
    data: entries.map(({ id, root, parent }) => ({
      id,
      object: "model",
      created,
      owned_by: "vllm",
      root,
      parent,
      // An adapter has its base model's.
      max_model_len: parent === null ? app.core.maxModelLen : null,
      permission: [
        {
          id: `modelperm-${randomHex(16)}`,
          object: "model_permission",
          created,
          allow_create_engine: false,
          allow_sampling: true,
          allow_logprobs: true,
          allow_search_indices: false,
          allow_view: true,
          allow_fine_tuning: false,
          organization: "*",
          group: null,
          is_blocking: false,
        },
      ],
    })),
  });
}

export function metrics(app: EngineApp, exchange: Exchange): void {
  if (app.faultOf(exchange, "metrics_missing") !== null) throw notFound();
  if (app.faultOf(exchange, "metrics_garbage") !== null) {
    exchange.send(
      200,
      metricsContentType,
      "<html><body>upstream said no</body></html>\nvllm:num_requests_running{ NaN..\n",
    );
    return;
  }
  const stale = app.faultOf(exchange, "metrics_stale") !== null;
  if (!stale || app.staleMetrics === null) app.staleMetrics = renderMetrics(app, app.scrapes++);
  const text = app.staleMetrics;
  const slow = app.faultOf(exchange, "metrics_slow");
  const send = (): void => exchange.send(200, metricsContentType, text);
  if (slow === null) send();
  else app.clock.setTimer((slow.seconds ?? 1) * 1000, send);
}

/** Where each rank's KV events are, as configured; an empty object without them. */
export function kvEventSources(app: EngineApp, exchange: Exchange): void {
  const sources = app.ranks.flatMap(({ kvConfig }, rank) => (kvConfig === null ? [] : [[String(rank), kvConfig]]));
  exchange.json(200, Object.fromEntries(sources));
}
