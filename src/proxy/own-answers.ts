// What the router answers itself: models, health, readiness, version, metrics, engines, and the page for a browser where one
// was given.
import { errorAnswer } from "../api/error-body.ts";
import type { OwnRow } from "../api/table.ts";
import { renderHead, type Exchange } from "../http/exchange.ts";
import { contentTypes, formatFor } from "../observe/exposition.ts";
import type { RouterContext } from "./context.ts";
import { modelNotFound } from "./refusals.ts";
import { requestIdOf } from "./request-id.ts";

export interface OwnState {
  readonly version: string;
  /** The dynamic configuration as `/health` shows it; null = no such file. */
  readonly dynamicConfig: () => object | null;
  readonly draining: () => boolean;
  /** What keeps the list of endpoints from being up to date; null = nothing. */
  readonly discoveryProblem: () => string | null;
  /** HTML for a browser at `/`; null = none. */
  readonly page: string | null;
}

const json = ["content-type", "application/json"];
const eventStream = ["content-type", "text/event-stream; charset=utf-8", "cache-control", "no-store"];
const noStore = [...json, "cache-control", "no-store"];

/** How long a router that could serve waits until the engines that it found have told their models. */
const introductionMs = 5_000;

export class OwnAnswers {
  readonly #ctx: RouterContext;
  readonly #state: OwnState;
  /** The engines of the first list were asked, or were given time enough. */
  #introduced = false;
  #syncedAtMs: number | null = null;

  constructor(ctx: RouterContext, state: OwnState) {
    this.#ctx = ctx;
    this.#state = state;
  }

  /** @returns false when there is nothing at this path after all */
  answer(exchange: Exchange, row: OwnRow, parameter: string): boolean {
    switch (row.own) {
      case "models":
        exchange.answer(200, json, JSON.stringify({ object: "list", data: this.#ctx.registry.entries() }));
        return true;
      case "model":
        this.#model(exchange, parameter);
        return true;
      case "health":
        this.#health(exchange);
        return true;
      case "ready":
        this.#ready(exchange);
        return true;
      case "version":
        exchange.answer(200, json, JSON.stringify({ version: this.#state.version }));
        return true;
      case "metrics":
        this.#metrics(exchange);
        return true;
      case "engines":
        exchange.answer(200, noStore, JSON.stringify(this.#engines()));
        return true;
      case "page":
        if (this.#state.page === null) return false;
        exchange.answer(
          200,
          ["content-type", "text/html; charset=utf-8", "cache-control", "no-cache"],
          this.#state.page,
        );
        return true;
      case "console":
      case "console-file":
        if (this.#ctx.console === null) return false;
        void this.#ctx.console.file(exchange, parameter);
        return true;
      case "console-configuration":
        this.#ctx.console?.configuration(exchange);
        return this.#ctx.console !== null;
      case "console-events":
        if (this.#ctx.console === null) return false;
        // who asks for the head alone must not be kept as one who looks
        if (exchange.head.method === "HEAD") exchange.answer(200, eventStream, "");
        else this.#ctx.console.watch(exchange, renderHead(200, "", eventStream));
        return true;
    }
  }

  #metrics(exchange: Exchange): void {
    const format = formatFor(exchange.header("accept"));
    exchange.answer(200, ["content-type", contentTypes[format]], this.#ctx.metrics.registry.render(format));
  }

  #model(exchange: Exchange, id: string): void {
    const entry = this.#ctx.registry.entries().find((candidate) => candidate.id === id);
    if (entry !== undefined) {
      exchange.answer(200, json, JSON.stringify(entry));
      return;
    }
    const error = modelNotFound(id, this.#ctx.registry.names());
    this.#ctx.metrics.error(error.definition.label).value++;
    const { status, headers, body } = errorAnswer(
      error,
      "openai",
      requestIdOf(exchange.header("x-request-id")),
      this.#ctx.random(),
    );
    exchange.answer(status, headers, body);
  }

  #health(exchange: Exchange): void {
    const dynamic = this.#state.dynamicConfig();
    exchange.answer(
      200,
      noStore,
      JSON.stringify(dynamic === null ? { status: "healthy" } : { status: "healthy", dynamic_config: dynamic }),
    );
  }

  /** Whether this router should get traffic. The absence of engines is no reason: one dead model must not take all away. */
  #ready(exchange: Exchange): void {
    const reason = this.#state.draining() ? "draining" : this.#starting();
    if (reason === null) exchange.answer(200, noStore, JSON.stringify({ status: "ready" }));
    else exchange.answer(503, noStore, JSON.stringify({ status: "not ready", reason }));
  }

  /**
   * What a router that has just been started waits for; null = nothing any more. One that is new in a rollout gets its share
   * of requests from the moment on that it is ready, so the engines that it found have to be known by then; but not for
   * longer than a moment, for some of them may be dead.
   */
  #starting(): string | null {
    if (this.#introduced) return null;
    const { clock, config, registry } = this.#ctx;
    if (!registry.synced) return `waiting for the first list of endpoints${this.#problem()}`;
    const now = clock.nowMs();
    this.#syncedAtMs ??= now;
    const asked = registry.list().every((endpoint) => endpoint.configuredModels !== null || endpoint.asked);
    const found = config.dynamic.discovery.kind !== "static";
    if (found && !asked && now - this.#syncedAtMs < introductionMs)
      return "asking the engines of the first list for their models";
    this.#introduced = true;
    return null;
  }

  #problem(): string {
    const problem = this.#state.discoveryProblem();
    return problem === null ? "" : `: ${problem}`;
  }

  #kvEvents(id: string): object {
    const { sources } = this.#ctx.kv;
    return { state: sources.stateOf(id), detail: sources.detailOf(id), blocks: sources.blocksOf(id) };
  }

  #engines(): object[] {
    const now = this.#ctx.clock.nowMs();
    return this.#ctx.registry.list().map((endpoint) => ({
      engine_id: endpoint.id,
      serving_models: endpoint.models,
      created: endpoint.createdSeconds,
      url: endpoint.url,
      ...(endpoint.identity === null ? {} : { identity: endpoint.identity }),
      state: endpoint.state(now),
      in_flight: { queued: endpoint.queued, running: endpoint.running },
      ...(endpoint.progress.suspect || endpoint.progress.stalled ? { hangs: true } : {}),
      ...(this.#ctx.kv.wanted ? { kv_events: this.#kvEvents(endpoint.id) } : {}),
      ...(endpoint.lastProblem === null ? {} : { problem: endpoint.lastProblem }),
    }));
  }
}
