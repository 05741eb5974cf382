// Spans by the OpenTelemetry SDK: a SERVER span for the request, a `route` child for each choice, a CLIENT span for each
// attempt. Names and attributes follow the semantic conventions for HTTP and for generative AI. Loaded only where a collector
// is configured: nothing else may import this file but by `import()`.
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type Context, type Span } from "@opentelemetry/api";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Clock } from "../../clock.ts";
import type { TracingConfig } from "../../config/types.ts";
import { genAiOperationOf, genAiProvider } from "../catalogue-genai.ts";
import type { AttemptTrace, RequestTrace, TracedChoice, TracedEnd, TracedRequest, Tracing } from "../tracing.ts";
import { OtlpExporter } from "./exporter.ts";

type Tracer = ReturnType<TracerProvider["getTracer"]>;
type HrTime = [seconds: number, nanoseconds: number];

/** Candidates that a `route` span names at most. */
const maxCandidates = 32;

export interface OtelTracingOptions {
  readonly config: TracingConfig;
  readonly version: string;
  readonly clock: Clock;
  readonly count: (spans: number, problem: string | null) => void;
}

export class OtelTracing implements Tracing {
  readonly #clock: Clock;
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;

  constructor({ config, version, clock, count }: OtelTracingOptions) {
    this.#clock = clock;
    const resource = resourceFromAttributes({ "service.name": config.serviceName, "service.version": version });
    this.#provider = new TracerProvider({
      resource: defaultResource().merge(resource),
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(config.sampleRatio) }),
      spanProcessors: [
        new BatchSpanProcessor({
          exporter: new OtlpExporter(config.endpoint, clock, count),
          scheduledDelayMillis: 1_000,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer("lmstack", version);
  }

  request(request: TracedRequest): RequestTrace {
    const offsetMs = this.#clock.wallMs() - this.#clock.nowMs();
    return new OtelRequestTrace(this.#tracer, request, offsetMs);
  }

  async stop(): Promise<void> {
    await this.#provider.shutdown().catch(() => undefined);
  }
}

class OtelRequestTrace implements RequestTrace {
  readonly #tracer: Tracer;
  readonly #offsetMs: number;
  readonly #span: Span;
  readonly #context: Context;
  readonly #operation: string;
  #model: string | null = null;

  /** @param offsetMs from the router's clock to Unix time */
  constructor(tracer: Tracer, request: TracedRequest, offsetMs: number) {
    this.#tracer = tracer;
    this.#offsetMs = offsetMs;
    this.#operation = genAiOperationOf[request.api] ?? request.api;
    const parent = parentOf(request.traceparent);
    this.#span = tracer.startSpan(
      `${request.method} ${request.route}`,
      {
        kind: SpanKind.SERVER,
        startTime: this.#time(request.receivedAtMs),
        attributes: {
          "http.request.method": request.method,
          "http.route": request.route,
          "gen_ai.operation.name": this.#operation,
          "gen_ai.provider.name": genAiProvider,
          "lmstack.request_id": request.requestId,
        },
      },
      parent,
    );
    this.#context = trace.setSpan(parent, this.#span);
  }

  get traceId(): string | null {
    const { traceId, traceFlags } = this.#span.spanContext();
    return (traceFlags & TraceFlags.SAMPLED) === 0 ? null : traceId;
  }

  model(name: string): void {
    this.#model = name;
    this.#span.setAttribute("gen_ai.request.model", name);
  }

  chose(choice: TracedChoice, nowMs: number): void {
    const candidates = choice.candidates.slice(0, maxCandidates);
    const scores = choice.scores.slice(0, maxCandidates);
    const span = this.#tracer.startSpan(
      "route",
      {
        startTime: this.#time(choice.askedAtMs),
        attributes: {
          "lmstack.policy": choice.policy,
          "lmstack.reason": choice.reason,
          "lmstack.endpoint": choice.endpoint,
          "lmstack.cached_tokens.predicted": choice.cachedTokens,
          "lmstack.candidates": candidates.map(({ id }) => id),
          "lmstack.candidates.in_flight": candidates.map(({ inFlight }) => inFlight),
          ...(scores.length === 0
            ? {}
            : {
                "lmstack.scores.endpoint": scores.map(({ id }) => id),
                "lmstack.scores.cost": scores.map(({ cost }) => cost),
                "lmstack.scores.wait_ms": scores.map(({ waitMs }) => waitMs),
                "lmstack.scores.prefill_ms": scores.map(({ prefillMs }) => prefillMs),
                "lmstack.scores.cached_tokens": scores.map(({ cachedTokens }) => cachedTokens),
              }),
        },
      },
      this.#context,
    );
    span.end(this.#time(nowMs));
  }

  attempt(endpoint: { readonly id: string; readonly authority: string }, number: number, nowMs: number): AttemptTrace {
    const { hostname, port } = new URL(`http://${endpoint.authority}`);
    const span = this.#tracer.startSpan(
      this.#model === null ? this.#operation : `${this.#operation} ${this.#model}`,
      {
        kind: SpanKind.CLIENT,
        startTime: this.#time(nowMs),
        attributes: {
          "gen_ai.operation.name": this.#operation,
          "gen_ai.provider.name": genAiProvider,
          ...(this.#model === null ? {} : { "gen_ai.request.model": this.#model }),
          "server.address": hostname,
          "server.port": port === "" ? 80 : Number(port),
          "lmstack.endpoint": endpoint.id,
          "lmstack.attempt": number,
        },
      },
      this.#context,
    );
    return new OtelAttemptTrace(span, (ms) => this.#time(ms));
  }

  end({ outcome, status, attempts, usage }: TracedEnd, nowMs: number): void {
    const span = this.#span;
    if (status !== 0) span.setAttribute("http.response.status_code", status);
    span.setAttributes({ "lmstack.outcome": outcome, "lmstack.attempts": attempts });
    if (usage !== null) {
      span.setAttributes({
        "gen_ai.usage.input_tokens": usage.promptTokens,
        "gen_ai.usage.output_tokens": usage.completionTokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cachedTokens,
      });
    }
    // a client's fault, or its leaving, is no error of a server
    const failed = outcome !== "ok" && outcome !== "client_error" && outcome !== "client_gone";
    if (outcome !== "ok") span.setAttribute("error.type", outcome);
    if (failed) span.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
    span.end(this.#time(nowMs));
  }

  /** Unix time as the SDK can't misread it: small numbers it takes for times since the process began. */
  #time(ms: number): HrTime {
    const wall = ms + this.#offsetMs;
    const seconds = Math.floor(wall / 1000);
    return [seconds, Math.floor((wall - seconds * 1000) * 1e6)];
  }
}

class OtelAttemptTrace implements AttemptTrace {
  readonly #span: Span;
  readonly #time: (ms: number) => HrTime;

  constructor(span: Span, time: (ms: number) => HrTime) {
    this.#span = span;
    this.#time = time;
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
  }

  firstToken(nowMs: number): void {
    this.#span.addEvent("first_token", undefined, this.#time(nowMs));
  }

  end(outcome: string, status: number | null, nowMs: number): void {
    const span = this.#span;
    span.setAttribute("lmstack.outcome", outcome);
    if (status !== null) span.setAttribute("http.response.status_code", status);
    if (outcome !== "ok") span.setAttribute("error.type", outcome);
    if (outcome !== "ok" && outcome !== "client_gone") span.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
    span.end(this.#time(nowMs));
  }
}

const wellFormed = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** W3C Trace Context: a header that is malformed is ignored, and the trace begins here. */
function parentOf(traceparent: string | null): Context {
  const match = traceparent === null ? null : wellFormed.exec(traceparent.trim());
  if (match === null || traceparent?.startsWith("ff") === true) return ROOT_CONTEXT;
  const [, traceId = "", spanId = "", flags = ""] = match;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED,
    isRemote: true,
  });
}
