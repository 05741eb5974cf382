// The live view of `lmstack up` on a terminal: a few lines that are redrawn in place. Pure text; who draws it is `terminal.ts`.
import type { EngineRow, Snapshot } from "./snapshot.ts";

export interface ViewFacts {
  readonly url: string;
  readonly model: string;
  readonly preset: string;
  readonly policy: string;
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
  /** Last lines of the log. */
  readonly log: readonly string[];
}

const indent = "  ";
const logLines = 4;

/** The view as lines, none longer than the terminal is wide, and no more of them than it is high where that can be. */
export function renderView(snapshot: Snapshot, facts: ViewFacts): string[] {
  const paint = facts.color ? painted : plain;
  const inner = facts.columns - indent.length;
  const head = [
    `${paint.bold("LMStack")}  ${paint.bold(facts.url)}  in a browser, or send a request:`,
    "",
    ...example(facts),
    "",
  ];
  const foot = [
    "",
    ...numbers(snapshot, inner),
    ...flow([`simulated engines: ${facts.preset}`, `policy: ${facts.policy}`, "Ctrl-C to end"], inner).map(paint.dim),
    ...facts.log.slice(-logLines).map((line) => paint.dim(withoutId(line))),
  ];
  const room = Math.max(3, facts.rows - head.length - foot.length - 2);
  const body = table(snapshot.engines, inner, room, paint);
  return [head[0] ?? "", ...[...head.slice(1), ...body, ...foot].map((line) => (line === "" ? "" : indent + line))].map(
    (line) => clip(line, facts.columns),
  );
}

/** A request to copy. One that does not fit is left out: half a command is of no use. */
function example({ url, model, columns }: ViewFacts): string[] {
  const lines = [
    `curl ${url}/v1/completions \\`,
    `  -H "content-type: application/json" \\`,
    `  -d '{"model": "${model}", "prompt": "Once upon a time"}'`,
  ];
  if (lines.some((line) => indent.length + line.length > columns)) return [`SDKs: ${url}/v1`];
  return [...lines, "", ...flow([`SDKs: base URL ${url}/v1`, `model ${model}`, "any key"], columns - indent.length)];
}

function numbers(snapshot: Snapshot, width: number): string[] {
  const { inFlight, requestsPerSecond, tokensPerSecond, ttftP50Ms, ttftP90Ms, errors } = snapshot;
  const load = [
    `in flight ${pad(inFlight, 4)}`,
    `requests/s ${pad(requestsPerSecond.toFixed(1), 6)}`,
    `tokens/s ${pad(tokensPerSecond.toFixed(0), 6)}`,
  ];
  const quality = [`TTFT p50 ${duration(ttftP50Ms)}, p90 ${duration(ttftP90Ms)}`, `errors ${errors}`];
  return [...flow(load, width), ...flow(quality, width)];
}

/** Facts side by side, in as many lines as it takes. */
function flow(parts: readonly string[], width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const part of parts) {
    if (line !== "" && line.length + 3 + part.length > width) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? part : `   ${part}`;
  }
  return [...lines, line];
}

interface Column {
  readonly title: string;
  readonly width: number;
  readonly value: (engine: EngineRow) => string;
}

/** In order of their weight: a narrow terminal shows the first ones. */
const columns: readonly Column[] = [
  { title: "running", width: 7, value: ({ running }) => String(running ?? "-") },
  { title: "waiting", width: 7, value: ({ waiting }) => String(waiting ?? "-") },
  { title: "cached", width: 6, value: ({ hitRate }) => percent(hitRate) },
  { title: "KV used", width: 7, value: ({ kvUsage }) => percent(kvUsage) },
  { title: "restarts", width: 8, value: ({ restarts }) => String(restarts) },
];

function table(engines: readonly EngineRow[], width: number, room: number, paint: Paint): string[] {
  const names = engines.map(({ url }, i) => url?.replace(/^http:\/\//, "") ?? `engine ${i + 1}`);
  const nameWidth = Math.max(15, ...names.map((name) => name.length));
  let used = nameWidth + 2 + 8;
  const shown = columns.filter((column) => {
    used += 2 + column.width;
    return used <= width;
  });
  const title = `${"engine".padEnd(nameWidth)}  ${"state".padEnd(8)}${shown.map((c) => `  ${c.title.padStart(c.width)}`).join("")}`;
  const lines = engines.map((engine, i) => {
    const state = engine.state.padEnd(8);
    const cells = shown.map((column) => `  ${column.value(engine).padStart(column.width)}`).join("");
    return `${(names[i] ?? "").padEnd(nameWidth)}  ${paintState(engine, state, paint)}${cells}`;
  });
  if (lines.length <= room) return [paint.dim(title), ...lines];
  const ready = engines.filter(({ state }) => state === "ready").length;
  return [
    paint.dim(title),
    ...lines.slice(0, room - 1),
    paint.dim(`and ${lines.length - room + 1} more; ${ready} of ${engines.length} are ready`),
  ];
}

function paintState(engine: EngineRow, text: string, paint: Paint): string {
  if (engine.state === "ready") return paint.good(text);
  return engine.state === "starting" ? text : paint.bad(text);
}

/** Request ids fill half of a line and say nothing here. */
function withoutId(line: string): string {
  return line.replace(/^(\w+: )request [\w-]+ /, "$1");
}

function percent(share: number | null): string {
  return share === null ? "-" : `${(share * 100).toFixed(1)}%`;
}

function duration(ms: number | null): string {
  if (ms === null) return "     -";
  return pad(ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`, 6);
}

function pad(value: string | number, width: number): string {
  return String(value).padStart(width);
}

type PaintName = "bold" | "dim" | "good" | "bad";
type Paint = Readonly<Record<PaintName, (text: string) => string>>;

const plain: Paint = { bold: same, dim: same, good: same, bad: same };
const painted: Paint = { bold: sgr(1), dim: sgr(2), good: sgr(32), bad: sgr(31) };

function same(text: string): string {
  return text;
}

function sgr(code: number): (text: string) => string {
  return (text) => `\u001b[${code}m${text}\u001b[0m`;
}

/** Cuts to a width, not counting colour codes. */
function clip(line: string, width: number): string {
  let at = 0;
  let out = "";
  for (const part of line.split(/(\u001b\[\d+m)/)) {
    if (part.startsWith("\u001b")) out += part;
    else {
      out += part.slice(0, Math.max(0, width - at));
      at += part.length;
    }
  }
  return out;
}
