// Rules that every expression and every dashboard of ours keeps. Each complaint is one line that says where and what.
import { dashboardUids } from "../../observability/constants.ts";
import { readExpression } from "./expressions.ts";
import { knownMetrics } from "./known-metrics.ts";

const overTime = new Set(["rate", "increase", "irate", "resets", "changes"]);

/** @param grafana ranges have to follow Grafana's interval */
export function lintExpression(where: string, expr: string, grafana: boolean): string[] {
  let read: ReturnType<typeof readExpression>;
  try {
    read = readExpression(expr);
  } catch (error) {
    return [`${where}: ${error instanceof Error ? error.message : String(error)}`];
  }
  const problems: string[] = [];
  for (const { metric, labels, within, range } of read.selectors) {
    const known = knownMetrics.get(metric);
    if (known === undefined) {
      problems.push(`${where}: nobody emits ${metric === "" ? "a metric without name" : metric}`);
      continue;
    }
    for (const label of labels) {
      if (known.labels !== null && !known.labels.has(label)) problems.push(`${where}: ${metric} has no label ${label}`);
    }
    const inside = within[0] ?? "";
    if (known.type === "counter" && !overTime.has(inside)) {
      problems.push(`${where}: the counter ${metric} is read without rate or increase`);
    }
    if (known.type !== "counter" && overTime.has(inside)) problems.push(`${where}: the gauge ${metric} has no rate`);
    if (grafana && range !== "" && !expr.includes("[$__rate_interval]")) {
      problems.push(`${where}: the range of ${metric} does not follow $__rate_interval`);
    }
  }
  for (const { divisor, guarded } of read.divisions) {
    if (!guarded) problems.push(`${where}: ${divisor} may be 0`);
  }
  return problems;
}

interface Panel {
  readonly type: string;
  readonly title?: string;
  readonly description?: string;
  readonly fieldConfig?: { readonly defaults?: { readonly unit?: string } };
  readonly targets?: readonly { readonly expr?: string; readonly legendFormat?: string }[];
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
  readonly links: readonly { readonly url: string }[];
}

export function lintDashboard(dashboard: Dashboard): string[] {
  const problems: string[] = [];
  const uids: readonly string[] = Object.values(dashboardUids);
  if (!uids.includes(dashboard.uid)) problems.push(`${dashboard.title}: the uid ${dashboard.uid} is not a fixed one`);
  const variables = dashboard.templating.list.map(({ name }) => name);
  if (variables.join() !== "datasource,namespace,model,endpoint") {
    problems.push(`${dashboard.title}: variables ${variables.join(", ")}`);
  }
  const linked = dashboard.links.map(({ url }) => url.replace("/d/", "")).toSorted();
  const others = uids.filter((uid) => uid !== dashboard.uid).toSorted();
  if (linked.join() !== others.join()) problems.push(`${dashboard.title}: links to ${linked.join(", ")}`);
  const titles = new Set<string>();
  for (const panel of dashboard.panels) {
    if (panel.type === "row") continue;
    const where = `${dashboard.title} / ${panel.title ?? "?"}`;
    if (panel.title === undefined || titles.has(panel.title)) problems.push(`${where}: no title of its own`);
    titles.add(panel.title ?? "");
    if ((panel.description ?? "") === "") problems.push(`${where}: no description`);
    if ((panel.fieldConfig?.defaults?.unit ?? "") === "") problems.push(`${where}: no unit`);
    if ((panel.targets ?? []).length === 0) problems.push(`${where}: no query`);
    for (const { expr = "" } of panel.targets ?? []) problems.push(...lintExpression(where, expr, true));
  }
  return problems;
}
