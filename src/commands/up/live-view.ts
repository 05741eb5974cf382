// The live view of `lmstack up` on a terminal: a few lines that are redrawn in place. Pure text; who draws it is `terminal.ts`.
import type { EngineRow, Snapshot } from "./snapshot.ts";

export interface ViewFacts {
  readonly url: string;
  readonly model: string;
  readonly preset: string;
  readonly policy: string;
  readonly columns: number;
  readonly color: boolean;
  /** Last lines of the log. */
  readonly log: readonly string[];
}

/** The view as lines, none longer than the terminal is wide. */
export function renderView(snapshot: Snapshot, facts: ViewFacts): string[] {
  const paint = facts.color ? painted : plain;
  const lines = [
    `${paint.bold("LMStack")}  ${facts.url}   model ${facts.model}   ${facts.policy}`,
    "",
    `  try it   curl ${facts.url}/v1/completions -H 'content-type: application/json' \\`,
    `             -d '{"model": "${facts.model}", "prompt": "Once upon a time", "max_tokens": 30}'`,
    `  browser  ${facts.url}/`,
    "",
    paint.dim("  engine                   state     running  waiting      KV    hits  restarts"),
    ...snapshot.engines.map((engine) => engineLine(engine, paint)),
    "",
    `  in flight ${pad(snapshot.inFlight, 5)}   requests/s ${pad(snapshot.requestsPerSecond.toFixed(1), 7)}   tokens/s ${pad(snapshot.tokensPerSecond.toFixed(0), 6)}`,
    `  TTFT p50 ${duration(snapshot.ttftP50Ms)}   p90 ${duration(snapshot.ttftP90Ms)}   errors ${snapshot.errors}`,
    "",
    paint.dim(`  simulated engines, step times of ${facts.preset}. Ctrl-C ends all of it.`),
    ...facts.log.slice(-4).map((line) => paint.dim(`  ${line}`)),
  ];
  return lines.map((line) => clip(line, facts.columns));
}

function engineLine(engine: EngineRow, paint: Paint): string {
  const state = engine.state.padEnd(8);
  const shown = engine.state === "ready" ? paint.good(state) : engine.state === "starting" ? state : paint.bad(state);
  return (
    `  ${engine.url.padEnd(23)}  ${shown}  ${pad(engine.running ?? "-", 7)}  ${pad(engine.waiting ?? "-", 7)}` +
    `  ${pad(percent(engine.kvUsage), 6)}  ${pad(percent(engine.hitRate), 6)}  ${pad(engine.restarts, 8)}`
  );
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

interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
}

const plain: Paint = { bold: same, dim: same, good: same, bad: same };
const painted: Paint = { bold: sgr(1), dim: sgr(2), good: sgr(32), bad: sgr(31) };

function same(text: string): string {
  return text;
}

function sgr(code: number): (text: string) => string {
  return (text) => `\u001b[${code}m${text}\u001b[0m`;
}

/** Cuts to a width, not counting colour codes. */
function clip(line: string, columns: number): string {
  let width = 0;
  let out = "";
  for (const part of line.split(/(\u001b\[\d+m)/)) {
    if (part.startsWith("\u001b")) out += part;
    else {
      out += part.slice(0, Math.max(0, columns - width));
      width += part.length;
    }
  }
  return out;
}
