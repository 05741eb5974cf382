// The table, for the terminal and for docs/benchmarks.md: the same text, as a Markdown table is readable in both.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import type { CandidateName } from "./candidates.ts";
import type { Verdict } from "./judge.ts";
import type { LoadName, Options } from "./options.ts";
import { BenchError } from "./processes.ts";

const TITLES: Readonly<Record<LoadName, string>> = {
  "300B": "300 B request",
  "100kB": "100 kB request",
  "1MiB": "1 MiB request",
  frames200: "200 streams at 20 ms",
  frames600: "600 streams at 20 ms",
  latency: "50 requests/s",
  memory: "600 open streams",
};

function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "-";
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** With its coverage, as few windows cannot give 95 %. */
function interval({ interval: { low, high, coverage } }: Verdict): string {
  return Number.isNaN(low) ? "-" : `${figure(low)} .. ${figure(high)} (${Math.round(coverage * 100)} %)`;
}

function met(verdict: Verdict): string {
  if (verdict.mark === undefined) return "no mark";
  return verdict.met === undefined ? "no data" : verdict.met ? "yes" : "no";
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...body.map(line)];
}

/** The table with its remarks, and what has to be known to read it. */
export function renderReport(verdicts: readonly Verdict[], names: readonly CandidateName[], about: string): string {
  const shown = names.filter((name) => name !== "direct");
  const head = [
    "load",
    "measure",
    ...shown,
    "ours / nginx",
    "interval (coverage)",
    "mark",
    "met",
    "windows",
    "thrown away",
    "failed",
  ];
  const rows = verdicts.map((verdict) => [
    TITLES[verdict.load],
    verdict.measure,
    ...shown.map((name) => figure(verdict.values[name])),
    verdict.load === "memory" ? "-" : figure(verdict.judged),
    interval(verdict),
    verdict.mark === undefined ? "-" : `<= ${verdict.mark}${verdict.load === "memory" ? " KB" : ""}`,
    met(verdict),
    String(verdict.rounds),
    String(verdict.thrownAway),
    String(verdict.failures.length),
  ]);
  const remarks = verdicts.flatMap((verdict) => [
    ...verdict.remarks.map((remark) => `- ${TITLES[verdict.load]}, ${remark}`),
    ...verdict.failures.slice(0, 3).map((failure) => `- ${TITLES[verdict.load]}, FAILED window of ${failure}`),
  ]);
  return [about, "", ...aligned([head, ...rows]), "", ...remarks].join("\n");
}

/** Where and how it was measured, without anything that tells one machine's paths or name. */
export function aboutRun(options: Options, versions: readonly string[]): string {
  const model = cpus()[0]?.model ?? "unknown CPU";
  const kind = options.quick ? " A quick look with short windows, not a measurement." : "";
  return (
    `Measured ${new Date().toISOString().slice(0, 10)} on ${cpus().length} x ${model}, Linux ${release()}; ` +
    `Node ${process.versions.node}, ${versions.join(", ")}; ${options.windows} windows of ${options.seconds} s.${kind}`
  );
}

const BEGIN = "<!-- bench:overhead begins (written by npm run bench:overhead -- --write-docs) -->";
const END = "<!-- bench:overhead ends -->";

/** Replaces the generated section of a Markdown file. */
export function writeDocs(file: string, report: string): void {
  const text = readFileSync(file, "utf8");
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new BenchError(`${file} has lost its section "${BEGIN}".`);
  writeFileSync(file, `${text.slice(0, begin + BEGIN.length)}\n${report}\n${text.slice(end)}`);
}
