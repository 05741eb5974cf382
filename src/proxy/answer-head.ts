// The head of an engine's answer as the client gets it: end-to-end fields as they came, the router's request id, and what
// keeps buffering proxies in front from sitting on a stream. An engine writes the same lines over and over: what is made of
// them is kept with their shape.
import { loadReportField } from "../fleet/load-report.ts";
import { flat } from "../http/bytes.ts";
import { renderHead } from "../http/exchange.ts";
import { endToEnd } from "../http/hygiene.ts";
import { headerValue, type HeaderList } from "../http/head.ts";
import type { ResponseHead } from "../http/response-parser.ts";

const framing = new Set(["content-length", "x-request-id", loadReportField]);
/** In an answer that the router sends on as its own last word. */
const replaced = new Set([...framing, "x-should-retry"]);
const via: readonly string[] = ["via", "1.1 lmstack"];

/** Text of a head around its one value that changes, the date. */
class AnswerPlan {
  readonly before: string;
  /** Up to the request id. */
  readonly after: string;
  readonly afterOfStream: string;
  readonly dateIndex: number;
  /** Of the engine's load report; -1 = it has sent none, as nearly always. */
  readonly reportIndex: number;
  #date = "";
  #dated: string;
  /** Whether it holds for all heads of the shape: of several dates each would have to be put in. */
  readonly shared: boolean;

  constructor(head: ResponseHead) {
    const dates: number[] = [];
    for (let i = 0; i < head.headers.length; i += 2) if (head.headers[i] === "date") dates.push(i + 1);
    const single = dates.length === 1;
    const report = head.headers.findIndex((name, i) => i % 2 === 0 && name === loadReportField);
    this.reportIndex = report < 0 ? -1 : report + 1;
    this.shared = dates.length <= 1;
    this.dateIndex = single ? (dates[0] ?? -1) : -1;
    const text = renderHead(head.status, head.reason, [...endToEnd(head.headers, head.connection, framing), ...via]);
    const at = single ? text.indexOf("\r\ndate: ") + 8 : -1;
    const split = at < 8 ? text.length : at;
    this.before = flat(text.slice(0, split));
    const rest = at < 8 ? "" : text.slice(text.indexOf("\r\n", at));
    this.after = flat(`${rest}x-request-id: `);
    this.afterOfStream = flat(`${rest}${streamLines(head)}x-request-id: `);
    if (at < 8) this.dateIndex = -1;
    this.#dated = this.before;
  }

  /** The text up to `after`, made once for a date: engines write the same one for a second. */
  dated(headers: HeaderList): string {
    const date = this.dateIndex < 0 ? "" : (headers[this.dateIndex] ?? "");
    if (date !== this.#date) {
      this.#date = date;
      this.#dated = flat(this.before + date);
    }
    return this.#dated;
  }
}

function planOf(head: ResponseHead): AnswerPlan {
  const { derived } = head.shape;
  if (derived instanceof AnswerPlan) return derived;
  const made = new AnswerPlan(head);
  if (made.shared) head.shape.derived = made;
  return made;
}

/** The engine's load report; null = it has sent none. */
export function loadReportOf(head: ResponseHead): string | null {
  const { reportIndex } = planOf(head);
  return reportIndex < 0 ? null : (head.headers[reportIndex] ?? null);
}

/**
 * Status line and field lines for the client, without framing.
 * @param passesReport the engine's load report, if there is one, is for the client too
 */
export function answerHead(head: ResponseHead, requestId: string, stream: boolean, passesReport: boolean): string {
  const plan = planOf(head);
  const { after, afterOfStream, reportIndex } = plan;
  const report = reportIndex < 0 || !passesReport ? "" : `${loadReportField}: ${head.headers[reportIndex] ?? ""}\r\n`;
  return `${plan.dated(head.headers)}${stream ? afterOfStream : after}${requestId}\r\n${report}`;
}

/** The same for an answer whose fields are made here. */
export function ownHead(
  status: number,
  reason: string,
  headers: HeaderList,
  requestId: string,
  extra: readonly string[],
): string {
  const kept = endToEnd(headers, "", replaced);
  return renderHead(status, reason, [...kept, ...via, ...extra, "x-request-id", requestId]);
}

function streamLines(head: ResponseHead): string {
  const cache = headerValue(head.headers, "cache-control") === null ? "cache-control: no-cache\r\n" : "";
  return `x-accel-buffering: no\r\n${cache}`;
}
