// The life of one request for an engine: read it, find its model, choose an endpoint, try, try elsewhere, relay, and end in
// exactly one outcome. The one path for every proxied API, so that no endpoint can behave differently.
// Rules of the loop: the client's leaving is nobody's failure; an endpoint that was tried is not tried again; nothing is
// retried once the first event has left. Long, since all of its states are here: whoever changes one has to see the others.
import { Body } from "../api/body.ts";
import type { RelayRow } from "../api/table.ts";
import type { Usage } from "../api/usage.ts";
import { LmstackError, type Outcome } from "../errors/catalogue.ts";
import type { LiveRequest } from "../console/shapes.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import type { BodyReader, Exchange } from "../http/exchange.ts";
import type { OutgoingBody } from "../http/engine-connection.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import type { Sweepable } from "../http/sweeper.ts";
import type { AttemptOutcome, MigrationCause, MigrationResult } from "../observe/catalogue.ts";
import { loadReportOf } from "./answer-head.ts";
import { Attempt } from "./attempt.ts";
import { ClientSide } from "./client-side.ts";
import type { RouterContext } from "./context.ts";
import { EndpointWait } from "./endpoint-wait.ts";
import type { AttemptFailure } from "./failure.ts";
import { forwardEnd } from "./forward-head.ts";
import { isClientsFault } from "./held-answer.ts";
import { Introduction } from "./introductions.ts";
import { Intake, lengthOf, textOf, type RequestFacts } from "./intake.ts";
import { KeptStream } from "./migration/kept-stream.ts";
import type { Seam } from "./migration/seam.ts";
import { canGoOn, StreamMigration, type MigrationHost } from "./migration/stream-migration.ts";
import type { RelayOwner } from "./relay.ts";
import type { Candidate, RequestView } from "../routing/policy.ts";
import { explain } from "./explanation.ts";
import type { Handover } from "../routing/late-binding.ts";
import type { QueuedRequest } from "../admission/queue.ts";
import { RequestPlacement } from "./placement.ts";
import { asLmstack, noEndpoint, outwaited, queueFull, tookTooLong, tooManyBodies } from "./refusals.ts";
import { storedAt } from "./response-affinity.ts";
import { requestIdOf } from "./request-id.ts";
import type { RequestPlan } from "./request-plan.ts";
import { RequestRecord, type Verdict } from "./request-record.ts";
import { selectEndpoint, usableEndpoints, type Delay, type Selection } from "./select.ts";

export class ProxiedRequest implements BodyReader, RelayOwner, Sweepable, QueuedRequest, MigrationHost {
  readonly exchange: Exchange;
  sweepSlot = -1;
  readonly ctx: RouterContext;
  readonly #plan: RequestPlan;
  readonly #row: RelayRow;
  readonly #record: RequestRecord;
  readonly #client: ClientSide;
  readonly #body: Body;
  #intake: Intake | null = null;
  #reserved = 0;
  #facts: RequestFacts | null = null;
  #model: string | null = null;
  /** What ends the head towards an engine. */
  #headEnd = "";
  /** The body in the client's words, but for an alias. */
  #outgoing: OutgoingBody = "";
  /** As it is sent. */
  #sent: OutgoingBody = "";
  asksForUsage = false;
  #session: string | null = null;
  #placed: RequestPlacement | null = null;
  /** null = its model is known, or there is none. */
  #unknown: Introduction | null = null;
  /** null = it does not wait in the queue. */
  #wait: EndpointWait | null = null;
  #attempt: Attempt | null = null;
  /** The present attempt decides about an endpoint that was taken out. */
  #isProbe = false;
  readonly #tried: Endpoint[] = [];
  /** What is kept of the stream that passes, so that it can go on elsewhere. */
  #kept: KeptStream | null = null;
  #keptBodyBytes = 0;
  #ended = false;

  constructor(ctx: RouterContext, exchange: Exchange, plan: RequestPlan) {
    this.ctx = ctx;
    this.exchange = exchange;
    this.#plan = plan;
    this.#row = plan.row;
    this.#body = new Body(ctx.buffers, exchange.head.contentLength);
    const id = requestIdOf(plan.namesRequests ? exchange.header("x-request-id") : null);
    this.#record = new RequestRecord(ctx, plan.row, id, exchange);
    this.#client = new ClientSide(ctx, exchange, plan, this.#record);
  }

  start(): void {
    const { exchange } = this;
    const ctx = this.ctx;
    exchange.onClientGone = this.#onClientGone;
    ctx.active.add(this);
    ctx.retryBudget.request(exchange.receivedAtMs);
    try {
      this.#intake = new Intake(this.#plan, ctx.routing.sessionKey, this.#body);
    } catch (error) {
      this.#fail(asLmstack(error));
      return;
    }
    exchange.readBody(this, ctx.config.limits.maxBodyBytes);
  }

  /** As the console shows it. */
  live(nowMs: number): LiveRequest {
    const streams = this.#attempt !== null && this.exchange.started;
    const waits = this.#wait !== null || this.#unknown !== null;
    const reached = this.#attempt === null ? (waits ? "queued" : "receiving") : "prefill";
    return this.#record.live(nowMs, streams ? "streaming" : reached);
  }

  // --- the body

  onBodyChunk(buf: Buffer, start: number, end: number): void {
    if (this.#ended) return;
    this.#reserved += end - start;
    this.ctx.bufferedBytes += end - start;
    if (this.ctx.bufferedBytes > this.ctx.config.limits.maxBufferedBytes) {
      this.#fail(tooManyBodies());
      return;
    }
    try {
      this.#intake?.add(buf, start, end);
    } catch (error) {
      this.#fail(asLmstack(error));
    }
  }

  onBodyEnd(): void {
    if (this.#ended || this.#intake === null) return;
    const now = this.exchange.readAtMs;
    this.#record.received(now);
    this.#findModel(this.#intake, now);
  }

  onBodyError(error: LmstackError): void {
    if (!this.#ended) this.#fail(error);
  }

  // --- choosing and trying

  /** Waits where an engine has yet to tell it. */
  #findModel(intake: Intake, nowMs: number): void {
    try {
      const { model } = (this.#facts ??= intake.finish());
      const found = model === null ? null : this.ctx.introductions.find(model, this.#plan.patienceMs, this.#unknown);
      if (found instanceof Introduction) {
        this.#unknown = found;
        return;
      }
      this.#model = found;
      this.#record.routed(found);
      if (this.#unknown !== null) this.#record.queued(this.#unknown.end());
      this.#unknown = null;
      this.#route(this.#facts, nowMs);
    } catch (error) {
      this.#fail(asLmstack(error));
    }
  }

  #route(facts: RequestFacts, nowMs: number): void {
    const { exchange } = this;
    this.#session = this.#plan.session ?? facts.sessionField;
    const renamed = this.#model === facts.model ? null : this.#model;
    this.#outgoing = this.#intake?.outgoing(renamed) ?? "";
    const asks = this.ctx.config.injectStreamUsage && facts.stream;
    const asking = asks ? (this.#intake?.askingForUsage(this.#row.api, renamed) ?? null) : null;
    this.asksForUsage = asking !== null;
    this.#sent = asking ?? this.#outgoing;
    const bytes = lengthOf(this.#sent);
    const model = this.#model ?? "";
    this.#placed = new RequestPlacement(this.ctx, this.#row, model, this.#session, bytes, this.#body);
    const hasBody = exchange.head.method === "POST" || bytes > 0;
    this.#headEnd = forwardEnd(this.#record.requestId, hasBody ? bytes : -1);
    this.#placed.whenRead(
      (waitedMs) => {
        if (this.#ended) return;
        this.#record.waited(waitedMs);
        this.#next(null, waitedMs === 0 ? nowMs : this.ctx.clock.nowMs());
      },
      (error) => this.#fail(asLmstack(error)),
    );
  }

  /** Chooses an endpoint that was not tried and sends; ends the request where there is none. */
  #next(failure: AttemptFailure | null, now: number): void {
    const ctx = this.ctx;
    const selection = this.#select(this.#tried, now, failure === null) ?? (failure === null ? this.#hold(now) : null);
    if (selection !== null && "wait" in selection) {
      this.#enqueue(selection, now);
      return;
    }
    if (selection === null) {
      if (failure === null) this.#fail(noEndpoint(ctx.registry, this.#model ?? "", now, 0));
      else this.#giveUp(failure);
      return;
    }
    if (failure !== null) {
      if (!failure.free && !ctx.retryBudget.take(now)) {
        this.#giveUp(failure);
        return;
      }
      this.#record.retried(failure.retryReason);
    }
    this.#go(selection, null, now);
  }

  /** To the endpoint that was chosen. @param candidates from what; null = from those that are there now */
  #go(selection: Selection, candidates: readonly Candidate[] | null, nowMs: number): void {
    if (this.#plan.explain) this.#explain(selection, candidates ?? this.candidates(nowMs), nowMs);
    this.#send(selection, false, nowMs);
    this.#record.chose(selection, this.#session, nowMs);
  }

  /** No endpoint of a known model may be used: one may come. @returns null where nobody waits for it */
  #hold(nowMs: number): Delay | null {
    const { promptTokens, mayWait } = this.#placement.view(nowMs, true);
    if (this.#model === null || !mayWait || this.ctx.config.timeouts.holdMs === 0) return null;
    return { wait: true, uncachedTokens: promptTokens, candidates: [] };
  }

  #enqueue({ uncachedTokens, candidates }: Delay, nowMs: number): void {
    const { queue } = this.ctx;
    const model = this.#model ?? "";
    const absent = candidates.length === 0;
    if (!queue.hasPlace(model, uncachedTokens)) {
      this.#fail(queueFull(model, queue.length(model), absent));
      return;
    }
    const client = { sinceMs: this.exchange.receivedAtMs, patienceMs: this.#plan.patienceMs };
    this.#wait = new EndpointWait(this.ctx, model, client, nowMs, absent);
    queue.wait(this, uncachedTokens, candidates);
  }

  /** For the queue. */
  get view(): RequestView {
    return this.#placement.view(this.ctx.clock.nowMs(), true);
  }

  /** For the queue. */
  candidates(nowMs: number): readonly Endpoint[] {
    return usableEndpoints(this.ctx, this.#model ?? "", this.#tried, nowMs);
  }

  /** For the queue: there is room. */
  bind({ candidates, choice }: Handover<QueuedRequest>): void {
    const now = this.ctx.clock.nowMs();
    if (this.#wait !== null) {
      this.#record.queued(now - this.#wait.sinceMs);
      this.#wait.end(now, true);
      this.#wait = null;
    }
    const endpoint = this.ctx.registry.find(candidates[choice.index]?.id ?? "");
    if (endpoint === undefined) {
      this.#fail(noEndpoint(this.ctx.registry, this.#model ?? "", now, 0));
      return;
    }
    this.#go({ endpoint, reason: choice.reason, cachedTokens: choice.cachedTokens }, candidates, now);
  }

  #explain(selection: Selection, candidates: readonly Candidate[], nowMs: number): void {
    const queuedMs = this.#record.queuedMs;
    this.#record.explanation = explain(this.ctx, this.#placement.view(nowMs, false), candidates, selection, queuedMs);
  }

  /** For the migration, which does not wait. */
  select(tried: readonly Endpoint[], nowMs: number): Selection | null {
    const selection = this.#select(tried, nowMs, false);
    return selection === null || "wait" in selection ? null : selection;
  }

  #select(tried: readonly Endpoint[], nowMs: number, mayWait: boolean): Selection | Delay | null {
    const wanted = this.#plan.parameter !== "" ? this.#plan.parameter : (this.#facts?.previousResponse ?? null);
    if (wanted === null) return selectEndpoint(this.ctx, this.#placement.view(nowMs, mayWait), tried);
    const endpoint = storedAt(this.ctx, wanted, this.#model);
    return tried.includes(endpoint) ? null : { endpoint, reason: "response_affinity", cachedTokens: 0 };
  }

  /** The body has been read before anything is chosen. */
  get #placement(): RequestPlacement {
    if (this.#placed === null) throw new Error("a request is routed before it is read");
    return this.#placed;
  }

  #send(selection: Selection, fresh: boolean, nowMs: number): void {
    const attempt = this.#begin(selection, this, null, fresh, nowMs);
    const head = this.#plan.headFor(selection.endpoint) + this.#record.traceLine + this.#headEnd;
    attempt.send(head, this.#sent, this.exchange.head.method === "HEAD");
    this.#sentTo(selection, nowMs);
  }

  #begin(selection: Selection, owner: RelayOwner, seam: Seam | null, fresh: boolean, nowMs: number): Attempt {
    const { endpoint, reason } = selection;
    const ticket = this.#placement.send(selection, nowMs);
    this.#record.beganAttempt(selection, nowMs);
    const stream = this.#facts?.stream === true;
    const attempt = new Attempt(owner, this.#row, endpoint, reason, fresh, stream, ticket, nowMs, seam);
    this.#attempt = attempt;
    return attempt;
  }

  /** What is noted of an attempt once its request has left: the engine need not wait for that. */
  #sentTo(selection: Selection, nowMs: number): void {
    const placement = this.#placement;
    this.#isProbe = selection.endpoint.breaker.picked(nowMs);
    this.#record.sent(selection, placement.enter(selection), placement.follow(selection), nowMs);
    this.#plan.specimens.keepIntake(this.#intake);
    this.ctx.progress.wake();
  }

  // --- what the relay reports

  connected(startedMs: number): void {
    this.#record.connected(startedMs);
  }

  keep(): KeptStream | null {
    const { migration } = this.ctx.config;
    const { api } = this.#row;
    if (migration.budgetBytes === 0 || (api !== "completions" && api !== "chat")) return null;
    this.#kept?.release();
    this.#kept = new KeptStream(this.ctx.migrationBudget, migration.streamBytes);
    return this.#kept;
  }

  commit(
    head: ResponseHead,
    stream: boolean,
    length: number | null,
    now = this.ctx.clock.nowMs(),
    whole: string | null = null,
  ): void {
    this.#client.begin(head, stream, length, now);
    if (whole !== null) this.exchange.writeWhole(whole);
    this.#record.answering(head.status);
    if (stream && this.#attempt !== null) this.#record.firstToken(this.#attempt, now);
    this.answered(head, stream, now);
    if (stream && this.#kept !== null) this.#keepBody(this.#kept);
    else this.#releaseBody();
    this.#placed?.forgetPrompt();
    this.exchange.onDrain = this.#onDrain;
  }

  answered(head: ResponseHead, stream: boolean, nowMs: number): void {
    const attempt = this.#attempt;
    if (attempt === null) return;
    attempt.committed = true;
    // an endpoint that answers is back; it need not wait until a stream of minutes is over
    if (this.#isProbe && head.status < 500) attempt.endpoint.breaker.success(nowMs, true);
    const report = loadReportOf(head);
    if (report !== null) this.ctx.loadReports.take(attempt.endpoint, report, nowMs);
    attempt.ticket.firstToken(nowMs, stream);
    this.ctx.queue.kick();
  }

  usage(usage: Usage): void {
    this.#record.tokens(usage);
  }

  responseId(id: string): void {
    if (this.#attempt !== null) this.ctx.responses.remember(id, this.#attempt.endpoint.id);
  }

  completed(now = this.ctx.clock.nowMs()): void {
    const status = this.#record.answerStatus;
    const good = status < 400;
    this.endAttempt(good ? "ok" : "rejected", "success", now);
    this.exchange.end(now);
    if (good) this.#end("ok", status, null, now);
    else this.#end(status < 500 ? "client_error" : "engine_error", status, `The engine answered ${status}.`, now);
  }

  interrupted(error: LmstackError, frame: Buffer | null, cause: MigrationCause): void {
    const from = this.#attempt?.endpoint;
    this.endAttempt(cause === "timeout" || cause === "stall" ? "timeout" : "interrupted", "failure");
    if (this.#kept !== null && from !== undefined) {
      this.#client.paused(this.ctx.clock.nowMs());
      const api = this.#row.api === "chat" ? "chat" : "completions";
      new StreamMigration(this, api, this.#kept, this.#record.hasUsage).start(from, cause, error, frame);
      return;
    }
    if (this.#client.streams) this.migrated(cause, this.ctx.config.migration.budgetBytes === 0 ? "off" : "api");
    this.broken(error, frame);
  }

  broken(error: LmstackError, frame: Buffer | null): void {
    this.#client.fail(error, frame);
    this.#record.error(error);
    this.#end(error.definition.outcome, this.#record.answerStatus, error.message);
  }

  migrated(cause: MigrationCause, result: MigrationResult): void {
    this.#record.migrated(cause, result);
  }

  sendOn(selection: Selection, body: string, seam: Seam, owner: RelayOwner, fresh: boolean): void {
    const now = this.ctx.clock.nowMs();
    const bytes = Buffer.from(body);
    const attempt = this.#begin(selection, owner, seam, fresh, now);
    const { traceLine, requestId } = this.#record;
    const head = this.#plan.headFor(selection.endpoint) + traceLine + forwardEnd(requestId, bytes.length);
    attempt.send(head, [bytes], false);
    this.#sentTo(selection, now);
    this.#record.chose(selection, this.#session, now);
  }

  get over(): boolean {
    return this.#ended;
  }

  failed(failure: AttemptFailure): void {
    const attempt = this.#attempt;
    if (attempt === null || this.#ended) return;
    const ctx = this.ctx;
    const now = ctx.clock.nowMs();
    const { endpoint, reason } = attempt;
    const clients = isClientsFault(failure);
    const is500 = failure.outcome === "server_error" && failure.answer?.head.status === 500;
    const counts = failure.counts && !clients && !is500;
    this.endAttempt(clients ? "rejected" : failure.outcome, counts ? "failure" : "inconclusive");
    if (failure.busyMs > 0) endpoint.busyUntilMs = now + failure.busyMs;
    if (counts) ctx.health.hurry(endpoint);
    if (failure.stale) {
      this.#record.retried(failure.retryReason);
      this.#record.attempts--;
      this.#send({ endpoint, reason, cachedTokens: this.#record.predictedTokens }, true, now);
      return;
    }
    if (clients) {
      this.#giveUp(failure);
      return;
    }
    this.#tried.push(endpoint);
    // a 500 that two endpoints give alike is the request's, and neither of them is charged with it
    const repeated = is500 && this.#gave500 !== null;
    if (repeated) this.#gave500 = null;
    else if (is500) {
      this.#gave500 = endpoint;
      this.#gave500AsProbe = this.#isProbe;
    }
    if (this.#record.attempts > ctx.config.retries || repeated) {
      this.#giveUp(failure);
      return;
    }
    try {
      this.#next(failure, now);
    } catch (error) {
      this.#fail(asLmstack(error));
    }
  }

  /** Answered 500 first, and is charged with it unless the next one answers alike. */
  #gave500: Endpoint | null = null;
  #gave500AsProbe = false;

  // --- endings

  /** No further try: the engine's own answer where there is one, else an error of ours. */
  #giveUp(failure: AttemptFailure): void {
    const { answer } = failure;
    const held = answer !== null && answer.body.length > 0;
    const passed = held ? this.#client.passHeld(answer, failure) : null;
    if (passed === null) {
      this.#fail(failure.error);
      return;
    }
    this.#record.error(failure.error);
    this.#end(passed.outcome, passed.status, failure.error.message);
  }

  /** Ends with an error of the catalogue, as an answer or as a frame. */
  #fail(error: LmstackError): void {
    if (this.#ended || this.#attempt?.endWhole() === true) return;
    this.#record.error(error);
    this.#attempt?.abandon();
    this.endAttempt("client_gone", "inconclusive");
    this.#client.fail(error, null);
    this.#end(error.definition.outcome, error.definition.status, error.message);
  }

  readonly #onClientGone = (): void => {
    if (this.#ended) return;
    this.#attempt?.abandon();
    this.endAttempt("client_gone", "inconclusive");
    this.#end("client_gone", 499, null);
  };

  readonly #onDrain = (): void => this.#attempt?.resume();

  /** An engine hangs. What it has not begun to answer, and streams that can go on, are taken from it if there is another. */
  engineStalled(endpoint: Endpoint): void {
    const attempt = this.#attempt;
    if (attempt?.endpoint !== endpoint || this.#ended) return;
    const now = this.ctx.clock.nowMs();
    const others = usableEndpoints(this.ctx, this.#model ?? "", [endpoint], now);
    if (!others.some(({ breaker, progress }) => breaker.admits(now) && !progress.stalled && !progress.suspect)) return;
    const { stallMs } = this.ctx.config.timeouts;
    attempt.stall(stallMs, this.#kept !== null && canGoOn(this.#row.api, this.body, this.#kept, this.ctx));
  }

  /** The router stops: what still runs ends now, and says so. */
  shutDown(): void {
    this.#fail(new LmstackError("shutting_down", "The router is shutting down: send the request again."));
  }

  onSweep(nowMs: number): void {
    const { timeouts } = this.ctx.config;
    this.#attempt?.check(nowMs, timeouts);
    if (this.#ended) return;
    if (timeouts.totalMs > 0 && nowMs - this.exchange.receivedAtMs > timeouts.totalMs) {
      this.#fail(tookTooLong(timeouts.totalMs));
      return;
    }
    if (this.#unknown !== null && this.#intake !== null) {
      this.#findModel(this.#intake, nowMs);
      return;
    }
    if (this.#wait !== null) {
      const over = this.#wait.look(nowMs, this.candidates(nowMs).length === 0);
      if (over !== null) this.#fail(over);
      return;
    }
    const { patienceMs, patientInStream } = this.#plan;
    const bound = patienceMs > 0 && !(patientInStream && this.exchange.started);
    if (bound && nowMs - this.exchange.receivedAtMs >= patienceMs) {
      this.#fail(outwaited(patienceMs));
      return;
    }
    const attempt = this.#attempt;
    const begun = this.#client.heartbeat(attempt, nowMs, this.#plan.heartbeats ? timeouts.sseHeartbeatMs : 0);
    if (begun && attempt?.head) this.#record.answering(attempt.head.status);
  }

  // --- what endings share

  endAttempt(outcome: AttemptOutcome, verdict: Verdict, nowMs = this.ctx.clock.nowMs()): void {
    const attempt = this.#attempt;
    if (attempt === null) return;
    this.#attempt = null;
    this.#plan.specimens.keep(attempt);
    this.#client.lastNumber = attempt.lastNumber;
    this.ctx.queue.kick();
    this.#record.endedAttempt(attempt, this.#isProbe, outcome, verdict, nowMs);
  }

  /** The request is kept as long as its stream may have to go on elsewhere. */
  #keepBody(kept: KeptStream): void {
    const { migrationBudget } = this.ctx;
    const bytes = lengthOf(this.#outgoing);
    if (bytes > migrationBudget.maxBodyBytes) kept.stop("too_large");
    else if (!migrationBudget.take(bytes)) kept.stop("no_budget");
    else {
      this.#keptBodyBytes = bytes;
      this.ctx.bufferedBytes -= this.#reserved;
      this.#reserved = 0;
      this.#intake = null;
      this.#sent = "";
      return;
    }
    this.#releaseBody();
  }

  get requestId(): string {
    return this.#record.requestId;
  }

  get body(): string {
    return textOf(this.#outgoing);
  }

  #releaseBody(): void {
    this.ctx.migrationBudget.give(this.#keptBodyBytes);
    this.#keptBodyBytes = 0;
    this.ctx.bufferedBytes -= this.#reserved;
    this.#reserved = 0;
    this.#outgoing = "";
    this.#sent = "";
    this.#intake = null;
    // the engine's socket may still be taking it
    this.#body.release(this.#attempt === null || this.#attempt.requestSent);
  }

  #end(outcome: Outcome, status: number, error: string | null, nowMs = this.ctx.clock.nowMs()): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#gave500 !== null) this.#record.charge(this.#gave500, this.#gave500AsProbe);
    this.ctx.active.delete(this);
    this.#unknown?.end();
    if (this.#wait !== null) {
      this.ctx.queue.leave(this);
      this.#wait.end(nowMs, false);
      this.#wait = null;
    }
    this.#releaseBody();
    this.#kept?.release();
    this.exchange.onClientGone = null;
    this.exchange.onDrain = null;
    this.#record.ended(outcome, status, error, nowMs);
    if (this.ctx.active.size === 0) this.ctx.onQuiet();
  }
}
