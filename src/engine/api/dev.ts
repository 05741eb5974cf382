// The routes of VLLM_SERVER_DEV_MODE: pause, sleep, abort, cache reset, information. Beside the generating routes; only
// there with `devMode`. Answers are recorded ones, the odd ones too: abort_requests counts what it was told, not what it
// found.

import type { EngineApp } from "./app.ts";
import { badRequest } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { parseJsonBody } from "./json-body.ts";
import type { PauseMode } from "./gate.ts";
import { FieldReader } from "./validation.ts";

const query = (exchange: Exchange, name: string): string | null =>
  new URLSearchParams((exchange.request.url ?? "").split("?")[1] ?? "").get(name);

export function pause(app: EngineApp, exchange: Exchange): void {
  const mode = query(exchange, "mode") ?? "abort";
  if (!isMode(mode)) throw badRequest(`Invalid pause mode: ${mode}`);
  app.gate.paused = true;
  stop(app, mode, () => exchange.json(200, { status: "paused" }));
}

const isMode = (text: string): text is PauseMode => text === "abort" || text === "wait" || text === "keep";

function stop(app: EngineApp, mode: PauseMode, done: () => void): void {
  if (mode === "wait") {
    app.whenIdle(done);
    return;
  }
  if (mode === "abort") app.abortAll("abort");
  else app.freeze();
  done();
}

export function resume(app: EngineApp, exchange: Exchange): void {
  app.gate.paused = false;
  app.thaw();
  app.gate.release();
  exchange.json(200, { status: "resumed" });
}

export function isPaused(app: EngineApp, exchange: Exchange): void {
  exchange.json(200, { is_paused: app.gate.paused });
}

export function sleep(app: EngineApp, exchange: Exchange): void {
  const level = Number(query(exchange, "level") ?? "1");
  const mode = query(exchange, "mode") ?? "abort";
  if (!isMode(mode)) throw badRequest(`Invalid pause mode: ${mode}`);
  app.gate.sleepLevel = level;
  stop(app, mode, () => {
    if (mode !== "keep") for (const rank of app.ranks) rank.resetPrefixCache();
    exchange.json(200, { status: "sleeping", level });
  });
}

export function wakeUp(app: EngineApp, exchange: Exchange): void {
  const tags = new URLSearchParams((exchange.request.url ?? "").split("?")[1] ?? "").getAll("tags");
  app.gate.sleepLevel = 0;
  app.thaw();
  app.gate.release();
  exchange.json(200, { status: "awake", tags: tags.length === 0 ? null : tags });
}

export function isSleeping(app: EngineApp, exchange: Exchange): void {
  exchange.json(200, { is_sleeping: app.gate.sleepLevel > 0 });
}

export function resetPrefixCache(app: EngineApp, exchange: Exchange): void {
  // Every rank is asked, also after one has refused.
  const results = app.ranks.map((rank) => rank.resetPrefixCache());
  exchange.json(200, { success: results.every(Boolean) });
}

export function abortRequests(app: EngineApp, exchange: Exchange): void {
  const body = parseJsonBody(exchange.header("content-type"), exchange.body);
  const reader = new FieldReader(body);
  const ids = reader.list("request_ids").map(String);
  reader.check();
  for (const id of ids) app.abortable.get(id)?.();
  exchange.json(200, { status: "aborted", aborted: ids.length });
}

export function worldSize(_app: EngineApp, exchange: Exchange): void {
  exchange.json(200, { world_size: 1 });
}

export function weightInfo(_app: EngineApp, exchange: Exchange): void {
  exchange.json(200, { weight_version: "default" });
}

/** Unrecorded beyond its keys: what a client can use of the configuration. */
export function serverInfo(app: EngineApp, exchange: Exchange): void {
  const { options } = app;
  exchange.json(200, {
    vllm_config: {
      model_config: {
        model: options.modelRoot,
        served_model_name: options.models,
        max_model_len: app.core.maxModelLen,
      },
      cache_config: { block_size: options.blockSize, num_gpu_blocks: options.numGpuBlocks },
      scheduler_config: { max_num_seqs: options.maxNumSeqs, max_num_batched_tokens: options.maxNumBatchedTokens },
      parallel_config: { data_parallel_size: options.dataParallelSize },
    },
    vllm_env: {},
    system_env: {},
  });
}
