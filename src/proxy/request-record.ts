// The books of one request: what is counted and written down about it and its attempts, each exactly once. The request path
// says what happened; here it becomes metrics, the breaker's verdicts and the log line.
import type { RelayRow } from "../api/table.ts";
import type { Usage } from "../api/usage.ts";
import type { LmstackError, Outcome } from "../errors/catalogue.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import type { Exchange } from "../http/exchange.ts";
import type { LiveRequest } from "../console/shapes.ts";
import type { RequestLine } from "../observe/log.ts";
import type { AttemptOutcome, MigrationCause, MigrationResult, RetryReason } from "../observe/catalogue.ts";
import type { EndpointMetrics } from "../observe/endpoint-metrics.ts";
import type { ModelMetrics } from "../observe/model-metrics.ts";
import type { Distribution, Trace } from "../observe/series.ts";
import type { AttemptTrace, RequestTrace } from "../observe/tracing.ts";
import type { Attempt } from "./attempt.ts";
import type { RouterContext } from "./context.ts";
import { cheapest, type Explanation } from "./explanation.ts";
import type { KvPlacement } from "./kv-aware.ts";
import type { Placed } from "./prefixes.ts";
import type { Selection } from "./select.ts";
import { StreamPace } from "./stream-pace.ts";

/** What the end of an attempt says about its endpoint. */
export type Verdict = "success" | "failure" | "inconclusive";

export class RequestRecord {
  readonly requestId: string;
  /** Tries on an endpoint. */
  attempts = 0;
  /** Why it went where it is, where somebody asked. */
  explanation: Explanation | null = null;
  readonly #ctx: RouterContext;
  readonly #row: RelayRow;
  readonly #receivedAtMs: number;
  #model: string | null = null;
  #metrics: ModelMetrics | null = null;
  #last: Selection | null = null;
  /** Series of the endpoint of the latest attempt. */
  #endpointMetrics: EndpointMetrics | null = null;
  /** The request's last byte came, by the clock. */
  #wholeAtMs = 0;
  /** Time in the router that waited for nobody; null = the request was not handed to an engine yet. */
  #overheadMs: number | null = null;
  #queuedMs = 0;
  #placed: Placed | null = null;
  /** The present attempt began, by the clock. */
  #sentAtMs = 0;
  #kvPlacement: KvPlacement | null = null;
  #firstTokenMs: number | null = null;
  #answerStatus = 0;
  #usage: Usage | null = null;
  #migrations = 0;
  #migration: MigrationResult | null = null;

  /** null = nothing is traced. */
  readonly #trace: RequestTrace | null;
  #attemptTrace: AttemptTrace | null = null;

  constructor(ctx: RouterContext, row: RelayRow, requestId: string, exchange: Exchange) {
    this.#ctx = ctx;
    this.#row = row;
    this.requestId = requestId;
    this.#receivedAtMs = exchange.receivedAtMs;
    this.#trace =
      ctx.tracing === null
        ? null
        : ctx.tracing.request({
            requestId,
            method: exchange.head.method,
            route: row.path,
            api: row.api,
            receivedAtMs: exchange.receivedAtMs,
            traceparent: exchange.header("traceparent"),
          });
  }

  /** Field line towards the engine of the present attempt; "" = none. */
  get traceLine(): string {
    return this.#attemptTrace === null ? "" : `traceparent: ${this.#attemptTrace.traceparent}\r\n`;
  }

  /** The model is known: from here on the request is in flight. */
  routed(model: string | null): void {
    this.#model = model;
    this.#metrics = this.#ctx.metrics.model(model);
    this.#ctx.metrics.arrived(this.#metrics);
    if (model !== null) this.#trace?.model(model);
  }

  /** The request is whole: from here on its time is the router's. */
  received(nowMs: number): void {
    this.#wholeAtMs = nowMs;
  }

  /**
   * The policy has chosen an endpoint, and the request is on its way to it.
   * @param nowMs when it was asked
   */
  chose(selection: Selection, session: string | null, nowMs: number): void {
    const { metrics, routing, log, clock } = this.#ctx;
    const { endpoint, reason } = selection;
    const sinceMs = this.attempts > 1 ? nowMs : this.#wholeAtMs;
    const doneMs = clock.nowMs();
    const tookMs = doneMs - sinceMs;
    this.#overheadMs = (this.#overheadMs ?? 0) + (this.attempts > 1 ? tookMs : tookMs - this.#queuedMs);
    if (this.#trace !== null) this.#traceChoice(this.#trace, selection, nowMs, doneMs);
    metrics.choice(routing.name, reason).value++;
    if (!log.wantsRouting) return;
    log.routed(this.requestId, session, endpoint.url, clock.wallMs(), nowMs - this.#receivedAtMs);
  }

  /** The request waited for somebody else: for the tokens of its prompt. */
  waited(ms: number): void {
    this.#queuedMs += ms;
  }

  /** The request waited in the queue. */
  queued(ms: number): void {
    this.#queuedMs += ms;
    this.#metrics?.queueTime.observe(ms / 1000);
  }

  #traceChoice(traced: RequestTrace, selection: Selection, askedAtMs: number, doneMs: number): void {
    const { registry, routing } = this.#ctx;
    const candidates = (registry.serving(this.#model ?? "") ?? []).map(({ id, inFlight }) => ({ id, inFlight }));
    const { reason, cachedTokens, scores = [] } = selection;
    const endpoint = selection.endpoint.id;
    traced.chose({ policy: routing.name, reason, endpoint, candidates, scores, cachedTokens, askedAtMs }, doneMs);
  }

  get queuedMs(): number {
    return this.#queuedMs;
  }

  retried(reason: RetryReason): void {
    this.#ctx.metrics.retry(reason).value++;
  }

  /** The engine failed in mid-stream, and what became of the stream. */
  migrated(cause: MigrationCause, result: MigrationResult): void {
    this.#ctx.metrics.migration(cause, result).value++;
    if (result === "continued" || result === "finished") this.#migrations++;
    this.#migration = result;
  }

  /** An attempt begins: its span, if it is traced, goes to the engine with it. */
  beganAttempt(selection: Selection, nowMs: number): void {
    this.attempts++;
    this.#last = selection;
    this.#placed = null;
    this.#kvPlacement = null;
    this.#sentAtMs = nowMs;
    if (this.#trace !== null) this.#attemptTrace = this.#trace.attempt(selection.endpoint, this.attempts, nowMs);
  }

  /** Its request has left. @param placed the prompt, as it was entered there; null = it was not looked at */
  sent({ endpoint }: Selection, placed: Placed | null, kvPlacement: KvPlacement | null, nowMs: number): void {
    this.#placed = placed;
    this.#kvPlacement = kvPlacement;
    this.#endpointMetrics = this.#ctx.metrics.endpoint(endpoint);
    this.#endpointMetrics.sent(nowMs);
  }

  /** Prompt tokens that the present endpoint was believed to have cached. */
  get predictedTokens(): number {
    return this.#last?.cachedTokens ?? 0;
  }

  /** A connection was made for an attempt. @param startedMs when that began */
  connected(startedMs: number): void {
    const { clock, metrics } = this.#ctx;
    metrics.connect.observe((clock.nowMs() - startedMs) / 1000);
  }

  /** The head of an answer leaves. */
  answering(status: number): void {
    this.#answerStatus = status;
  }

  /** Status that the client got; 0 = none yet. */
  get answerStatus(): number {
    return this.#answerStatus;
  }

  /** A stream's first event came. */
  firstToken(attempt: Attempt, nowMs: number): void {
    this.#firstTokenMs = nowMs - this.#receivedAtMs;
    const metrics = this.#metrics;
    this.#attemptTrace?.firstToken(nowMs);
    if (metrics !== null) {
      this.#observe(metrics.firstToken, this.#firstTokenMs);
      attempt.pace = new StreamPace(metrics.interToken, attempt.reads, nowMs);
    }
    this.#endpointMetrics?.began(nowMs, nowMs - attempt.startedMs);
  }

  /** Tokens told by the engine; where it tells several times the last word counts. */
  tokens(usage: Usage): void {
    // Anthropic's streams tell prompt and answer apart in two events
    const before = this.#usage;
    this.#usage =
      before === null
        ? usage
        : {
            promptTokens: usage.promptTokens || before.promptTokens,
            completionTokens: usage.completionTokens || before.completionTokens,
            cachedTokens: usage.cachedTokens || before.cachedTokens,
          };
  }

  get hasUsage(): boolean {
    return this.#usage !== null;
  }

  /** @param isProbe the attempt decides about an endpoint that was taken out */
  endedAttempt(attempt: Attempt, isProbe: boolean, outcome: AttemptOutcome, verdict: Verdict, nowMs: number): void {
    const { endpoint } = attempt;
    attempt.pace?.look(attempt.reads, nowMs);
    this.#attemptTrace?.end(outcome, attempt.head?.status ?? null, nowMs);
    this.#attemptTrace = null;
    // what was counted of an answer that several engines gave says nothing about the last one
    const own = verdict === "success" && this.#migrations === 0 ? this.#usage : null;
    attempt.ticket.release(nowMs, own?.completionTokens ?? 0);
    if (own !== null && this.#placed !== null) this.#learn(this.#placed, own);
    if (this.#kvPlacement !== null) this.#ctx.kv.ended(this.#kvPlacement, own);
    this.#kvPlacement = null;
    if (verdict === "success") {
      endpoint.breaker.success(nowMs, isProbe);
      endpoint.progress.heard(nowMs);
    } else if (verdict === "failure") endpoint.breaker.failure(nowMs, isProbe);
    else if (isProbe) endpoint.breaker.inconclusive();
    const counted = this.#endpointMetrics?.attempt(outcome);
    if (counted !== undefined) counted.value++;
  }

  /** What the engine counted, against what was predicted. */
  #learn(placed: Placed, usage: Usage): void {
    if (this.#model === null) return;
    this.#ctx.prefixes.ended(this.#model, placed, usage);
    if (this.#metrics !== null) this.#metrics.predictedTokens.value += placed.cachedTokens;
  }

  /** An attempt that ended before is charged to its endpoint after all. */
  charge(endpoint: Endpoint, isProbe: boolean): void {
    endpoint.breaker.failure(this.#ctx.clock.nowMs(), isProbe);
    this.#ctx.health.hurry(endpoint);
  }

  /** The router itself answered with an error. */
  error(error: LmstackError): void {
    this.#ctx.metrics.error(error.definition.label).value++;
  }

  /** The one outcome. */
  ended(outcome: Outcome, status: number, error: string | null, nowMs: number): void {
    const { log, metrics } = this.#ctx;
    const durationMs = nowMs - this.#receivedAtMs;
    const sent = this.#answerStatus !== 0 ? this.#answerStatus : outcome === "client_gone" ? 0 : status;
    metrics.ended(this.#metrics, this.#endpointMetrics, {
      api: this.#row.api,
      outcome,
      status: sent,
      nowMs,
      durationMs,
      firstTokenMs: this.#firstTokenMs,
      overheadMs: this.#overheadMs,
      usage: this.#usage,
      exemplar: this.#exemplar(),
    });
    this.#trace?.end({ outcome, status: sent, attempts: this.attempts, usage: this.#usage }, nowMs);
    const logged = outcome !== "ok" || log.wantsGood;
    const { console } = this.#ctx;
    if (!logged && console === null) return;
    const line = this.#line(outcome, sent, durationMs, error);
    if (logged) log.request(line);
    const scores = this.#last?.scores;
    console?.recorder.ended({ ...line, scores: scores === undefined ? null : cheapest(scores) });
  }

  /** The request as the console shows it before its end. */
  live(nowMs: number, phase: LiveRequest["phase"]): LiveRequest {
    return {
      requestId: this.requestId,
      model: this.#model,
      api: this.#row.api,
      endpoint: this.#last?.endpoint.id ?? null,
      reason: this.#last?.reason ?? null,
      phase,
      ageMs: nowMs - this.#receivedAtMs,
    };
  }

  /** Where the time until now went, as `Server-Timing` says it; the queue is the router's own. */
  serverTiming(nowMs: number): string {
    const route = this.#overheadMs ?? 0;
    const engine = this.attempts === 0 ? 0 : nowMs - this.#sentAtMs;
    const total = nowMs - this.#receivedAtMs;
    return `queue;dur=${tenths(this.#queuedMs)}, route;dur=${tenths(route)}, engine;dur=${tenths(engine)}, total;dur=${tenths(total)}`;
  }

  #exemplar(): Trace | null {
    const traceId = this.#trace?.traceId ?? null;
    return traceId === null ? null : { traceId, atSeconds: this.#ctx.clock.wallMs() / 1000 };
  }

  #observe(distribution: Distribution, ms: number): void {
    const exemplar = this.#trace === null ? null : this.#exemplar();
    if (exemplar === null) distribution.observe(ms / 1000);
    else distribution.observeTraced(ms / 1000, exemplar);
  }

  #line(outcome: Outcome, status: number, durationMs: number, error: string | null): RequestLine {
    const traceId = this.#trace?.traceId ?? null;
    return {
      requestId: this.requestId,
      model: this.#model ?? "unknown",
      api: this.#row.api,
      outcome,
      status,
      endpoint: this.#last?.endpoint.id ?? null,
      reason: this.#last?.reason ?? null,
      attempts: this.attempts,
      migrations: this.#migrations,
      migration: this.#migration,
      durationMs,
      firstTokenMs: this.#firstTokenMs,
      queuedMs: this.#queuedMs,
      promptTokens: this.#usage?.promptTokens ?? null,
      generatedTokens: this.#usage?.completionTokens ?? null,
      cachedTokens: this.#usage?.cachedTokens ?? null,
      error,
      ...(traceId === null ? {} : { traceId }),
    };
  }
}

/** Most of what is told is this short. */
const shortTenths = Array.from({ length: 1024 }, (_, n) => spellTenths(n));

/** With one decimal: what `toFixed` does, at a fraction of its cost. */
function tenths(ms: number): string {
  const n = Math.round(ms * 10);
  return shortTenths[n] ?? spellTenths(n);
}

function spellTenths(n: number): string {
  return `${Math.floor(n / 10)}.${n % 10}`;
}
