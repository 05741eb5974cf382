// What a request's head means for the request path, worked out once for all requests of a connection that have the same head:
// a client sends the same lines again and again.
import type { RelayRow } from "../api/table.ts";
import type { Exchange } from "../http/exchange.ts";
import type { RouterContext } from "./context.ts";
import { forwardFields } from "./forward-head.ts";

export class RequestPlan {
  readonly row: RelayRow;
  /** Path and query towards an engine. */
  readonly target: string;
  /** The response id in the path; "" = none. */
  readonly parameter: string;
  readonly contentType: string | null;
  readonly contentEncoding: string | null;
  /** Whether the client names its requests. */
  readonly namesRequests: boolean;
  /** Session named by a header. */
  readonly session: string | null;
  /** See {@link forwardFields}. */
  readonly fields: string;
  readonly #keysVersion: number;
  readonly #sessionKey: string | null;

  constructor(ctx: RouterContext, exchange: Exchange, row: RelayRow, target: string, parameter: string) {
    this.row = row;
    this.target = target;
    this.parameter = parameter;
    this.contentType = exchange.header("content-type");
    this.contentEncoding = exchange.header("content-encoding");
    this.namesRequests = exchange.header("x-request-id") !== null;
    const key = ctx.routing.sessionKey;
    this.session =
      key === null ? (exchange.header("x-session-id") ?? exchange.header("x-user-id")) : exchange.header(key.toLowerCase());
    this.fields = forwardFields(exchange, ctx);
    this.#keysVersion = ctx.keys.version;
    this.#sessionKey = key;
  }

  /** Whether it still holds: keys and the session's name can change while a connection lives. */
  holds(ctx: RouterContext): boolean {
    return this.#keysVersion === ctx.keys.version && this.#sessionKey === ctx.routing.sessionKey;
  }
}
