// What may be seen of a router, whatever happens around it: every request ends in exactly one recorded outcome that agrees
// with what its client saw; a client sees a prefix of the true text and then the rest of it or exactly one error; an answer
// looks whole only if it is. Each function gives the violation in words, or null.
import type { ClientResponse } from "../helpers/http-client.ts";
import { at, textOf, type Api, type Ask } from "./asks.ts";

/** One request as its client saw it. */
export interface View {
  readonly ask: Ask;
  /** How the client behaved, for messages. */
  readonly manner: string;
  /** Null = the client did not wait for an answer, or something took the connection away. */
  readonly response: ClientResponse | null;
  /** It waited for the end, on a network that loses nothing. */
  readonly stayed: boolean;
  /** Ids of requests that were sent behind it at once, without waiting for its answer. */
  readonly behind?: readonly string[];
}

/** The line that the router's log has on a request. */
export interface Recorded {
  readonly requestId: string;
  readonly outcome: string;
  readonly status: number;
  readonly attempts: number;
  readonly error: string | null;
  /** What became of a stream that broke; null = no stream did. */
  readonly migration: string | null;
}

interface Frame {
  readonly event: string;
  readonly data: string;
}

/**
 * Null when it is right.
 * @param lines what the log says of it
 * @param damaged somebody has changed bytes on its way: only HTTP itself is judged
 */
export function judge(view: View, lines: readonly Recorded[], damaged: boolean): string | null {
  const { ask, manner, response, stayed } = view;
  const wrong =
    (response === null ? (stayed ? "no answer at all" : null) : judgeResponse(ask, response, lines, stayed, damaged)) ??
    judgeRecord(view, lines, damaged);
  if (wrong === null) return null;
  const saw =
    response === null ? "nothing" : `${response.status} ${JSON.stringify(response.text.slice(-400))}, ${response.end}`;
  const ends = lines
    .map(({ outcome, error, migration }) => `${outcome}${migration === null ? "" : ` (${migration})`} ${error ?? ""}`)
    .join(" and ");
  return `${ask.id} (${manner}, ${ask.api} ${ask.stream ? "stream" : "JSON"} of ${ask.model}) saw ${saw}; recorded: ${ends}: ${wrong}`;
}

/** As {@link judge}, where nobody has kept the log. */
export function judgeSeen(view: View, damaged: boolean): string | null {
  const { ask, manner, response } = view;
  const stayed = view.stayed && !wasOvertaken(view, () => true);
  if (response === null) return stayed ? `${ask.id} (${manner}): no answer at all` : null;
  // what was cut was cut for a reason that the log has
  const cut: Recorded = { requestId: ask.id, outcome: "cut", status: 200, attempts: 1, error: null, migration: "off" };
  const wrong = judgeResponse(ask, response, [cut], stayed, damaged);
  return wrong === null ? null : `${ask.id} (${manner}) saw ${response.status} ${response.text.slice(-300)}: ${wrong}`;
}

/**
 * Whether the end of another answer may have taken this one with it: where an answer that is no stream breaks, the connection is
 * reset, and that overtakes what of the answers before it the client has not read.
 */
export function wasOvertaken({ response, behind = [] }: View, cut: (id: string) => boolean): boolean {
  return response?.end === "reset" && behind.some(cut);
}

/** Outcomes of answers that were ended by a reset, if they were no streams. */
export const cutOutcome = /^(cut|engine_timeout|engine_error)$/;

/** The answer broke and was no stream: the log tells what became of each stream that breaks. */
const brokeAsNoStream = ({ outcome, migration }: Recorded): boolean => outcome === "cut" && migration === null;

function judgeResponse(
  ask: Ask,
  response: ClientResponse,
  lines: readonly Recorded[],
  stayed: boolean,
  damaged: boolean,
): string | null {
  const { status, complete } = response;
  // an answer that is no stream and breaks is reset, and a reset may overtake the bytes before it
  const cut = response.end === "reset" && lines.some(({ outcome }) => cutOutcome.test(outcome));
  // that may be an error though a stream was asked for, or what a changed byte in its type has made no stream
  const stream = ask.stream && !lines.some((line) => line.status !== 200 || brokeAsNoStream(line));
  if (status < 200) return stayed && !(cut && !stream) ? "the connection ended without a word" : null;
  if (damaged) return null;
  const streams = status === 200 && response.header("content-type")?.startsWith("text/event-stream") === true;
  if (streams) return judgeStream(ask.api, response.text, ask.expected ?? "", stayed, complete);
  if (!complete) return stayed && !cut ? "an answer that was cut short without a reason" : null;
  if (status >= 400) return judgeError(ask.api, status, response);
  if (status !== 200) return "a status that nobody gives";
  if (ask.expected === null) return "an answer of a model that does not exist";
  const text = textOf(ask.api, parsed(response.text));
  return text === ask.expected ? null : `the text is ${JSON.stringify(text)}, not ${JSON.stringify(ask.expected)}`;
}

/** @param stayed the client did not leave, so the end has to be there */
export function judgeStream(
  api: Api,
  text: string,
  expected: string,
  stayed: boolean,
  complete: boolean,
): string | null {
  if (stayed && !complete) return "a stream that was cut without a word";
  if (complete && !text.endsWith("\n\n")) return "half an event at the end";
  const frames = framesOf(text, complete);
  let said = "";
  let errors = 0;
  let done = false;
  for (const { event, data } of frames) {
    if (errors > 0) return "something follows the error";
    const value = data === "[DONE]" ? null : parsed(data);
    if (value === undefined) return `an event that is no JSON: ${data}`;
    if (isError(event, value)) {
      if (done) return "an error behind the end";
      errors++;
      continue;
    }
    if (isLast(api, event, data)) {
      if (done) return "two ends";
      done = true;
      continue;
    }
    if (done) return "something follows the end";
    if (at(value, ["choices", 0, "finish_reason"]) === "abort")
      return "an engine that was told to stop looks like a good end";
    said += pieceOf(api, event, value);
  }
  if (!expected.startsWith(said))
    return `the text ${JSON.stringify(said)} is no beginning of ${JSON.stringify(expected)}`;
  if (done && said !== expected) return `the end came after ${JSON.stringify(said)} of ${JSON.stringify(expected)}`;
  if (complete && !done && errors === 0) return "neither an end nor an error";
  return null;
}

function framesOf(text: string, complete: boolean): Frame[] {
  const parts = text.split("\n\n");
  // behind the last empty line is nothing, or what a client that left did not wait for
  const last = parts.pop();
  if (complete && last !== undefined && last !== "") parts.push(last);
  return parts.flatMap((part) => {
    const lines = part.split("\n").filter((line) => !line.startsWith(":"));
    const value = (name: string): string =>
      lines
        .filter((line) => line.startsWith(`${name}:`))
        .map((line) => line.slice(name.length + 1).trimStart())
        .join("\n");
    return lines.length === 0 ? [] : [{ event: value("event"), data: value("data") }];
  });
}

function isError(event: string, value: unknown): boolean {
  return event === "error" || event === "response.failed" || at(value, ["error"]) !== undefined;
}

function isLast(api: Api, event: string, data: string): boolean {
  switch (api) {
    case "completions":
    case "chat":
      return data === "[DONE]";
    case "messages":
      return event === "message_stop";
    case "responses":
      return event === "response.completed" || event === "response.incomplete";
  }
}

function pieceOf(api: Api, event: string, value: unknown): string {
  const path =
    api === "completions"
      ? ["choices", 0, "text"]
      : api === "chat"
        ? ["choices", 0, "delta", "content"]
        : api === "messages"
          ? ["delta", "text"]
          : event === "response.output_text.delta"
            ? ["delta"]
            : [];
  const piece = at(value, path);
  return typeof piece === "string" ? piece : "";
}

function judgeError(api: Api, status: number, response: ClientResponse): string | null {
  const body = parsed(response.text);
  if (typeof at(body, ["error", "message"]) !== "string") return `an error of status ${status} in no API's shape`;
  const ours = at(body, ["error", "code"]);
  // nobody can know the API of a request whose head did not come
  const headless = status === 408 && /request's head/.test(response.text);
  if (api === "messages" && typeof ours === "string" && !headless) return "our own error in another API's shape";
  // in the other API's shape it is vLLM's own word for an engine that has died
  if (api !== "messages" && /internal_error/.test(response.text)) return "a defect of the router";
  return null;
}

/** Undefined = no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Whether the log agrees with what the client saw. */
function judgeRecord({ ask, response, stayed }: View, lines: readonly Recorded[], damaged: boolean): string | null {
  if (lines.length > 1) return `it ended ${lines.length} times`;
  const line = lines[0];
  // a head that did not come in time is no request yet
  if (line === undefined && response?.status === 408) return null;
  if (line === undefined)
    return response === null || response.status < 200 || damaged ? null : "no outcome was recorded";
  if (line.outcome === "router_error") return "a defect of the router";
  if (response === null || damaged || !stayed) return null;
  if (looksGood(ask.api, response) !== (line.outcome === "ok")) return "the outcome is wrong";
  // what was cut is an engine's failure, whatever status it had begun with
  if (!response.complete) return null;
  if (line.outcome === "client_gone") return "the client had not left";
  const { status } = response;
  const clients = status >= 400 && status < 500 && status !== 429;
  // a client's fault may be told inside of a stream that had to begin
  const told = line.outcome === "client_error" && status === 200;
  return clients === (line.outcome === "client_error") || told ? null : "the outcome is wrong";
}

function looksGood(api: Api, response: ClientResponse): boolean {
  if (response.status !== 200 || !response.complete) return false;
  if (response.header("content-type")?.startsWith("text/event-stream") !== true) return true;
  return framesOf(response.text, true).some(({ event, data }) => isLast(api, event, data));
}

/**
 * What the metrics add up to against the log.
 * @param exposition the router's `/metrics`
 * @param fleetChanged endpoints have left, and their series with them
 */
export function judgeCounts(exposition: string, recorded: readonly Recorded[], fleetChanged: boolean): string[] {
  const violations: string[] = [];
  const sums = (name: string, label: string): Map<string, number> => {
    const found = new Map<string, number>();
    for (const line of exposition.split("\n")) {
      if (!line.startsWith(`${name}{`)) continue;
      const value = new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1] ?? "";
      found.set(value, (found.get(value) ?? 0) + Number(line.slice(line.lastIndexOf(" "))));
    }
    return found;
  };
  const outcomes = sums("lmstack_requests_total", "outcome");
  const logged = new Map<string, number>();
  for (const { outcome } of recorded) logged.set(outcome, (logged.get(outcome) ?? 0) + 1);
  for (const name of new Set([...outcomes.keys(), ...logged.keys()])) {
    if ((outcomes.get(name) ?? 0) !== (logged.get(name) ?? 0))
      violations.push(
        `the metrics count ${outcomes.get(name) ?? 0} requests as ${name}, the log ${logged.get(name) ?? 0}`,
      );
  }
  const total = (counts: Map<string, number>): number => [...counts.values()].reduce((sum, count) => sum + count, 0);
  const attempts = total(sums("lmstack_attempts_total", "outcome"));
  const stale = sums("lmstack_retries_total", "reason").get("stale_connection") ?? 0;
  const tried = recorded.reduce((sum, line) => sum + line.attempts, 0);
  // a connection that had died while idle is not counted as a try of the request
  if (fleetChanged ? attempts > tried + stale : attempts !== tried + stale)
    violations.push(`${attempts} attempts ended, ${tried} + ${stale} stale ones were made`);
  for (const line of exposition.split("\n")) {
    if (/^lmstack_(requests_in_flight|endpoint_in_flight|buffered_bytes|queue_length)\b.* [^0]/.test(line))
      violations.push(`a gauge is not back at 0: ${line}`);
  }
  return violations;
}
