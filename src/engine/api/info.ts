// The small routes that tell about the server: health, version, load, models. They must stay cheap and must answer while
// the engine is busy, as vLLM's do.

import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import type { Exchange } from "./exchange.ts";
import { metricsContentType } from "./metrics.ts";
import { vllmVersion } from "../options.ts";

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
  const wrong = app.faults.hit("wrong_models") !== null;
  const names = wrong ? ["some/other-model"] : app.options.models;
  const created = app.createdSeconds();
  exchange.json(200, {
    object: "list",
    data: names.map((id) => ({
      id,
      object: "model",
      created,
      owned_by: "vllm",
      root: wrong ? id : app.model,
      parent: null,
      max_model_len: app.core.maxModelLen,
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
  exchange.send(200, metricsContentType, app.metrics.render(app));
}
