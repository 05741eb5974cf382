// What a person reads of a run of the lab: the table, and the page with plots. Pure.

import { lineChart, paletteSize, type Series } from "../bench/report/charts.ts";
import { htmlTable, legend, reportPage, type PageSection } from "../bench/report/page.ts";
import { figure, percent, tableLines, type Column } from "../bench/report/table.ts";
import type { Capacity } from "./capacity.ts";
import { policyOf } from "./policies.ts";
import type { LabResult, LabRun } from "./run.ts";
import { graceMs } from "./waits.ts";

const columns: readonly Column<LabResult>[] = [
  { title: "policy", text: ({ policy }) => policy, left: true },
  { title: "rate", text: ({ rate }) => String(rate) },
  { title: "req/s", text: ({ rps }) => figure(rps) },
  { title: "TTFT mean s", text: ({ ttftMeanS }) => figure(ttftMeanS) },
  { title: "p50", text: ({ ttftP50S }) => figure(ttftP50S) },
  { title: "p90", text: ({ ttftP90S }) => figure(ttftP90S) },
  { title: "p99", text: ({ ttftP99S }) => figure(ttftP99S) },
  { title: "ITL p50 ms", text: ({ itlP50Ms }) => figure(itlP50Ms) },
  { title: "p99", text: ({ itlP99Ms }) => figure(itlP99Ms) },
  { title: "end-to-end s", text: ({ e2eMeanS }) => figure(e2eMeanS) },
  { title: "hit %", text: ({ hitRate }) => percent(hitRate) },
  { title: "imbalance", text: ({ imbalance }) => figure(imbalance) },
];

/** Grouped by rate, as the eye compares policies and not rates. */
export function labTable(results: readonly LabResult[]): string[] {
  return tableLines(columns, byRate(results));
}

/** Of the runs in which waits were compared. */
const waitColumns: readonly Column<LabResult>[] = [
  { title: "policy", text: ({ policy }) => policy, left: true },
  { title: "rate", text: ({ rate }) => String(rate) },
  { title: "wait mean s", text: ({ waits }) => figure(waits?.meanS ?? null) },
  { title: "max", text: ({ waits }) => figure(waits?.maxS ?? null) },
  { title: "in order: mean s", text: ({ waits }) => figure(waits?.inOrderMeanS ?? null) },
  { title: "max", text: ({ waits }) => figure(waits?.inOrderMaxS ?? null) },
  { title: "looked at", text: ({ waits }) => String(waits?.long ?? "-") },
  { title: "worst ratio", text: ({ waits }) => figure(waits?.worstRatio ?? null) },
  { title: "over 3 x", text: ({ waits }) => String(waits?.unfair ?? "-") },
];

export function waitTable(results: readonly LabResult[]): string[] {
  const compared = byRate(results.filter(({ waits }) => waits !== undefined));
  if (compared.length === 0) return [];
  const note = `Waits in the router, beside a run in order of arrival; and until the first token, of those that waited long for it, beside order of arrival from when each came (below ${graceMs / 1000} s counts as that):`;
  return ["", note, ...tableLines(waitColumns, compared)];
}

const capacityColumns: readonly Column<Capacity>[] = [
  { title: "policy", text: ({ policy }) => policy, left: true },
  { title: "objective", text: ({ objective }) => objective, left: true },
  { title: "engines", text: ({ engines, result }) => (result === null ? "none" : String(engines)) },
  { title: "rate", text: ({ rate, result }) => (result === null ? "none" : figure(rate)) },
  { title: "req/s", text: ({ rps, result }) => (result === null ? "none" : figure(rps)) },
  { title: "TTFT p90 s", text: ({ result }) => figure(result?.ttftP90S ?? null) },
  { title: "ITL p99 ms", text: ({ result }) => figure(result?.itlP99Ms ?? null) },
  { title: "hit %", text: ({ result }) => percent(result?.hitRate ?? Number.NaN) },
];

export function capacityTable(capacities: readonly Capacity[]): string[] {
  return tableLines(capacityColumns, capacities);
}

export function labPage(about: readonly string[], runs: readonly LabRun[], capacities: readonly Capacity[]): string {
  const results = runs.map(({ result }) => result);
  const policies = [...new Set(results.map(({ policy }) => policy))];
  const entries = policies.map((name, at) => ({ name, color: at % paletteSize, strong: isDefault(name) }));
  const sections: PageSection[] = [];
  if (capacities.length > 0) {
    const body = htmlTable(capacityColumns, capacities, ({ policy }) => isDefault(policy));
    sections.push({ heading: "Capacity", body });
  }
  if (results.length > 0) {
    const over = (
      title: string,
      yLabel: string,
      value: (r: LabResult) => number,
      log: boolean,
      yFrom?: number,
    ): string =>
      lineChart({
        title,
        xLabel: "requests per second",
        yLabel,
        log,
        marks: true,
        ...(yFrom === undefined ? {} : { yFrom }),
        series: entries.map(({ name, color, strong }): Series => {
          const mine = results.filter(({ policy }) => policy === name).toSorted((a, b) => a.rps - b.rps);
          return { name, color, strong, points: mine.map((result) => [result.rps, value(result)] as const) };
        }),
      });
    const charts = [
      over("Time to first token, mean", "seconds", (r) => r.ttftMeanS, true),
      over("Time to first token, p90", "seconds", (r) => r.ttftP90S, true),
      over("Prompt tokens found in a cache", "%", (r) => r.hitRate * 100, false),
      over("Imbalance: busiest engine / mean", "ratio of computed prompt tokens", (r) => r.imbalance, false, 1),
      over("Whole answer, mean", "seconds", (r) => r.e2eMeanS, true),
      over("Between two tokens, p99", "milliseconds", (r) => r.itlP99Ms, true),
    ];
    sections.push({
      heading: "Over load",
      body: `${legend(entries)}<div class="charts">${charts.join("\n")}</div>`,
    });
    sections.push({ heading: "Load of each engine over time", body: loadCharts(runs) });
    sections.push({ heading: "Figures", body: htmlTable(columns, byRate(results), ({ policy }) => isDefault(policy)) });
    const compared = byRate(results.filter(({ waits }) => waits !== undefined));
    if (compared.length > 0) {
      const body = htmlTable(waitColumns, compared, ({ policy }) => isDefault(policy));
      sections.push({ heading: "Waits, and those in order of arrival", body });
    }
    sections.push({ heading: "Policies", body: policyList(policies) });
  }
  return reportPage("LMStack lab", about, sections);
}

/** Requests on each engine, for every policy at the highest rate. */
function loadCharts(runs: readonly LabRun[]): string {
  const highest = Math.max(...runs.map(({ result }) => result.rps));
  const charts = runs
    .filter(({ result }) => result.rps === highest)
    .map(({ result, samples }) =>
      lineChart({
        title: `${result.policy}, ${figure(result.rps)} req/s`,
        xLabel: "seconds",
        yLabel: "requests on the engine",
        width: 420,
        height: 220,
        series: Array.from({ length: result.engines }, (_, engine): Series => ({
          name: `engine ${engine + 1}`,
          color: engine % paletteSize,
          points: samples.map(({ atS, running, waiting }) => [atS, (running[engine] ?? 0) + (waiting[engine] ?? 0)]),
        })),
      }),
    );
  return `<div class="charts small">${charts.join("\n")}</div>`;
}

function policyList(policies: readonly string[]): string {
  const named: readonly Column<string>[] = [
    { title: "name", text: (name) => name, left: true },
    { title: "what it is", text: (name) => policyOf(name)?.of ?? "", left: true },
    { title: "whose", text: (name) => policyOf(name)?.kind ?? "", left: true },
  ];
  return htmlTable(named, policies, isDefault);
}

function isDefault(policy: string): boolean {
  return policy === "prefixaware";
}

function byRate(results: readonly LabResult[]): LabResult[] {
  return results.toSorted((a, b) => a.rps - b.rps);
}
