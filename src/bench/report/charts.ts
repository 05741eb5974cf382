// Line charts as SVG text, without a script: a report stays readable in a mail, in print and ten years from now. Colours are
// classes, so that the page decides for light and dark. Pure.

export interface Series {
  readonly name: string;
  /** x ascending; a y that is not finite is left out. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Drawn thick. */
  readonly strong?: boolean;
  /** Place in the palette. */
  readonly color: number;
}

export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** For values that differ by orders of magnitude. */
  readonly log?: boolean;
  /** Marks on the points, for few of them. */
  readonly marks?: boolean;
  readonly width?: number;
  readonly height?: number;
  /** Where the y axis ends at least. */
  readonly yAtLeast?: number;
  readonly yFrom?: number;
}

export const paletteSize = 12;

const left = 54;
const right = 12;
const top = 30;
const bottom = 40;

export function lineChart(chart: Chart): string {
  const width = chart.width ?? 560;
  const height = chart.height ?? 300;
  const points = chart.series.flatMap(({ points: all }) => all.filter(([, y]) => Number.isFinite(y)));
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y).filter((y) => !(chart.log === true) || y > 0);
  const xFrom = Math.min(...xs);
  const xTo = Math.max(...xs);
  const yTicks =
    chart.log === true
      ? logTicks(Math.min(...ys), Math.max(...ys))
      : linearTicks(chart.yFrom ?? 0, Math.max(chart.yAtLeast ?? 0, ...ys));
  const yFrom = yTicks[0] ?? 0;
  const yTo = yTicks.at(-1) ?? 1;
  const scale = chart.log === true ? Math.log10 : (y: number): number => y;
  const toX = (x: number): number =>
    left + (xTo === xFrom ? 0.5 : (x - xFrom) / (xTo - xFrom)) * (width - left - right);
  const toY = (y: number): number => {
    const share =
      (scale(Math.max(y, chart.log === true ? yFrom : y)) - scale(yFrom)) / (scale(yTo) - scale(yFrom) || 1);
    return height - bottom - share * (height - top - bottom);
  };
  const out: string[] = [
    `<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(chart.title)}">`,
    `<text class="title" x="${left}" y="18">${escapeHtml(chart.title)}</text>`,
  ];
  for (const tick of yTicks) {
    const y = fixed(toY(tick));
    out.push(`<line class="grid" x1="${left}" x2="${width - right}" y1="${y}" y2="${y}"/>`);
    out.push(`<text class="tick" x="${left - 6}" y="${y + 4}" text-anchor="end">${tickText(tick)}</text>`);
  }
  const xTicks = chart.marks === true ? [...new Set(xs)].toSorted((a, b) => a - b) : linearTicks(xFrom, xTo);
  for (const tick of xTicks.filter((x) => x >= xFrom && x <= xTo)) {
    out.push(
      `<text class="tick" x="${fixed(toX(tick))}" y="${height - bottom + 16}" text-anchor="middle">${tickText(tick)}</text>`,
    );
  }
  out.push(
    `<text class="label" x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(chart.xLabel)}</text>`,
    `<text class="label" transform="translate(13 ${(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(chart.yLabel)}</text>`,
  );
  // what is drawn thick is drawn last: it must not lie below the others
  const inOrder = chart.series.toSorted((a, b) => Number(a.strong === true) - Number(b.strong === true));
  for (const { name, points: all, strong, color } of inOrder) {
    const drawn = all
      .filter(([, y]) => Number.isFinite(y))
      .map(([x, y]) => [fixed(toX(x)), fixed(toY(y)), x, y] as const);
    if (drawn.length === 0) continue;
    const path = drawn.map(([x, y]) => `${x},${y}`).join(" ");
    const kind = `c${color % paletteSize}${strong === true ? " strong" : ""}`;
    out.push(`<g class="${kind}"><polyline points="${path}"><title>${escapeHtml(name)}</title></polyline>`);
    if (chart.marks === true) {
      for (const [x, y, atX, value] of drawn) {
        const told = `${escapeHtml(name)}: ${tickText(value)} at ${tickText(atX)}`;
        out.push(`<circle cx="${x}" cy="${y}" r="3"><title>${told}</title></circle>`);
      }
    }
    out.push("</g>");
  }
  out.push("</svg>");
  return out.join("\n");
}

function fixed(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Round numbers from at most `from` to at least `to`. */
function linearTicks(from: number, to: number): number[] {
  const span = Math.max(to - from, 1e-9);
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(from / step) * step;
  const ticks: number[] = [];
  for (let at = first; ticks.length < 12; at += step) {
    ticks.push(Number(at.toPrecision(12)));
    if (at >= to - step * 1e-9) break;
  }
  return ticks;
}

function logTicks(from: number, to: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
    for (const factor of [1, 2, 5]) ticks.push(Number((factor * 10 ** power).toPrecision(6)));
  }
  const first = ticks.findLastIndex((tick) => tick <= from);
  const last = ticks.findIndex((tick) => tick >= to);
  return ticks.slice(Math.max(0, first), last < 0 ? ticks.length : Math.max(last, first + 1) + 1);
}

function tickText(value: number): string {
  return String(Number(value.toPrecision(3)));
}

export function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
