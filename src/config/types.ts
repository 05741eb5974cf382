// What the router is told, after flags, environment and files have been read, checked and given their defaults.
// Rooms take the part that concerns them; none of them reads an option by its flag's name.

/** One engine as configured or discovered. */
export interface EndpointSpec {
  /** Origin with an optional path prefix, no trailing slash: `http://10.0.0.1:8000`. */
  readonly url: string;
  /** Models it serves; `null` asks the engine's `/v1/models`. */
  readonly models: readonly string[] | null;
  /** Pool label (`--static-model-labels`), used by the prefill/decode policies. */
  readonly label: string | null;
  /** What kind of request an inference health check sends (`--static-model-types`). */
  readonly modelType: ModelType | null;
  /** Where its KV events are had; absent = the engine is asked. */
  readonly kvEvents?: KvEvents;
  /** Tells engines apart that follow each other at one URL, as a pod's uid does; absent = the URL is all there is. */
  readonly identity?: string;
  /** Its weights are put away: it is listed, and gets no requests. */
  readonly sleeping?: boolean;
  /** When this changes, the engine's models may have: it is asked at once. */
  readonly modelsRevision?: string;
}

/** Ports on the engine's host. Rank r of a data-parallel engine is found at each port + r. */
export interface KvEventPorts {
  readonly port: number;
  /** `null` = lost messages can't be had again. */
  readonly replayPort: number | null;
  /** Data-parallel ranks, each with ports of its own. */
  readonly ranks: number;
  /** Beginning of the topics that are wanted; "" = all. */
  readonly topic: string;
}

/** `ask`: the engine's `/kv_event_sources` says it. `off`: it publishes none, or none that should be read. */
export type KvEvents = "ask" | "off" | KvEventPorts;

export const modelTypes = [
  "chat",
  "completion",
  "embeddings",
  "rerank",
  "score",
  "transcription",
  "vision",
  "messages",
] as const;
export type ModelType = (typeof modelTypes)[number];

export const policyNames = ["roundrobin", "random", "leastload", "session", "prefixaware", "kvaware"] as const;
export type PolicyName = (typeof policyNames)[number];

/** Where endpoints come from. `static`: as configured; the others find them, and `endpoints` of the configuration is empty. */
export type DiscoveryConfig =
  | { readonly kind: "static" }
  | {
      readonly kind: "dns";
      /** `host`, `host:port`, or the name of SRV records, which begins with `_`. */
      readonly names: readonly string[];
    }
  | {
      readonly kind: "k8s";
      /** `*` = all of them. */
      readonly namespaces: readonly string[];
      readonly labelSelector: string;
      /** Of engines whose pod names none. */
      readonly enginePort: number;
    };

/** The part that a running router can be given anew: read from the dynamic file, else from the flags. */
export interface DynamicConfig {
  readonly endpoints: readonly EndpointSpec[];
  readonly discovery: DiscoveryConfig;
  /** Alias -> model. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Models that exist even while no endpoint serves them. */
  readonly knownModels: readonly string[];
  /** Dummy inference requests as health checks (`--static-backend-health-checks`). */
  readonly inferenceHealthChecks: { readonly intervalMs: number; readonly timeoutMs: number } | null;
  readonly policy: PolicyName;
  /** Header (case-insensitive) or top-level JSON field that names the session; `null` means the defaults. */
  readonly sessionKey: string | null;
}

/** A collector of traces. */
export interface OtlpEndpoint {
  readonly protocol: "grpc" | "http";
  /** `http` or `https`; for gRPC an origin, else with the path. */
  readonly url: string;
}

export interface TracingConfig {
  readonly endpoint: OtlpEndpoint;
  readonly serviceName: string;
  /** Share of the traces that begin here and are recorded, 0 to 1; of others the client has decided. */
  readonly sampleRatio: number;
}

/** Everything else needs a restart. Durations in milliseconds, 0 = off where that is said. */
export interface RouterConfig {
  readonly host: string;
  readonly port: number;
  /** An inherited socket to listen on instead; null = none. */
  readonly listenFd: number | null;
  /** Prefix under which all paths are served, without trailing slash; "" = none. */
  readonly rootPath: string;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null;
  readonly engineTls: { readonly caFile: string | null; readonly insecureSkipVerify: boolean };
  readonly timeouts: {
    readonly connectMs: number;
    /** From the request's last byte to the first event of a stream. */
    readonly firstEventMs: number;
    /** Between two reads of an answer that has begun. */
    readonly idleMs: number;
    /** An engine that makes no progress with what it has for so long is taken out; 0 = off. */
    readonly stallMs: number;
    /** The whole request; 0 = off. */
    readonly totalMs: number;
    /** A client that takes nothing for so long is cut. */
    readonly clientStallMs: number;
    /** A request head must be complete in this time after its first byte. */
    readonly headMs: number;
    /** Silence allowed while a request body is awaited. */
    readonly bodyIdleMs: number;
    /** An idle client connection is closed after this. */
    readonly clientKeepAliveMs: number;
    /** An idle engine connection is closed after this (uvicorn closes at 5 s). */
    readonly engineKeepAliveMs: number;
    /** `: ping` comments into silent streams; 0 = off. */
    readonly sseHeartbeatMs: number;
    /** A request for a known model without an endpoint waits for one; 0 = it does not. */
    readonly holdMs: number;
    readonly drainDelayMs: number;
    readonly drainTimeoutMs: number;
    /** Time limit of `/health` and `/v1/models` asked of an engine. */
    readonly healthCheckMs: number;
  };
  readonly limits: {
    readonly maxHeadBytes: number;
    readonly maxBodyBytes: number;
    /** Request bodies held at one time, all requests together. */
    readonly maxBufferedBytes: number;
    /** Requests of one model that wait for room; 0 = none waits. */
    readonly maxQueuedRequests: number;
    /** Prompt tokens that they have to compute. */
    readonly maxQueuedTokens: number;
  };
  /** Streams whose engine fails go on elsewhere. */
  readonly migration: {
    /** What is kept of one stream at most. */
    readonly streamBytes: number;
    /** Of all together, with their requests; 0 = off. */
    readonly budgetBytes: number;
  };
  /** Shorter matches of prompts count for nothing. */
  readonly leastMatchBytes: number;
  /** For `kvaware`. */
  readonly kvEvents: {
    readonly indexMaxBytes: number;
    /** Model -> folder of its tokenizer. */
    readonly tokenizers: Readonly<Record<string, string>>;
    /** Time limit for the tokens of a short prompt. */
    readonly tokenizeMs: number;
  };
  /** Further endpoints tried before the first event. */
  readonly retries: number;
  /** Routers in front of the same engines, this one included. */
  readonly replicas: number;
  /** Between two looks at an engine's `/metrics`; 0 = none. */
  readonly engineStatsMs: number;
  /** Sliding window of the per-server gauges that existing dashboards query (`--request-stats-window`). */
  readonly requestStatsWindowMs: number;
  readonly apiKeyFile: string | null;
  readonly adminKeyFile: string | null;
  /** `/console` is there. */
  readonly console: boolean;
  readonly engineApiKeyFile: string | null;
  /** Proxies (addresses or CIDR) whose `X-Forwarded-For` is appended to. */
  readonly trustedProxies: readonly string[];
  readonly injectStreamUsage: boolean;
  /** Engines are asked for their load with each request. */
  readonly loadReports: boolean;
  readonly legacyMetrics: boolean;
  /** null = no traces. */
  readonly tracing: TracingConfig | null;
  /** `Server-Timing` on answers. */
  readonly serverTiming: boolean;
  /** Time between two tables of statistics on standard output; null = none. */
  readonly logStatsMs: number | null;
  readonly log: {
    readonly level: "fatal" | "error" | "warn" | "info" | "debug" | "trace";
    readonly format: "text" | "json";
    /** production-stack's line per request on standard output. */
    readonly routingLine: boolean;
  };
  readonly dns: {
    /** Addresses with optional port; empty = the system's. */
    readonly servers: readonly string[];
    /** Longest time between two looks at a name. */
    readonly refreshMs: number;
  };
  readonly kubernetes: {
    readonly addressing: "pod-ip" | "service-name";
    /** Time limit of one watch; 0 = drawn at random. */
    readonly watchTimeoutMs: number;
    /** `null` = the service account of the pod that the process runs in, else what kubectl would use. */
    readonly kubeconfigFile: string | null;
    readonly context: string | null;
    /** Of the cluster that the process runs in; `null` = it is in none. */
    readonly apiServer: string | null;
  };
  /** Watched file that replaces the dynamic part; `null` = none. */
  readonly dynamicFile: { readonly path: string; readonly format: "yaml" | "json" } | null;
  readonly dynamic: DynamicConfig;
}

/** What `lmstack up` is told besides the router's configuration. */
export interface UpOptions {
  /** Simulated engines to start. */
  readonly engines: number;
  /** Models that every one of them serves. */
  readonly models: readonly string[];
  /** Name of a built-in step-time preset, or a JSON file. */
  readonly preset: string;
  readonly seed: number;
  /** Simulated seconds per second of the wall clock. */
  readonly speed: number;
}

/** What `lmstack top` is told. */
export interface TopOptions {
  /** Of a router that serves the console. */
  readonly url: string;
  /** File with a key for administration; null = none. */
  readonly keyFile: string | null;
  /** One look, then end. */
  readonly once: boolean;
}

/** What `lmstack engine` is told. */
export interface EngineCommandOptions {
  readonly host: string;
  /** Port of the first engine; engine i listens on port + i. 0 = any free port. */
  readonly port: number;
  readonly models: string[];
  readonly preset: string;
  readonly seed: number;
  readonly engines: number;
  readonly simApi: boolean;
  readonly speed: number;
  /** Keys that `/v1/*` asks for; empty = none asked. */
  readonly apiKeys: string[];
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  /** Tokens per KV block. */
  readonly blockSize: number;
  /** KV blocks; `null` takes the preset's. */
  readonly numGpuBlocks: number | null;
  /** Requests that may wait before new ones get 503; `null` = no limit. */
  readonly maxNumQueuedReqs: number | null;
  /** Prompt tokens that may wait before new requests get 503; `null` = no limit. */
  readonly maxNumQueuedTokens: number | null;
  /** Connections are refused for so long. */
  readonly startupSeconds: number;
  readonly runner: "auto" | "generate" | "pooling";
  readonly dataParallelSize: number;
  readonly schedulingPolicy: "fcfs" | "priority";
  readonly enablePrefixCaching: boolean;
  readonly prefixCachingHashAlgo: "sha256" | "sha256_cbor";
  readonly enablePromptTokensDetails: boolean;
  readonly enableRequestIdHeaders: boolean;
  readonly enableServerLoadTracking: boolean;
  readonly enableForceIncludeUsage: boolean;
  readonly enableAutoToolChoice: boolean;
  readonly enableScaleOut: boolean;
  readonly devMode: boolean;
  /** Adapters as `name=path`. */
  readonly loraModules: readonly string[];
  readonly allowRuntimeLora: boolean;
  readonly maxLoras: number;
  /** vLLM's JSON; `null` = no KV events. */
  /** vLLM's JSON. */
  readonly kvTransferConfig: string | null;
  readonly kvEventsConfig: string | null;
  readonly kvEventsEncoding: "map" | "array";
  readonly kvReplayFraming: "topic" | "legacy";
  readonly kvEventsIntHashes: boolean;
  /** Folder of a model; `null` = the built-in approximation. */
  readonly tokenizer: string | null;
  /** JSON file of scripted answers. */
  readonly script: string | null;
  readonly text: "filler" | "echo";
  /** Requests in flight may go on for so long after SIGTERM. */
  readonly shutdownTimeoutSeconds: number;
  /** Faults as `name[:arg]`. */
  readonly faultNames: readonly string[];
}

/** What is asked, for `lmstack lab` and `lmstack bench`. */
export interface WorkloadOptions {
  /** File to replay; `null` = the generated workload. */
  readonly trace: string | null;
  readonly workload: string;
  /** `null` = all of a trace. */
  readonly requests: number | null;
  /** Factors on the workload's arrivals. */
  readonly rates: readonly number[];
  /** Arrivals a second, in place of the factors; empty = not given. */
  readonly rps: readonly number[];
  readonly seed: number;
  readonly json: string | null;
  readonly html: string | null;
}

/** What `lmstack lab` is told. */
export interface LabOptions extends WorkloadOptions {
  readonly policies: readonly string[];
  readonly engines: number;
  readonly preset: string;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly routers: number;
  readonly scrapeMs: number;
  /** Threads; `null` = by the machine. */
  readonly jobs: number | null;
  readonly find: "rate" | "engines" | null;
  /** As written: `ttft_p90=2s`. */
  readonly slo: readonly string[];
  readonly compareWaits: boolean;
}

/** What `lmstack bench` is told. */
export interface BenchOptions extends WorkloadOptions {
  readonly url: string;
  /** `null` = the first that the URL lists. */
  readonly model: string | null;
  readonly apiKey: string | null;
  readonly api: "chat" | "completions";
  readonly ignoreEos: boolean;
  /** Requests that are not counted. */
  readonly warmup: number;
  /** Closed loop: so many at any time; `null` = by arrivals. */
  readonly concurrency: number | null;
  readonly timeoutMs: number;
  readonly maxLagMs: number;
}
