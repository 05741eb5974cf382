// What a simulated engine can be told, and the defaults. Read by everything above the core. It must stay plain data:
// the command line, tests and `lmstack up` all build it.

import type { Clock } from "../clock.ts";
import { defaultPresetId, findPreset } from "./core/index.ts";
import type { Preset } from "./core/index.ts";
import type { Fault } from "./api/faults.ts";

export interface EngineOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Served names; the first is the one in the metrics. Default `facebook/opt-125m`. */
  readonly models?: readonly string[];
  /** Preset id, or coefficients of one's own. Default `llama-3.1-8b-1xh100`. */
  readonly preset?: string | Preset;
  /** Default 0. Equal seeds give equal texts. */
  readonly seed?: number;
  /** Model time per wall time. Default 1. */
  readonly speed?: number;
  /** Default 32768; shrinks to what the cache can hold. */
  readonly maxModelLen?: number;
  /** Default 256. */
  readonly maxNumSeqs?: number;
  /** Default 8192. */
  readonly maxNumBatchedTokens?: number;
  /** Tokens in a KV block. Default 16. */
  readonly blockSize?: number;
  /** Default the preset's. One is reserved, as in vLLM. */
  readonly numGpuBlocks?: number | null;
  /** Running + waiting requests above which new ones get 503. Default none. */
  readonly maxNumQueuedReqs?: number | null;
  /** Default true. */
  readonly enablePrefixCaching?: boolean;
  readonly schedulingPolicy?: "fcfs" | "priority";
  /** Keys that `/v1` asks for; none by default. */
  readonly apiKeys?: readonly string[];
  /** Default true, unlike vLLM: a router test nearly always wants to see the hits. */
  readonly enablePromptTokensDetails?: boolean;
  /** `x-request-id` on responses. Default false. */
  readonly enableRequestIdHeaders?: boolean;
  /** `/load` counts. Default false. */
  readonly enableServerLoadTracking?: boolean;
  readonly enableForceIncludeUsage?: boolean;
  /** `/sim/*` and the `x-sim-fault` header. Default false. */
  readonly simApi?: boolean;
  /** Faults from the start; need no simApi. */
  readonly faults?: readonly Fault[];
  /** Refuses connections for this long before it listens. Default 0. */
  readonly startupSeconds?: number;
  /** How the text is made. `echo` repeats the prompt. Default filler. */
  readonly text?: "filler" | "echo";
  /** What a `crash` fault does after the sockets are gone; a process exits here. */
  readonly onCrash?: () => void;
  readonly clock?: Clock;
  /** Ends the wait of `startupSeconds`. */
  readonly signal?: AbortSignal;
}

/** All options with their values, and the preset looked up. */
export interface ResolvedOptions {
  readonly host: string;
  readonly port: number;
  readonly models: readonly string[];
  readonly preset: Preset;
  readonly seed: number;
  readonly speed: number;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly blockSize: number;
  readonly numGpuBlocks: number;
  readonly maxNumQueuedReqs: number | null;
  readonly enablePrefixCaching: boolean;
  readonly schedulingPolicy: "fcfs" | "priority";
  readonly apiKeys: readonly string[];
  readonly enablePromptTokensDetails: boolean;
  readonly enableRequestIdHeaders: boolean;
  readonly enableServerLoadTracking: boolean;
  readonly enableForceIncludeUsage: boolean;
  readonly simApi: boolean;
  readonly faults: readonly Fault[];
  readonly startupSeconds: number;
  readonly text: "filler" | "echo";
  readonly onCrash: () => void;
}

/** The version that the simulator claims to be, that of the recordings. */
export const vllmVersion = "0.32.0";
const defaultModel = "facebook/opt-125m";

/** Fills in the defaults. Throws a RangeError for an unknown preset. */
export function resolveOptions(options: EngineOptions): ResolvedOptions {
  const wanted = options.preset ?? defaultPresetId;
  const preset = typeof wanted === "string" ? findPreset(wanted) : wanted;
  if (preset === undefined) throw new RangeError(`there is no preset named ${JSON.stringify(wanted)}`);
  const models = options.models ?? [];
  return {
    host: options.host ?? "127.0.0.1",
    port: options.port ?? 0,
    models: models.length > 0 ? models : [defaultModel],
    preset,
    seed: options.seed ?? 0,
    speed: options.speed ?? 1,
    maxModelLen: options.maxModelLen ?? 32_768,
    maxNumSeqs: options.maxNumSeqs ?? 256,
    maxNumBatchedTokens: options.maxNumBatchedTokens ?? 8192,
    blockSize: options.blockSize ?? 16,
    numGpuBlocks: options.numGpuBlocks ?? preset.kvBlocks,
    maxNumQueuedReqs: options.maxNumQueuedReqs ?? null,
    enablePrefixCaching: options.enablePrefixCaching ?? true,
    schedulingPolicy: options.schedulingPolicy ?? "fcfs",
    apiKeys: options.apiKeys ?? [],
    enablePromptTokensDetails: options.enablePromptTokensDetails ?? true,
    enableRequestIdHeaders: options.enableRequestIdHeaders ?? false,
    enableServerLoadTracking: options.enableServerLoadTracking ?? false,
    enableForceIncludeUsage: options.enableForceIncludeUsage ?? false,
    simApi: options.simApi ?? false,
    faults: options.faults ?? [],
    startupSeconds: options.startupSeconds ?? 0,
    text: options.text ?? "filler",
    onCrash: options.onCrash ?? (() => undefined),
  };
}
