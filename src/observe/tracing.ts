// What the request path tells a tracer, and nothing of how spans are made or sent: that is in `otel/`, which is loaded only
// where a collector is configured. Spans never hold what a client or a model wrote.
import type { ApiName } from "../api/table.ts";
import type { Usage } from "../api/usage.ts";
import type { Outcome } from "../errors/catalogue.ts";
import type { Score } from "../routing/policy.ts";
import type { AttemptOutcome } from "./catalogue.ts";

/** A request as it arrived. Times by the router's clock. */
export interface TracedRequest {
  readonly requestId: string;
  readonly method: string;
  /** As the table of paths has it: no client's text. */
  readonly route: string;
  readonly api: ApiName;
  readonly receivedAtMs: number;
  /** The client's header; null = it sent none. */
  readonly traceparent: string | null;
}

/** A choice of the policy. */
export interface TracedChoice {
  readonly policy: string;
  readonly reason: string;
  readonly endpoint: string;
  readonly candidates: readonly TracedCandidate[];
  /** What the policy made of them; empty = it has no scores. */
  readonly scores: readonly Score[];
  /** Prompt tokens that the endpoint is believed to have cached. */
  readonly cachedTokens: number;
  readonly askedAtMs: number;
}

/** How an endpoint looked when the choice was made. */
export interface TracedCandidate {
  readonly id: string;
  readonly inFlight: number;
}

export interface TracedEnd {
  readonly outcome: Outcome;
  /** 0 = the client left before there was one. */
  readonly status: number;
  readonly attempts: number;
  readonly usage: Usage | null;
}

export interface AttemptTrace {
  /** Value of `traceparent` towards the engine. */
  readonly traceparent: string;
  firstToken(nowMs: number): void;
  /** @param status of the engine's answer; null = there was none */
  end(outcome: AttemptOutcome, status: number | null, nowMs: number): void;
}

/** The spans of one request. */
export interface RequestTrace {
  /** Of a trace that is recorded, for exemplars and the log; null = this one is not sampled. */
  readonly traceId: string | null;
  /** The model is one that engines serve. */
  model(name: string): void;
  chose(choice: TracedChoice, nowMs: number): void;
  attempt(endpoint: { readonly id: string; readonly authority: string }, number: number, nowMs: number): AttemptTrace;
  end(end: TracedEnd, nowMs: number): void;
}

export interface Tracing {
  request(request: TracedRequest): RequestTrace;
  /** Sends what is left. */
  stop(): Promise<void>;
}
