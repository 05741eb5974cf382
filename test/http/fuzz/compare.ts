// The law of the differential tests: whatever we accept, llhttp accepts with the same meaning. Where we refuse, nothing
// is compared: being stricter is the point. What deviates on purpose is in `allowed`, with its reason.
import type { ResponseHead } from "../../../src/http/response-parser.ts";
import { traceRequests, traceResponse } from "../traces.ts";
import { Judge, methodNumber, type JudgedMessage } from "./llhttp.ts";

export interface Verdict {
  /** Messages that we accepted. */
  readonly accepted: number;
  /** What differs; null = nothing. */
  readonly difference: string | null;
}

const requestJudge = new Judge("request");
const responseJudge = new Judge("response");

/** Fields of ours and llhttp's that must be equal, as text. */
function firstDifference(pairs: readonly (readonly [what: string, ours: unknown, theirs: unknown])[]): string | null {
  for (const [what, ours, theirs] of pairs) {
    if (ours !== theirs) return `${what}: ours ${JSON.stringify(ours)}, llhttp's ${JSON.stringify(theirs)}`;
  }
  return null;
}

function flat(headers: readonly string[]): string {
  return JSON.stringify(headers.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text)));
}

/** Absolute form brought to origin form, in other words than the parser's. */
function originForm(url: string): string {
  if (url.startsWith("/") || url === "*") return url;
  const rest = url.slice(url.indexOf("://") + 3).replace(/^[^/?]*/, "");
  return rest.startsWith("/") ? rest : `/${rest}`;
}

export function compareRequests(bytes: Buffer): Verdict {
  const { requests, error } = traceRequests([bytes]);
  if (requests.length === 0) return { accepted: 0, difference: null };
  const judge = requestJudge;
  judge.start();
  let accepted = 0;
  let fed = 0;
  for (const { head, body, end } of requests) {
    const complete = end >= 0;
    if (complete) {
      // all but the last byte must not be enough, and the last byte must be: the same end, to the byte
      judge.feed(bytes.subarray(fed, end - 1));
      if (judge.complete !== accepted) return { accepted, difference: `message ${accepted} ends earlier for llhttp` };
      judge.feed(bytes.subarray(end - 1, end));
      fed = end;
    } else judge.feed(bytes.subarray(fed));
    const theirs = judge.messages[accepted];
    if (theirs === undefined) return { accepted, difference: `llhttp refuses head ${accepted}: ${judge.error}` };
    const difference = firstDifference([
      ["method", methodNumber(head.method), theirs.method],
      ["target", head.target, originForm(theirs.url)],
      ["version", `1.${head.minor}`, `${theirs.major}.${theirs.minor}`],
      ["fields", flat(head.headers), flat(theirs.headers)],
      ["keep-alive", ...keepAlives(head.keepAlive, head.connection, theirs, head.contentLength < 0)],
    ]);
    if (difference !== null) return { accepted, difference };
    if (!complete) {
      // refused in the body: nothing of it goes on to an engine, so how far llhttp would have gone does not matter
      if (error !== null || allowed.framingInTrailers(judge.error, body, theirs)) return { accepted, difference: null };
      return { accepted, difference: judge.error ?? compareBody(body, theirs, false) };
    }
    if (allowed.framingInTrailers(judge.error, body, theirs)) return { accepted: accepted + 1, difference: null };
    const bodyDifference = judge.error ?? compareBody(body, theirs, true);
    if (bodyDifference !== null) return { accepted, difference: bodyDifference };
    accepted++;
    // nothing is read behind a message that ends its connection
    if (
      !head.keepAlive ||
      allowed.proxyConnection(theirs) ||
      allowed.upgrade(theirs) ||
      allowed.connectionInTrailers(theirs)
    )
      break;
  }
  return { accepted, difference: null };
}

function compareBody(body: Buffer, theirs: JudgedMessage, complete: boolean): string | null {
  if (theirs.complete !== complete) return complete ? "llhttp waits for more" : "llhttp takes it for complete";
  return body.equals(Buffer.concat(theirs.body)) ? null : "body differs";
}

/** Options as in {@link traceResponse}. */
export function compareResponse(
  bytes: Buffer,
  options: { readonly headRequest?: boolean; readonly closed?: boolean; readonly before?: Buffer | null } = {},
): Verdict {
  const { headRequest = false, closed = false } = options;
  const ours = traceResponse([bytes], options);
  const { head } = ours;
  if (head === null) return { accepted: 0, difference: null };
  const judge = responseJudge;
  judge.start(headRequest);
  const complete = ours.end >= 0;
  if (complete) {
    judge.feed(bytes.subarray(0, ours.end - 1));
    if (finals(judge).some((message) => message.complete))
      return { accepted: 0, difference: "the answer ends earlier for llhttp" };
    judge.feed(bytes.subarray(ours.end - 1, ours.end));
  } else judge.feed(bytes);
  if (closed && !complete) judge.finish();
  const [theirs] = finals(judge);
  if (theirs === undefined) {
    if (allowed.closingInterim(judge)) return { accepted: 0, difference: null };
    return { accepted: 0, difference: `llhttp refuses the head: ${judge.error}` };
  }
  const difference = firstDifference([
    ["status", head.status, theirs.status],
    ["reason", head.reason, theirs.reason],
    ["fields", flat(head.headers), flat(theirs.headers)],
    ["keep-alive", ...keepAlives(reusable(head), head.connection, theirs, head.chunked)],
  ]);
  if (difference !== null) return { accepted: 0, difference };
  if (ours.error !== null) return { accepted: 0, difference: null };
  if (allowed.framingInTrailers(judge.error, ours.body, theirs)) return { accepted: 1, difference: null };
  // llhttp's way of saying that an answer was cut short
  const cutShort = !ours.whole && judge.error === "HPE_INVALID_EOF_STATE";
  if (judge.error !== null && !cutShort) return { accepted: 0, difference: judge.error };
  return { accepted: ours.whole ? 1 : 0, difference: compareBody(ours.body, theirs, ours.whole) };
}

/** Whether another answer could follow: what `EngineConnection` makes of the head. */
function reusable(head: ResponseHead): boolean {
  return head.keepAlive && (head.chunked || head.contentLength >= 0 || head.status === 204 || head.status === 304);
}

/** Interim answers come before the one that counts. */
function finals(judge: Judge): JudgedMessage[] {
  return judge.messages.filter((message) => message.status >= 200);
}

/** Ours and llhttp's decision, the latter corrected by what is allowed. */
function keepAlives(ours: boolean, connection: string, theirs: JudgedMessage, chunked: boolean): [boolean, boolean] {
  if (allowed.proxyConnection(theirs)) return [ours, ours];
  const corrected =
    theirs.keepAlive && !allowed.closeInHttp10(theirs, connection) && !allowed.chunksInHttp10(theirs, chunked);
  return [ours, corrected];
}

/** Deviations that are right. */
const allowed = {
  /** RFC 9112 9.3: `close` wins whatever else `Connection` says. In HTTP/1.0 llhttp looks for `keep-alive` only. */
  closeInHttp10: ({ minor }: JudgedMessage, connection: string): boolean =>
    minor === 0 && connection.split(",").some((option) => option.replace(/^[ \t]+|[ \t]+$/g, "") === "close"),

  /** RFC 9112 6.1: an HTTP/1.0 message with Transfer-Encoding ends its connection. llhttp keeps it. */
  chunksInHttp10: ({ minor }: JudgedMessage, chunked: boolean): boolean => minor === 0 && chunked,

  /** RFC 9112 C.2.2: `Proxy-Connection` is a mistake of old browsers and means nothing. llhttp reads it as `Connection`. */
  proxyConnection: ({ headers }: JudgedMessage): boolean =>
    headers.some((text, i) => i % 2 === 0 && text.toLowerCase() === "proxy-connection"),

  /** RFC 9110 7.8: a server may ignore `Upgrade`, and we do; llhttp stops there and leaves the rest to its caller. */
  upgrade: ({ upgrade }: JudgedMessage): boolean => upgrade,

  /**
   * RFC 9110 6.5.1: trailers are never merged into the head. We check their form and drop them unread; llhttp runs them
   * through the states of the head, and so complains about framing fields which mean nothing there.
   */
  framingInTrailers: (error: string | null, body: Buffer, theirs: JudgedMessage): boolean =>
    error !== null &&
    /^HPE_(INVALID_TRANSFER_ENCODING|INVALID_CONTENT_LENGTH|UNEXPECTED_CONTENT_LENGTH)/.test(error) &&
    body.equals(Buffer.concat(theirs.body)),

  /** The same: `Connection: close` in a trailer ends the connection for llhttp. */
  connectionInTrailers: ({ trailers }: JudgedMessage): boolean =>
    trailers.some((text, i) => i % 2 === 0 && /^(proxy-)?connection$/i.test(text)),

  /** RFC 9110 15.2: the final answer follows an interim one on the same connection, whatever the interim one's fields. */
  closingInterim: (judge: Judge): boolean =>
    judge.error?.startsWith("HPE_CLOSED_CONNECTION") === true &&
    judge.messages.every(({ status, keepAlive }) => status < 200 && !keepAlive),
};
