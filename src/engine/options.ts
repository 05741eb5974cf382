// What a simulated engine can be told, and the defaults. Read by everything above the core. It must stay plain data:
// the command line, tests and `lmstack up` all build it.

import type { Clock } from "../clock.ts";
import { defaultPresetId, findPreset } from "./core/index.ts";
import type { Preset } from "./core/index.ts";
import type { Fault } from "./api/faults.ts";
import type { KvTransferConfig } from "./api/kv-transfer.ts";
import type { KvEventsConfig } from "./kv-events/config.ts";
import { builtInVocabulary } from "./text/vocabulary.ts";
import type { Vocabulary } from "./text/vocabulary.ts";

/** An adapter as `--lora-modules name=path` names it. */
export interface LoraModule {
  readonly name: string;
  readonly path: string;
}

/** One line of a script: prompts that match get this answer. */
export interface ScriptLine {
  readonly pattern: RegExp;
  readonly answer: string;
  /** Function to call instead of answering, under `tool_choice` auto; its arguments are `answer`. */
  readonly tool: string | null;
}

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
  /** Prompt tokens of requests without a first token above which new ones get 503. Default none. */
  readonly maxNumQueuedTokens?: number | null;
  /** Prefill on another engine, or for one. Default none: what a request says of it is ignored. */
  readonly kvTransfer?: KvTransferConfig;
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
  /** What the server says its models' `root` is. Default the first name. */
  readonly modelRoot?: string;
  /** Which routes there are: those of a generating model, of a pooling one, or all. Default `auto`, which is all. */
  readonly runner?: "auto" | "generate" | "pooling";
  /** The routes that vLLM has under VLLM_SERVER_DEV_MODE. Default false. */
  readonly devMode?: boolean;
  /** `/inference/v1/generate` and the render routes. Default false. */
  readonly enableScaleOut?: boolean;
  /** Default true, unlike vLLM, which answers 400 to `tool_choice` auto without it. */
  readonly enableAutoToolChoice?: boolean;
  readonly loraModules?: readonly LoraModule[];
  /** Loading and unloading adapters over HTTP. Default false. */
  readonly allowRuntimeLora?: boolean;
  /** Adapters that may run in one step. Default 1. */
  readonly maxLoras?: number;
  /** Publishes KV events on ZMQ sockets. Default none. */
  readonly kvEvents?: KvEventsConfig;
  /** Events as maps (default) or as the positional arrays of older versions. */
  readonly kvEventsEncoding?: "map" | "array";
  /** Replies of the replay socket with the topic (default), or as before vLLM 0.26. */
  readonly kvReplayFraming?: "topic" | "legacy";
  readonly prefixCachingHashAlgo?: "sha256" | "sha256_cbor";
  /** KV-event hashes as integers (default) or as their 32 bytes. */
  readonly kvEventsIntHashes?: boolean;
  /** Added to the ports of KV events beside the rank, for several servers of one configuration. Default 0. */
  readonly kvPortOffset?: number;
  /** Engines behind this one server. Default 1. */
  readonly dataParallelSize?: number;
  /** Scripted answers, first match wins. */
  readonly script?: readonly ScriptLine[];
  /** A model's own tokenizer instead of the built-in approximation. */
  readonly vocabulary?: Vocabulary;
  /** Milliseconds by which this engine's wall clock is wrong. Default 0. */
  readonly clockSkewMs?: number;
  /** `/sim/*` and the `x-sim-fault` header. Default false. */
  readonly simApi?: boolean;
  /** Faults from the start; need no simApi. */
  readonly faults?: readonly Fault[];
  /** Refuses connections for this long before it listens. Default 0. */
  readonly startupSeconds?: number;
  /** How long requests in flight may go on after {@link RunningEngine.close}; new ones get 500. Default 0. */
  readonly shutdownTimeoutSeconds?: number;
  /** How the text is made. `echo` repeats the prompt. Default filler. */
  readonly text?: "filler" | "echo";
  /** What a `crash` fault does after the sockets are gone; a process exits here. */
  readonly onCrash?: (exitCode: number) => void;
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
  readonly maxNumQueuedTokens: number | null;
  readonly kvTransfer: KvTransferConfig | null;
  readonly enablePrefixCaching: boolean;
  readonly schedulingPolicy: "fcfs" | "priority";
  readonly apiKeys: readonly string[];
  readonly enablePromptTokensDetails: boolean;
  readonly enableRequestIdHeaders: boolean;
  readonly enableServerLoadTracking: boolean;
  readonly enableForceIncludeUsage: boolean;
  readonly modelRoot: string;
  readonly runner: "auto" | "generate" | "pooling";
  readonly devMode: boolean;
  readonly enableScaleOut: boolean;
  readonly enableAutoToolChoice: boolean;
  readonly loraModules: readonly LoraModule[];
  readonly allowRuntimeLora: boolean;
  readonly maxLoras: number;
  readonly kvEvents: KvEventsConfig | null;
  readonly kvEventsEncoding: "map" | "array";
  readonly kvReplayFraming: "topic" | "legacy";
  readonly prefixCachingHashAlgo: "sha256" | "sha256_cbor";
  readonly kvEventsIntHashes: boolean;
  readonly kvPortOffset: number;
  readonly dataParallelSize: number;
  readonly script: readonly ScriptLine[];
  readonly vocabulary: Vocabulary;
  readonly clockSkewMs: number;
  readonly simApi: boolean;
  readonly faults: readonly Fault[];
  readonly startupSeconds: number;
  readonly shutdownTimeoutSeconds: number;
  readonly text: "filler" | "echo";
  readonly onCrash: (exitCode: number) => void;
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
    maxNumQueuedTokens: options.maxNumQueuedTokens ?? null,
    kvTransfer: options.kvTransfer ?? null,
    enablePrefixCaching: options.enablePrefixCaching ?? true,
    schedulingPolicy: options.schedulingPolicy ?? "fcfs",
    apiKeys: options.apiKeys ?? [],
    enablePromptTokensDetails: options.enablePromptTokensDetails ?? true,
    enableRequestIdHeaders: options.enableRequestIdHeaders ?? false,
    enableServerLoadTracking: options.enableServerLoadTracking ?? false,
    enableForceIncludeUsage: options.enableForceIncludeUsage ?? false,
    modelRoot: options.modelRoot ?? models[0] ?? defaultModel,
    runner: options.runner ?? "auto",
    devMode: options.devMode ?? false,
    enableScaleOut: options.enableScaleOut ?? false,
    enableAutoToolChoice: options.enableAutoToolChoice ?? true,
    loraModules: options.loraModules ?? [],
    allowRuntimeLora: options.allowRuntimeLora ?? false,
    maxLoras: options.maxLoras ?? 1,
    kvEvents: options.kvEvents ?? null,
    kvEventsEncoding: options.kvEventsEncoding ?? "map",
    kvReplayFraming: options.kvReplayFraming ?? "topic",
    prefixCachingHashAlgo: options.prefixCachingHashAlgo ?? "sha256",
    kvEventsIntHashes: options.kvEventsIntHashes ?? true,
    kvPortOffset: options.kvPortOffset ?? 0,
    dataParallelSize: options.dataParallelSize ?? 1,
    script: options.script ?? [],
    vocabulary: options.vocabulary ?? builtInVocabulary,
    clockSkewMs: options.clockSkewMs ?? 0,
    simApi: options.simApi ?? false,
    faults: options.faults ?? [],
    startupSeconds: options.startupSeconds ?? 0,
    shutdownTimeoutSeconds: options.shutdownTimeoutSeconds ?? 0,
    text: options.text ?? "filler",
    onCrash: options.onCrash ?? (() => undefined),
  };
}
