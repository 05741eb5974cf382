// The page around charts and tables: one file, no script, nothing to load, light and dark. Pure.

import { escapeHtml } from "./charts.ts";
import type { Column } from "./table.ts";

export interface PageSection {
  readonly heading: string;
  /** HTML. */
  readonly body: string;
}

const light = [
  "#1257d6",
  "#d1480c",
  "#0b7a4b",
  "#8a2fc4",
  "#b3261e",
  "#0a7d8c",
  "#946200",
  "#5b6470",
  "#c2188b",
  "#4b7a00",
  "#3f51b5",
  "#7a4a2b",
];
const dark = [
  "#7aa9ff",
  "#ff9a62",
  "#5fd39b",
  "#cf9bff",
  "#ff8f88",
  "#5fd3e0",
  "#e8bb52",
  "#aab4c0",
  "#ff8fd3",
  "#b0dc5c",
  "#9fa8ff",
  "#d8a684",
];

const colors = (values: readonly string[]): string =>
  values.map((value, at) => `.c${at} { --c: ${value}; }`).join("\n");

const style = `
:root { color-scheme: light dark; --text: #1b1f24; --dim: #57606a; --back: #ffffff; --card: #f6f8fa; --line: #d8dee4; }
${colors(light)}
@media (prefers-color-scheme: dark) {
:root { --text: #e6edf3; --dim: #9da7b3; --back: #0d1117; --card: #161b22; --line: #30363d; }
${colors(dark)}
}
body { margin: 0 auto; padding: 24px; max-width: 1240px; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 32px 0 12px; }
p.about { color: var(--dim); margin: 0 0 4px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 16px; }
.charts.small { grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
svg.chart { width: 100%; height: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
svg text.title { font-weight: 600; font-size: 14px; }
svg text.tick, svg text.label { fill: var(--dim); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg polyline { fill: none; stroke: var(--c); stroke-width: 1.5; }
svg .strong polyline { stroke-width: 3.5; }
svg circle { fill: var(--c); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 12px; padding: 0; list-style: none; }
.legend span { display: inline-block; width: 18px; height: 4px; margin-right: 6px; vertical-align: middle; border-radius: 2px; background: var(--c); }
.legend .strong { font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th.left, td.left { text-align: left; }
tr.strong td { font-weight: 600; }
`;

export function reportPage(title: string, about: readonly string[], sections: readonly PageSection[]): string {
  return [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escapeHtml(title)}</title>`,
    `<style>${style}</style></head><body>`,
    `<h1>${escapeHtml(title)}</h1>`,
    ...about.map((line) => `<p class="about">${escapeHtml(line)}</p>`),
    ...sections.flatMap(({ heading, body }) => [`<h2>${escapeHtml(heading)}</h2>`, body]),
    "</body></html>",
    "",
  ].join("\n");
}

export function legend(
  entries: readonly { readonly name: string; readonly color: number; readonly strong: boolean }[],
): string {
  const items = entries.map(
    ({ name, color, strong }) =>
      `<li class="c${color}${strong ? " strong" : ""}"><span></span>${escapeHtml(name)}</li>`,
  );
  return `<ul class="legend">${items.join("")}</ul>`;
}

export function htmlTable<T>(columns: readonly Column<T>[], rows: readonly T[], strong: (row: T) => boolean): string {
  const cell = (tag: string, column: Column<T>, text: string): string =>
    `<${tag}${column.left === true ? ' class="left"' : ""}>${escapeHtml(text)}</${tag}>`;
  const head = columns.map((column) => cell("th", column, column.title)).join("");
  const body = rows.map((row) => {
    const cells = columns.map((column) => cell("td", column, column.text(row))).join("");
    return `<tr${strong(row) ? ' class="strong"' : ""}>${cells}</tr>`;
  });
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join("\n")}</tbody></table></div>`;
}
