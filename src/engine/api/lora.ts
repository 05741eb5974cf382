// POST /v1/load_lora_adapter and /v1/unload_lora_adapter. Routes of a server that may change its adapters at run time;
// they answer plain sentences, as recorded. No file is read: a path is found unless its name says otherwise.

import type { EngineApp } from "./app.ts";
import { ApiError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { FieldReader } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

export function loadAdapter(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("lora_name");
  reader.require("lora_path");
  const name = reader.string("lora_name") ?? "";
  const path = reader.string("lora_path") ?? "";
  const inPlace = reader.bool("load_inplace", false);
  reader.check();
  if (name === "" || path === "") {
    throw invalid("Both 'lora_name' and 'lora_path' must be provided.");
  }
  if (app.adapters.has(name) && !inPlace) {
    throw invalid(
      `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set ` +
        "'load_inplace' to True.",
    );
  }
  if (path.startsWith("/nonexistent")) {
    throw new ApiError(404, "NotFoundError", `Loading lora ${name} failed: No adapter found for ${path}`);
  }
  app.adapters.load({ name, path });
  exchange.send(200, null, `Success: LoRA adapter '${name}' added successfully.`);
}

export function unloadAdapter(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  const name = reader.string("lora_name") ?? "";
  reader.check();
  if (name === "") throw invalid("'lora_name' needs to be provided to unload a LoRA adapter.");
  if (!app.adapters.unload(name)) {
    throw new ApiError(404, "NotFoundError", `The lora adapter '${name}' cannot be found.`);
  }
  exchange.send(200, null, `Success: LoRA adapter '${name}' removed successfully.`);
}

const invalid = (message: string): ApiError => new ApiError(400, "InvalidUserInput", message);
