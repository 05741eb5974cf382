// What makes two responses the same: status, header names, order and fixed values, framing, key order and types of JSON,
// the sequence of events, and the fields a client branches on. Texts of refusals are compared letter by letter.

import type { WireResponse } from "./wire.ts";

/** One place where the simulator differs. `path` has no indexes, so that one entry covers a list. */
export interface Difference {
  readonly path: string;
  readonly recorded: string;
  readonly simulated: string;
}

export interface CompareOptions {
  /** The recorded stream was cut at a moment and not at a token: how many events there are says nothing. */
  readonly ignoreCounts?: boolean;
}

const moving = new Set(["date", "content-length", "x-request-id", "location"]);
/** Fields whose value, and not only type, a client branches on. */
const exact = new Set([
  "object",
  "type",
  "role",
  "finish_reason",
  "index",
  "completion_tokens",
  "status",
  "code",
  "success",
  "is_paused",
  "is_sleeping",
  "world_size",
  "server_load",
  "aborted",
  "output_mode",
]);

export function compare(
  recorded: readonly WireResponse[],
  simulated: readonly WireResponse[],
  options: CompareOptions = {},
): Difference[] {
  const out: Difference[] = [];
  differ(out, "responses", String(recorded.length), String(simulated.length));
  recorded.forEach((one, at) => {
    const other = simulated[at];
    if (other !== undefined) compareOne(out, one, other, options);
  });
  return out;
}

function differ(out: Difference[], path: string, recorded: string, simulated: string): void {
  if (recorded !== simulated && !out.some((entry) => entry.path === path)) out.push({ path, recorded, simulated });
}

function compareOne(out: Difference[], a: WireResponse, b: WireResponse, options: CompareOptions): void {
  differ(out, "status", a.status, b.status);
  differ(out, "headers", a.headers.map(([name]) => name).join(" "), b.headers.map(([name]) => name).join(" "));
  for (const [name, value] of a.headers) {
    const other = b.headers.find(([key]) => key === name)?.[1];
    if (!moving.has(name.toLowerCase()) && other !== undefined) differ(out, `header:${name}`, value, other);
  }
  differ(out, "framing", String(a.complete), String(b.complete));
  const type = a.headers.find(([name]) => name === "content-type")?.[1] ?? "";
  if (type.startsWith("text/event-stream")) compareEvents(out, a.chunks, b.chunks, options);
  else if (type.startsWith("text/plain; version")) compareFamilies(out, a.chunks.join(""), b.chunks.join(""));
  else compareBody(out, a.chunks.join(""), b.chunks.join(""), / 200 /.test(a.status), options);
}

function compareBody(
  out: Difference[],
  a: string,
  b: string,
  loosely: boolean,
  { ignoreCounts }: CompareOptions,
): void {
  const left = parse(a);
  const right = parse(b);
  if (!loosely || left === undefined || right === undefined) differ(out, "text", a, b);
  else compareValues(out, "body", left, right, ignoreCounts === true);
}

function compareValues(out: Difference[], path: string, a: unknown, b: unknown, ignoreCounts: boolean): void {
  const kinds = [kind(a), kind(b)] as const;
  differ(out, path, kinds[0], kinds[1]);
  if (kinds[0] !== kinds[1]) return;
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a.length > 0 && b.length > 0) {
      differ(out, `${path}[]`, shapes(a), shapes(b));
      const pairs = path.endsWith("choices") || path.endsWith("output") || path.endsWith("content") ? a.length : 1;
      for (let at = 0; at < Math.min(pairs, b.length); at++)
        compareValues(out, `${path}[]`, a[at], b[at], ignoreCounts);
    } else differ(out, `${path}[]`, a.length === 0 ? "empty" : "filled", b.length === 0 ? "empty" : "filled");
    return;
  }
  if (isRecord(a) && isRecord(b)) {
    if (Object.keys(a).every((key) => /^[\d<]/.test(key) || !/^[a-z_]+$/i.test(key))) return;
    differ(out, `${path}.keys`, Object.keys(a).join(" "), Object.keys(b).join(" "));
    for (const key of Object.keys(a)) if (key in b) compareValues(out, `${path}.${key}`, a[key], b[key], ignoreCounts);
    return;
  }
  const name = path.slice(path.lastIndexOf(".") + 1);
  if (exact.has(name) && !(ignoreCounts && name === "completion_tokens"))
    differ(out, path, JSON.stringify(a), JSON.stringify(b));
}

function compareEvents(
  out: Difference[],
  a: readonly string[],
  b: readonly string[],
  { ignoreCounts }: CompareOptions,
): void {
  const left = sequence(a);
  const right = sequence(b);
  const kinds = (list: readonly Run[]): string => list.map(({ key }) => key).join("\n");
  differ(out, "events", kinds(left), kinds(right));
  if (ignoreCounts === true || kinds(left) !== kinds(right)) return;
  const counts = (list: readonly Run[]): string => list.map(({ count }) => String(count)).join(" ");
  differ(out, "event counts", counts(left), counts(right));
}

interface Run {
  readonly key: string;
  count: number;
}

/**
 * Kinds of events in order, equal neighbours gathered. Choices are taken one after the other: whose token comes first in
 * a step is a race in the real server.
 */
function sequence(chunks: readonly string[]): Run[] {
  const choice = (chunk: string): number => Number(/"choices":\[\{"index":(\d+)/.exec(chunk)?.[1] ?? Infinity);
  const runs: Run[] = [];
  for (const chunk of chunks.toSorted((x, y) => (choice(x) === choice(y) ? 0 : choice(x) - choice(y)))) {
    const [, name = "", data = ""] = /^(?:event: ([^\n]+)\n)?data: ([^]*)\n\n$/.exec(chunk) ?? [];
    const value = parse(data);
    const spaced = data.startsWith('{"error": ') ? "spaced " : "";
    const key = value === undefined ? data : `${name} ${spaced}${signature(value, "")}`.trim();
    const last = runs.at(-1);
    if (last?.key === key) last.count++;
    else runs.push({ key, count: 1 });
  }
  return runs;
}

/** Names of the families, in order. */
function compareFamilies(out: Difference[], a: string, b: string): void {
  const families = (text: string): string => (text.match(/^# TYPE .*$/gm) ?? []).join("\n");
  differ(out, "families", families(a), families(b));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const kind = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "list" : typeof value);

/** Sorted set of the element kinds. */
const shapes = (list: readonly unknown[]): string => [...new Set(list.map(kind))].toSorted().join("|");

/** Key order, types, and the values a client branches on. */
function signature(value: unknown, name: string): string {
  if (Array.isArray(value)) {
    const inner = name === "choices" ? value.map((one) => signature(one, "")) : [shapes(value)];
    return `[${inner.join(",")}]`;
  }
  if (isRecord(value)) {
    return `{${Object.entries(value)
      .map(([key, inner]) => `${key}:${key === "top_logprobs" ? "…" : signature(inner, key)}`)
      .join(",")}}`;
  }
  if (exact.has(name) && name !== "completion_tokens") return JSON.stringify(value);
  return kind(value);
}
