// Reads public traces: Mooncake (JSON lines with the ids of 512-token blocks), Azure LLM inference and BurstGPT (CSV with
// lengths only). Which one it is, the first line tells. A line that can't be used ends the reading with its number, the
// reason and the way out; rows that a trace marks as failed are left out and counted.

import { UsageError } from "../../errors/usage-error.ts";
import { promptTokensOf, type Segment, type Workload, type WorkloadRequest } from "./workload.ts";

/** Tokens that one id of a Mooncake trace stands for. */
const mooncakeBlockTokens = 512;
/** Ids of texts that appear once; above every id of a trace's blocks. */
const ownIdsFrom = 2 ** 40;

/** One line of the file. Throws through `wrong`. */
type ReadLine = (line: string, at: number, wrong: Wrong) => WorkloadRequest | null;
type Wrong = (reason: string, fix: string) => UsageError;

interface Format {
  readonly headerLines: number;
  readonly readLine: ReadLine;
  /** What `readLine` answers with null. */
  readonly leftOut: string;
}

/**
 * @param path for messages, and the workload's name
 * @throws UsageError with file and line
 */
export function readTrace(path: string, text: string): Workload {
  const lines = text.split("\n");
  const first = (lines[0] ?? "").replace(/^\uFEFF/, "").trim();
  const format = formatOf(first);
  if (format === null) {
    throw new UsageError(
      `--trace ${path}:1: not a known trace: ${shown(first)}; give Mooncake JSON lines, or the CSV of Azure ` +
        `(TIMESTAMP,ContextTokens,GeneratedTokens) or BurstGPT (Timestamp,...,Request tokens,Response tokens,...)`,
    );
  }
  const requests: WorkloadRequest[] = [];
  let leftOut = 0;
  let sorted = true;
  for (let at = format.headerLines; at < lines.length; at++) {
    const line = (lines[at] ?? "").trim();
    if (line === "") continue;
    const wrong: Wrong = (reason, fix) => new UsageError(`--trace ${path}:${at + 1}: ${reason}; ${fix}`);
    const request = format.readLine(line, at, wrong);
    if (request === null) {
      leftOut++;
      continue;
    }
    const last = requests.at(-1);
    if (last !== undefined && request.arrivalMs < last.arrivalMs) sorted = false;
    requests.push(request);
  }
  if (requests.length === 0) {
    throw new UsageError(`--trace ${path}: holds no request; give a trace with at least one usable line`);
  }
  const ordered = sorted ? requests : requests.toSorted((a, b) => a.arrivalMs - b.arrivalMs);
  const startMs = ordered[0]?.arrivalMs ?? 0;
  return {
    name: path.replace(/^.*[\\/]/, ""),
    requests: startMs === 0 ? ordered : ordered.map((r) => ({ ...r, arrivalMs: r.arrivalMs - startMs })),
    notes: leftOut === 0 ? [] : [`${leftOut} rows left out: ${format.leftOut}`],
  };
}

function formatOf(first: string): Format | null {
  if (first.startsWith("{")) return { headerLines: 0, readLine: readMooncake, leftOut: "" };
  const names = first.split(",").map((name) => name.trim().toLowerCase());
  const column = (...known: string[]): number => names.findIndex((name) => known.includes(name));
  const time = column("timestamp");
  const azure = [column("contexttokens"), column("generatedtokens")] as const;
  if (time >= 0 && azure[0] >= 0 && azure[1] >= 0) {
    return { headerLines: 1, readLine: csvReader(time, ...azure, -1, readDate), leftOut: "no tokens" };
  }
  const burst = [column("request tokens"), column("response tokens")] as const;
  if (time >= 0 && burst[0] >= 0 && burst[1] >= 0) {
    const session = column("session id");
    return { headerLines: 1, readLine: csvReader(time, ...burst, session, readSeconds), leftOut: "failed requests" };
  }
  return null;
}

function readMooncake(line: string, at: number, wrong: Wrong): WorkloadRequest {
  const fix = `write {"timestamp": MS, "input_length": N, "output_length": N, "hash_ids": [...]}`;
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (error) {
    throw wrong(`not JSON (${error instanceof Error ? error.message : String(error)})`, "correct or delete the line");
  }
  if (typeof row !== "object" || row === null) throw wrong(`not an object: ${shown(line)}`, fix);
  const fields = row as Readonly<Record<string, unknown>>;
  const number = (name: string, least: number): number => {
    const value = fields[name];
    if (typeof value === "number" && Number.isFinite(value) && value >= least) return value;
    throw wrong(`${name} is ${value === undefined ? "missing" : shown(JSON.stringify(value))}`, fix);
  };
  const arrivalMs = number("timestamp", 0);
  const tokens = Math.floor(number("input_length", 1));
  const answer = { id: ownIdsFrom + at, tokens: Math.max(1, Math.floor(number("output_length", 0))) };
  const ids = fields["hash_ids"];
  if (!Array.isArray(ids)) throw wrong("hash_ids is no list", fix);
  const expected = Math.ceil(tokens / mooncakeBlockTokens);
  if (ids.length !== expected) {
    throw wrong(`${ids.length} hash_ids for ${tokens} tokens`, `one id stands for 512 tokens: give ${expected}`);
  }
  const prompt = ids.map((id: unknown, i): Segment => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= ownIdsFrom) {
      throw wrong(`hash_ids holds ${shown(JSON.stringify(id))}`, "give whole numbers from 0 on");
    }
    return { id, tokens: Math.min(mooncakeBlockTokens, tokens - i * mooncakeBlockTokens) };
  });
  return { arrivalMs, prompt, promptTokens: promptTokensOf(prompt), answer, named: 0, session: null };
}

function csvReader(
  time: number,
  input: number,
  output: number,
  session: number,
  readTime: (text: string) => number | null,
): ReadLine {
  return (line, at, wrong) => {
    const cells = line.split(",").map((cell) => cell.trim());
    const count = (place: number, what: string): number => {
      const text = cells[place];
      if (text !== undefined && /^\d+(?:\.0*)?$/.test(text)) return Number.parseInt(text, 10);
      throw wrong(`${what} is ${text === undefined ? "missing" : shown(text)}`, "give a whole number of tokens");
    };
    const arrivalMs = readTime(cells[time] ?? "");
    if (arrivalMs === null) throw wrong(`the time is ${shown(cells[time] ?? "")}`, "write it as the first lines do");
    const tokens = count(input, "the prompt's length");
    const answer = { id: ownIdsFrom + 2 * at + 1, tokens: count(output, "the answer's length") };
    if (tokens === 0 || answer.tokens === 0) return null;
    const prompt = [{ id: ownIdsFrom + 2 * at, tokens }];
    const name = session < 0 ? "" : (cells[session] ?? "");
    return { arrivalMs, prompt, promptTokens: tokens, answer, named: 0, session: name === "" ? null : name };
  };
}

/** `2023-11-16 18:15:46.6805900`, taken as UTC; more digits than milliseconds have count. */
function readDate(text: string): number | null {
  const [, day, clock, fraction = ""] = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?/.exec(text) ?? [];
  if (day === undefined || clock === undefined) return null;
  const wholeMs = Date.parse(`${day}T${clock}Z`);
  return Number.isNaN(wholeMs) ? null : wholeMs + Number(`0.${fraction === "" ? "0" : fraction}`) * 1000;
}

function readSeconds(text: string): number | null {
  return /^\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text) ? Number(text) * 1000 : null;
}

/** Enough of a value to recognise it. */
function shown(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text === "" ? "empty" : text;
}
