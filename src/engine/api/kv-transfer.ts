// Prefill on one engine, decode on another: what `kv_transfer_params` of a request asks for, and what the answer says. Field
// names and values are those of vLLM's NixlConnector (pull); without a connector they are accepted and ignored, as recorded.
// Bottom of the API; it moves no bytes: that the other engine has computed the prompt is believed.
import { createHash } from "node:crypto";
import type { EngineApp } from "./app.ts";
import type { Choice } from "./generation.ts";
import type { JsonObject } from "./validation.ts";

/** Value of `--kv-transfer-config`; fields and defaults are vLLM's `KVTransferConfig`. */
export interface KvTransferConfig {
  readonly kv_connector: string;
  readonly kv_role: "kv_producer" | "kv_consumer" | "kv_both";
  /** null = made from seed and port. */
  readonly engine_id: string | null;
}

const roles = ["kv_producer", "kv_consumer", "kv_both"] as const;
/** What vLLM knows besides; it changes nothing here. */
const ignored = [
  "kv_buffer_device",
  "kv_buffer_size",
  "kv_rank",
  "kv_parallel_size",
  "kv_ip",
  "kv_port",
  "kv_connector_extra_config",
  "kv_connector_module_path",
  "enable_permute_local_kv",
  "kv_load_failure_policy",
];

/** Reads the option's text. Throws a RangeError that says what is wrong. */
export function parseKvTransferConfig(text: string): KvTransferConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RangeError(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new RangeError("not a JSON object");
  const known = ["kv_connector", "kv_role", "engine_id", ...ignored];
  const given = new Map(Object.entries(value));
  for (const name of given.keys())
    if (!known.includes(name)) throw new RangeError(`${name} is no field of it; fields are ${known.join(", ")}`);
  const connector: unknown = given.get("kv_connector");
  if (typeof connector !== "string" || connector === "")
    throw new RangeError("kv_connector is missing: NixlConnector is one");
  const role = roles.find((one) => one === given.get("kv_role"));
  if (role === undefined) throw new RangeError(`kv_role must be one of ${roles.join(", ")}`);
  const id: unknown = given.get("engine_id") ?? null;
  if (id !== null && typeof id !== "string") throw new RangeError("engine_id must be a string");
  return { kv_connector: connector, kv_role: role, engine_id: id };
}

/** Where the other engine has to be named, for the blocks to be found. */
const remote = ["remote_engine_id", "remote_request_id", "remote_host", "remote_port"];

/** Tokens of the prompt that another engine has computed: all of it, or none. */
export function externalTokens(app: EngineApp, params: JsonObject | null, promptTokens: number): number {
  if (app.options.kvTransfer === null || params === null || params["do_remote_prefill"] !== true) return 0;
  return remote.every((field) => field in params) ? promptTokens : 0;
}

/** Value of `kv_transfer_params` in the answer: where the decoding engine finds the prompt's blocks; null = not asked for. */
export function transferAnswer(
  app: EngineApp,
  params: JsonObject | null,
  id: string,
  choices: readonly Choice[],
): object | null {
  const { kvTransfer } = app.options;
  const [choice] = choices;
  if (kvTransfer === null || params === null || params["do_remote_decode"] !== true || choice === undefined)
    return null;
  if (choice.finish?.reason !== "length" && choice.finish?.reason !== "stop") return null;
  return {
    do_remote_prefill: true,
    do_remote_decode: false,
    remote_block_ids: [choice.blocks],
    remote_engine_id: kvTransfer.engine_id ?? engineId(app),
    remote_request_id: id,
    remote_host: app.options.host,
    // of vLLM's side channel
    remote_port: 5600,
    tp_size: 1,
    dcp_size: 1,
    pp_size: 1,
    // the last token's keys and values are those of the next step
    remote_num_tokens: choice.prompt.tokens.length + choice.tokenIds.length - 1,
    remote_blocks_expiry_time: null,
    transfer_mode: "pull",
  };
}

/** Looks as vLLM's, a UUID; the same for the same seed and port. */
function engineId(app: EngineApp): string {
  const hex = createHash("sha256").update(`${app.options.seed} ${app.options.port}`).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
