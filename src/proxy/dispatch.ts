// Where a request's head arrives: finds its row in the table of paths, asks for a key, and hands it to the relay or to one of
// the router's own answers.
import { credential } from "../admission/keys.ts";
import { errorAnswer, type ErrorShape } from "../api/error-body.ts";
import { matchPath, type ApiRow, type RelayRow } from "../api/table.ts";
import { LmstackError } from "../errors/catalogue.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ServerHandler } from "../http/server-connection.ts";
import type { HeaderList } from "../http/head.ts";
import type { RouterContext } from "./context.ts";
import type { OwnAnswers } from "./own-answers.ts";
import { ProxiedRequest } from "./proxied-request.ts";
import { newRequestId, requestIdOf } from "./request-id.ts";
import { RequestPlan } from "./request-plan.ts";

export class Dispatcher implements ServerHandler {
  readonly #ctx: RouterContext;
  readonly #own: OwnAnswers;

  constructor(ctx: RouterContext, own: OwnAnswers) {
    this.#ctx = ctx;
    this.#own = own;
  }

  onRequest(exchange: Exchange): void {
    const { derived } = exchange.head.shape;
    if (derived instanceof RequestPlan && derived.holds(this.#ctx))
      new ProxiedRequest(this.#ctx, exchange, derived).start();
    else this.#dispatch(exchange);
  }

  #dispatch(exchange: Exchange): void {
    const { target, method } = exchange.head;
    const question = target.indexOf("?");
    const rawPath = question < 0 ? target : target.slice(0, question);
    const query = question < 0 ? "" : target.slice(question);
    const path = this.#strip(rawPath);
    const match = path === null ? null : matchPath(path);
    if (match === null || path === null) {
      this.#refuse(
        exchange,
        new LmstackError("path_not_found", `The path ${JSON.stringify(rawPath.slice(0, 200))} does not exist here.`),
        "openai",
      );
      return;
    }
    const row = match.rows.find((candidate) => candidate.methods.includes(method));
    if (row === undefined) {
      const allow = match.rows.flatMap((candidate) => candidate.methods).join(", ");
      const error = new LmstackError("method_not_allowed", `${method} is not allowed on ${path}: use ${allow}.`);
      this.#refuse(exchange, error, shapeOf(match.rows[0]), ["allow", allow]);
      return;
    }
    const refusal = this.#guard(exchange, row);
    if (refusal !== null) {
      this.#refuse(exchange, refusal, shapeOf(row));
      return;
    }
    if (row.kind === "relay") {
      const parameter = row.modelIn === "response" ? match.parameter : "";
      const plan = new RequestPlan(this.#ctx, exchange, row, enginePath(row, path) + query, parameter);
      exchange.head.shape.derived = plan;
      new ProxiedRequest(this.#ctx, exchange, plan).start();
    } else if (row.kind === "own") {
      if (!this.#own.answer(exchange, row, match.parameter)) {
        this.#refuse(
          exchange,
          new LmstackError("path_not_found", `The path ${JSON.stringify(path)} does not exist here.`),
          "openai",
        );
      }
    } else {
      this.#refuse(exchange, new LmstackError("not_implemented", `${path} is known and not built yet.`), "openai");
    }
  }

  refusal(error: LmstackError): { status: number; headers: HeaderList; body: string } {
    this.#ctx.metrics.error(error.definition.label).value++;
    return errorAnswer(error, "openai", newRequestId(), this.#ctx.random());
  }

  /** The path below `--root-path`; the router answers with and without the prefix, as behind a proxy that strips it. */
  #strip(path: string): string | null {
    const prefix = this.#ctx.config.rootPath;
    if (prefix === "" || !path.startsWith(prefix)) return path;
    const rest = path.slice(prefix.length);
    if (rest === "") return "/";
    return rest.startsWith("/") ? rest : path;
  }

  #guard(exchange: Exchange, row: ApiRow): LmstackError | null {
    const { keys } = this.#ctx;
    const guard = row.kind === "own" ? row.guard : row.kind === "later" ? "admin" : "client";
    const set = guard === "client" ? keys.client : guard === "admin" ? keys.admin : null;
    if (set === null) return null;
    const given = credential(exchange.header("authorization"), exchange.header("x-api-key"));
    if (given === null) {
      return new LmstackError("invalid_api_key", "An API key is needed: send `Authorization: Bearer KEY`.");
    }
    return set.has(given) ? null : new LmstackError("invalid_api_key", "The API key is not one of those known here.");
  }

  #refuse(exchange: Exchange, error: LmstackError, shape: ErrorShape, extra: readonly string[] = []): void {
    this.#ctx.metrics.error(error.definition.label).value++;
    const requestId = requestIdOf(exchange.header("x-request-id"));
    const { status, headers, body } = errorAnswer(error, shape, requestId, this.#ctx.random());
    exchange.answer(status, [...headers, ...extra], body);
  }
}

function shapeOf(row: ApiRow | undefined): ErrorShape {
  return row?.kind === "relay" ? row.errors : "openai";
}

/** The path as engines know it: with `/v1` where theirs has it. */
function enginePath(row: RelayRow, path: string): string {
  if (!row.path.includes("{")) return row.path;
  return path.startsWith("/v1/") ? path : `/v1${path}`;
}
