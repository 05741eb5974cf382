// The head that goes to an engine: always written anew, with one Content-Length, so that no ambiguity of the client's
// framing gets through.
import type { Exchange } from "../http/exchange.ts";
import type { HeaderList } from "../http/head.ts";
import { endToEnd } from "../http/hygiene.ts";
import type { RouterContext } from "./context.ts";
import { adminKeyField, explainField } from "./explanation.ts";

const rewritten = new Set([
  "host",
  "content-length",
  "expect",
  "x-request-id",
  "x-lmstack-heartbeat",
  "via",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  explainField,
  adminKeyField,
]);
const credentials = ["authorization", "x-api-key"];
/** Of requests that are traced here, whose engines are told of the attempt's span. */
const traced = ["traceparent"];

/**
 * Field lines for every attempt of requests with this head; request line and `host` come in front, length and request id
 * behind.
 */
export function forwardFields(exchange: Exchange, ctx: RouterContext): string {
  const { head } = exchange;
  const engineKey = ctx.keys.engine;
  // With client keys on, a client's credential is ours and none of the engine's business.
  const guarded = ctx.keys.client !== null || engineKey !== null;
  const drop = new Set([...rewritten, ...(guarded ? credentials : []), ...(ctx.tracing === null ? [] : traced)]);
  let text = "";
  const kept = endToEnd(head.headers, head.connection, drop);
  for (let i = 0; i < kept.length; i += 2) text += `${kept[i]}: ${kept[i + 1]}\r\n`;
  if (engineKey !== null) text += `authorization: Bearer ${engineKey}\r\n`;
  const before = ctx.trusted(exchange.remoteAddress) ? allValues(head.headers, "x-forwarded-for") : null;
  const peer = plainAddress(exchange.remoteAddress);
  text += `x-forwarded-for: ${before === null ? peer : `${before}, ${peer}`}\r\n`;
  text += `x-forwarded-proto: ${exchange.encrypted ? "https" : "http"}\r\n`;
  if (head.host !== null) text += `x-forwarded-host: ${head.host}\r\n`;
  const via = allValues(head.headers, "via");
  return `${text}via: ${via === null ? "" : `${via}, `}1.${head.minor} lmstack\r\n`;
}

/**
 * What ends the head.
 * @param bodyBytes -1 = the request has no body
 */
export function forwardEnd(requestId: string, bodyBytes: number): string {
  return bodyBytes < 0
    ? `x-request-id: ${requestId}\r\n\r\n`
    : `x-request-id: ${requestId}\r\ncontent-length: ${bodyBytes}\r\n\r\n`;
}

/** All lines of a list field as one: what the nearest proxy added may stand on a line of its own. Null = there is none. */
function allValues(list: HeaderList, name: string): string | null {
  let joined: string | null = null;
  for (let i = 0; i < list.length; i += 2) {
    if (list[i] !== name) continue;
    joined = joined === null ? (list[i + 1] ?? "") : `${joined}, ${list[i + 1] ?? ""}`;
  }
  return joined;
}

/** IPv4 addresses without the IPv6 prefix that dual-stack sockets show. */
export function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
