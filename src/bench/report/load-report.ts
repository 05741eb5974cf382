// What a person reads of a run in real time, and of two results side by side, of the bench or of the lab. Pure.

import type { LoadResult, LoadRun } from "../load/run-load.ts";
import { lineChart } from "./charts.ts";
import { htmlTable, reportPage } from "./page.ts";
import { figure, percent, tableLines, type Column } from "./table.ts";

const columns: readonly Column<LoadResult>[] = [
  { title: "url", text: ({ policy }) => policy, left: true },
  { title: "req/s", text: ({ rps }) => figure(rps) },
  { title: "failed", text: ({ failed }) => String(failed) },
  { title: "TTFT mean s", text: ({ ttftMeanS }) => figure(ttftMeanS) },
  { title: "p50", text: ({ ttftP50S }) => figure(ttftP50S) },
  { title: "p90", text: ({ ttftP90S }) => figure(ttftP90S) },
  { title: "p99", text: ({ ttftP99S }) => figure(ttftP99S) },
  { title: "ITL p50 ms", text: ({ itlP50Ms }) => figure(itlP50Ms) },
  { title: "p99", text: ({ itlP99Ms }) => figure(itlP99Ms) },
  { title: "end-to-end s", text: ({ e2eMeanS }) => figure(e2eMeanS) },
  { title: "hit %", text: ({ hitRate }) => percent(hitRate) },
  { title: "tokens/s", text: ({ outputTokensPerS }) => figure(outputTokensPerS) },
  { title: "lag p99 ms", text: ({ lagP99Ms }) => figure(lagP99Ms) },
];

export function loadTable(result: LoadResult): string[] {
  const errors = Object.entries(result.errors).map(([error, count]) => `${count} x ${error}`);
  return [
    ...tableLines(columns, [result]),
    ...errors,
    ...(result.discarded === null ? [] : [`discarded: ${result.discarded}`]),
  ];
}

export function loadPage(about: readonly string[], { result, seconds }: LoadRun): string {
  const over = (title: string, yLabel: string, value: (second: (typeof seconds)[number]) => number): string =>
    lineChart({
      title,
      xLabel: "seconds",
      yLabel,
      series: [{ name: title, color: 0, strong: true, points: seconds.map((second) => [second.atS, value(second)]) }],
    });
  const charts = [
    over("Time to first token, mean of a second", "seconds", ({ ttftMeanS }) => ttftMeanS),
    over("Requests in flight", "requests", ({ inFlight }) => inFlight),
    over("Tokens", "per second", ({ tokens }) => tokens),
  ];
  const verdict = result.discarded === null ? [] : [`Discarded: ${result.discarded}`];
  return reportPage(
    "LMStack bench",
    [...about, ...verdict],
    [
      { heading: "Over time", body: `<div class="charts">${charts.join("\n")}</div>` },
      { heading: "Figures", body: htmlTable(columns, [result], () => false) },
    ],
  );
}
