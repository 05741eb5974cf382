// What `lmstack top` draws: one line of the whole, one for each endpoint, the latest requests with the reasons of their
// choices. Pure text.
import type { EndpointRow, Entry, Snapshot } from "../../console/shapes.ts";

export interface TopFacts {
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
}

const latest = 8;
const lastSeconds = 60;

/** Lines of at most so many columns; endpoints go before requests where there is no room for both. */
export function renderTop(snapshot: Snapshot, { columns, rows, color }: TopFacts): string[] {
  const { endpoints } = snapshot;
  const bold = (text: string): string => (color ? `\u001b[1m${text}\u001b[0m` : text);
  // two lines of summary, an empty one, the head, what was left out, and the last line of the terminal stays free
  const room = Math.max(1, rows - 6);
  const shown = endpoints.slice(0, room);
  const width = Math.max(8, ...shown.map(({ id }) => id.length));
  const requests = snapshot.ended.toReversed().slice(0, Math.min(latest, Math.max(0, room - shown.length - 2)));
  const lines = [
    ...summary(snapshot),
    "",
    bold(row(["endpoint", "state", "queued", "running", "KV", "hits", "TTFT", "models"], width)),
    ...shown.map((endpoint) => row(cells(endpoint), width)),
  ];
  if (shown.length < endpoints.length) lines.push(`and ${endpoints.length - shown.length} more`);
  if (requests.length > 0) lines.push("", bold("latest requests"), ...requests.map(requestLine));
  return lines.map((line) => clip(line, columns));
}

function summary({ endpoints, inFlight, policy, traffic, nowMs, draining }: Snapshot): string[] {
  const ready = endpoints.filter(({ state }) => state === "ready").length;
  const recent = traffic.filter(({ t }) => t > nowMs / 1000 - lastSeconds);
  const sum = (value: (point: Snapshot["traffic"][number]) => number): number =>
    recent.reduce((total, point) => total + value(point), 0);
  const seconds = Math.max(10, recent.length * 10);
  const rates = [
    `${(sum(({ requests }) => requests) / seconds).toFixed(1)} requests/s`,
    `${sum(({ errors }) => errors)} failed in the last minute`,
    `TTFT p95 ${duration(recent.at(-1)?.ttftP95Ms ?? null)}`,
  ];
  const state = `${ready} of ${endpoints.length} endpoints ready   ${inFlight} in flight   policy ${policy}${draining ? "   draining" : ""}`;
  return [state, rates.join("   ")];
}

function cells({ id, state, queued, running, engine, ttftMs, models, problem }: EndpointRow): string[] {
  const what = problem !== null && state !== "ready" ? problem : models.join(", ");
  const share = (value: number | undefined): string => (value === undefined ? "-" : `${Math.round(value * 100)} %`);
  const [usage, hits] = [share(engine?.kvUsage), share(engine?.hitRate)];
  return [id, state, String(queued), String(running), usage, hits, duration(ttftMs.at(-1) ?? null), what];
}

function row(
  [id = "", state = "", queued = "", running = "", kv = "", hits = "", ttft = "", rest = ""]: readonly string[],
  width: number,
): string {
  return `${id.padEnd(width)}  ${state.padEnd(8)}  ${queued.padStart(6)}  ${running.padStart(7)}  ${kv.padStart(5)}  ${hits.padStart(5)}  ${ttft.padStart(8)}  ${rest}`;
}

function requestLine({ outcome, endpoint, reason, firstTokenMs, durationMs, model, error }: Entry): string {
  const why = reason === null ? "" : ` (${reason})`;
  // what differs comes first: the rest may be beyond the edge
  const what = error ?? `first token ${duration(firstTokenMs)}, whole ${duration(durationMs)}`;
  return `${outcome.padEnd(12)} ${endpoint ?? "no endpoint"}${why}  ${what}  ${model}`;
}

function duration(ms: number | null): string {
  if (ms === null) return "-";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Colours are only ever around a whole line. */
function clip(line: string, columns: number): string {
  const code = /^(\u001b\[1m)([^\u001b]*)(\u001b\[0m)$/.exec(line);
  return code === null ? line.slice(0, columns) : `${code[1]}${(code[2] ?? "").slice(0, columns)}${code[3]}`;
}
