// Draws the seven panels of the serving overview with real data: `lmstack up` under load with one hot engine, a real
// Prometheus, and Grafana's own components in Chromium, since Grafana itself is no package. By hand, as its packages are
// 450 MB: `npm install --prefix test/e2e/panels`, then `node test/e2e/panels/render.ts PICTURE.png`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { servingOverview } from "../../../observability/dashboards/serving-overview.ts";
import type { PanelSpec } from "../../../observability/dashboards/panels.ts";
import { Load } from "../observability/load.ts";
import { startMonitoring, type Monitoring, type Sample } from "../observability/prometheus.ts";
import { startUp } from "../observability/stack.ts";
import { findTool } from "../requires.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const picture = process.argv[2] ?? "docs/serving-overview.png";
const runSeconds = 90;

interface Drawn {
  readonly title: string;
  readonly kind: PanelSpec["kind"];
  readonly unit: string;
  readonly width: number;
  readonly height: number;
  readonly bars: boolean;
  readonly max?: number;
  readonly threshold?: number;
  readonly series: readonly { readonly name: string; readonly values: Sample["values"] }[];
}

function tool(name: string): string {
  const path = findTool(name);
  if (path === null) throw new Error(`${name} is missing: bash scripts/e2e-tools.sh installs it`);
  return path;
}

async function draw(panel: PanelSpec, monitoring: Monitoring, from: number, to: number): Promise<Drawn> {
  const series: Drawn["series"][number][] = [];
  for (const { expr, legend } of panel.queries) {
    const filled = expr
      .replaceAll("$__rate_interval", "10s")
      .replaceAll("$namespace", ".*")
      .replaceAll(/\$(model|endpoint)/g, ".+");
    const samples = await monitoring.queryRange(filled, from, to, panel.kind === "heatmap" ? 5 : 1);
    for (const { metric, values } of samples) {
      const name = (legend ?? "{{le}}").replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? "");
      series.push({ name, values });
    }
  }
  const heat = panel.kind === "heatmap";
  const { title, kind, unit } = panel;
  return {
    title,
    kind,
    unit: heat ? "short" : unit,
    width: panel.width ?? 12,
    height: panel.height ?? 8,
    bars: heat,
    ...("max" in panel && panel.max !== undefined ? { max: panel.max } : {}),
    ...(panel.kind === "series" && panel.threshold !== undefined ? { threshold: panel.threshold } : {}),
    series: heat ? buckets(series) : series.toSorted((a, b) => a.name.localeCompare(b.name)),
  };
}

/** Cumulative buckets as the requests in each, without those that stay empty. */
function buckets(cumulative: Drawn["series"]): Drawn["series"] {
  const sorted = cumulative.toSorted(
    (a, b) => Number(a.name.replace("+Inf", "Infinity")) - Number(b.name.replace("+Inf", "Infinity")),
  );
  return sorted
    .map(({ name, values }, i) => {
      const below = new Map(sorted[i - 1]?.values ?? []);
      return {
        name: `≤ ${name} s`,
        values: values.map(([at, value]) => [at, Math.max(0, value - (below.get(at) ?? 0))] as const),
      };
    })
    .filter(({ values }) => values.some(([, value]) => value > 0.5));
}

const ends: (() => void | Promise<void>)[] = [];
const owner = { after: (end: () => void | Promise<void>) => void ends.push(end) };

try {
  const stack = await startUp(owner, 4, ["--routing-logic", "roundrobin"]);
  const monitoring = await startMonitoring(owner, {
    prometheus: tool("prometheus"),
    alertmanager: null,
    router: stack.url,
    engines: stack.engines,
    scale: 120,
  });
  const common = {
    model: stack.model,
    pauseMs: 400,
    maxTokens: 40,
    promptWords: 40,
    ownWords: 60,
    random: Math.random,
  };
  const from = Date.now() / 1000;
  const shared = new Load({ ...common, url: stack.url, clients: 16 });
  await new Promise((resolve) => setTimeout(resolve, (runSeconds * 1000) / 3));
  // somebody goes past the router to one engine, which no policy can know before it shows
  const past = new Load({ ...common, url: stack.engines[0] ?? "", clients: 14 });
  await new Promise((resolve) => setTimeout(resolve, (runSeconds * 2000) / 3));
  const to = Date.now() / 1000;
  const [row] = servingOverview.rows;
  const panels = await Promise.all((row?.panels ?? []).map((panel) => draw(panel, monitoring, from, to)));
  await Promise.all([shared.stop(), past.stop()]);

  const folder = mkdtempSync(join(tmpdir(), "lmstack-panels-"));
  owner.after(() => rmSync(folder, { recursive: true, force: true }));
  const bundle = join(folder, "page.js");
  const bundled = spawnSync(
    join(here, "node_modules/.bin/esbuild"),
    [
      join(here, "page.mjs"),
      "--bundle",
      `--outfile=${bundle}`,
      "--loader:.ttf=dataurl",
      "--loader:.svg=dataurl",
      "--loader:.woff=dataurl",
      "--loader:.woff2=dataurl",
      '--define:process.env.NODE_ENV="production"',
      "--define:global=globalThis",
      "--log-level=error",
    ],
    { encoding: "utf8" },
  );
  if (bundled.status !== 0) throw new Error(`esbuild: ${bundled.stderr}`);
  const html = join(folder, "page.html");
  writeFileSync(
    html,
    `<!doctype html><meta charset="utf-8"><style>body{margin:0;background:#111217;font-family:Inter,Helvetica,Arial,sans-serif;color:#ccccdc;font-size:14px}${readFileSync(join(folder, "page.css"), "utf8")}</style><div id="root"></div><script>window.panels=${JSON.stringify(panels)};window.range=${JSON.stringify({ from, to })}</script>`,
  );
  const browser = await chromium.launch({ executablePath: tool("chromium"), args: ["--no-sandbox"] });
  owner.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1288, height: 900 } });
  page.on("pageerror", (error) => process.stderr.write(`${error.message}\n`));
  await page.goto(`file://${html}`);
  await page.addScriptTag({ content: readFileSync(bundle, "utf8") });
  await page.locator("canvas").nth(5).waitFor();
  await page.locator("#panels").screenshot({ path: picture });
  process.stdout.write(`${picture} written\n`);
} finally {
  for (const end of ends.toReversed()) await end();
}
