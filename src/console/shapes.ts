// What the router tells the console: shapes that both sides of the wire read, and nothing else.

/** A request that has ended. Nothing of its prompt or answer. */
export interface EndedRequest {
  readonly requestId: string;
  readonly model: string;
  readonly api: string;
  readonly outcome: string;
  readonly status: number;
  /** null = it reached no engine. */
  readonly endpoint: string | null;
  /** Why this endpoint. */
  readonly reason: string | null;
  readonly attempts: number;
  readonly durationMs: number;
  readonly firstTokenMs: number | null;
  readonly promptTokens: number | null;
  readonly generatedTokens: number | null;
  readonly cachedTokens: number | null;
  readonly error: string | null;
  /** How the cheapest candidates looked to the policy; null = nobody was watching, or the policy has no scores. */
  readonly scores: readonly CandidateScore[] | null;
}

/** Milliseconds, but for the tokens. */
export interface CandidateScore {
  readonly id: string;
  readonly cost: number;
  readonly waitMs: number;
  readonly prefillMs: number;
  readonly pressureMs: number;
  readonly cachedTokens: number;
}

/** With the number by which watchers know what they have, and the wall clock's time of its end, milliseconds. */
export type Entry = EndedRequest & { readonly seq: number; readonly atMs: number };

/** Ten seconds of traffic. Times are null where nothing was measured. */
export interface TrafficPoint {
  /** Begin, seconds since the epoch. */
  readonly t: number;
  readonly requests: number;
  readonly errors: number;
  readonly generatedTokens: number;
  readonly ttftP50Ms: number | null;
  readonly ttftP95Ms: number | null;
}

/** An endpoint as the console shows it; null = not known. */
export interface EndpointView {
  readonly id: string;
  readonly models: readonly string[];
  readonly state: string;
  readonly queued: number;
  readonly running: number;
  readonly problem: string | null;
  readonly uptimeMs: number;
  /** Of the engine's own `/metrics`, with its age. */
  readonly engine: {
    readonly waiting: number;
    readonly running: number;
    /** Share of the KV blocks in use, 0 to 1. */
    readonly kvUsage: number;
    /** Share of the prompt tokens that it found in its cache lately, 0 to 1. */
    readonly hitRate: number;
    readonly ageMs: number;
  } | null;
}

/** A request that has not ended. */
export interface LiveRequest {
  readonly requestId: string;
  readonly model: string | null;
  readonly api: string;
  readonly endpoint: string | null;
  readonly reason: string | null;
  readonly phase: "receiving" | "queued" | "prefill" | "streaming";
  readonly ageMs: number;
}

/** With the first-token times of its latest requests, oldest first. */
export type EndpointRow = EndpointView & { readonly ttftMs: readonly number[] };

/** What a watcher is sent each second. */
export interface Snapshot {
  readonly nowMs: number;
  readonly version: string;
  readonly policy: string;
  readonly draining: boolean;
  readonly models: readonly string[];
  readonly inFlight: number;
  readonly endpoints: readonly EndpointRow[];
  readonly live: readonly LiveRequest[];
  readonly ended: readonly Entry[];
  readonly traffic: readonly TrafficPoint[];
  readonly errors: readonly Entry[];
}
