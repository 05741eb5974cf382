// What a request's head means for the request path, worked out once for all requests of a connection that have the same head:
// a client sends the same lines again and again.
import type { RelayRow } from "../api/table.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import { loadReportFormatField } from "../fleet/load-report.ts";
import { flat } from "../http/bytes.ts";
import type { Exchange } from "../http/exchange.ts";
import type { RouterContext } from "./context.ts";
import { mayExplain } from "./explanation.ts";
import { forwardFields } from "./forward-head.ts";
import type { Specimens } from "./specimens.ts";

const maxHeldChars = 32 * 1024;

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
  /** Whether its silent streams get comments. */
  readonly heartbeats: boolean;
  /** Session named by a header. */
  readonly session: string | null;
  /** How long the client says that it waits for its answer; 0 = it does not say. */
  readonly patienceMs: number;
  /** That is for the beginning of the answer only: SDKs let a stream run for as long as it likes. */
  readonly patientInStream: boolean;
  /** A load report of the engine is passed on: the client asked for it, or the router did not. */
  readonly passesReport: boolean;
  /** The client asks why its requests go where they go, and may know. */
  readonly explain: boolean;
  readonly specimens: Specimens;
  readonly #method: string;
  /** See {@link forwardFields}. */
  readonly #fields: string;
  /** Heads by endpoint, up to where each request differs. */
  readonly #heads = new Map<Endpoint, string>();
  #heldChars = 0;
  readonly #keysVersion: number;
  readonly #sessionKey: string | null;

  constructor(ctx: RouterContext, exchange: Exchange, row: RelayRow, target: string, parameter: string) {
    this.row = row;
    this.target = target;
    this.parameter = parameter;
    this.contentType = exchange.header("content-type");
    this.contentEncoding = exchange.header("content-encoding");
    this.heartbeats = exchange.header("x-lmstack-heartbeat")?.toLowerCase() !== "off";
    this.namesRequests = exchange.header("x-request-id") !== null;
    const key = ctx.routing.sessionKey;
    this.session =
      key === null
        ? (exchange.header("x-session-id") ?? exchange.header("x-user-id"))
        : exchange.header(key.toLowerCase());
    const deadline = exchange.header("x-request-timeout");
    this.patienceMs = patienceOf(deadline ?? exchange.header("x-stainless-timeout"));
    this.patientInStream = deadline === null;
    this.explain = mayExplain(exchange, ctx);
    this.specimens = ctx.specimens.of(row);
    const asked = exchange.header(loadReportFormatField) !== null;
    const asks = !asked && ctx.config.loadReports && (row.api === "chat" || row.api === "completions");
    this.passesReport = !asks;
    this.#method = exchange.head.method;
    this.#fields = forwardFields(exchange, ctx) + (asks ? `${loadReportFormatField}: TEXT\r\n` : "");
    this.#keysVersion = ctx.keys.version;
    this.#sessionKey = key;
  }

  /** The head towards an endpoint, but for what {@link forwardEnd} adds. */
  headFor(endpoint: Endpoint): string {
    let head = this.#heads.get(endpoint);
    if (head === undefined) {
      const text = `${this.#method} ${endpoint.basePath}${this.target} HTTP/1.1\r\nhost: ${endpoint.authority}\r\n${this.#fields}`;
      head = flat(text);
      // one each of many endpoints would be more than all else that an open connection costs
      if (this.#heldChars + head.length > maxHeldChars) {
        this.#heads.clear();
        this.#heldChars = 0;
      }
      this.#heads.set(endpoint, head);
      this.#heldChars += head.length;
    }
    return head;
  }

  /** Whether it still holds: keys and the session's name can change while a connection lives. */
  holds(ctx: RouterContext): boolean {
    return this.#keysVersion === ctx.keys.version && this.#sessionKey === ctx.routing.sessionKey;
  }
}

/** @param said seconds; official SDKs send their own limit as `x-stainless-timeout` */
function patienceOf(said: string | null): number {
  const seconds = said === null || !/^[0-9]+([.][0-9]+)?$/.test(said) ? 0 : Number(said);
  return Number.isFinite(seconds) ? seconds * 1000 : 0;
}
