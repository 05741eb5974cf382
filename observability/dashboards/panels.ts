// How panels and dashboards are made here: every panel has a title, a description and a unit; every dashboard the same
// variables and links to the others. Names of metrics are checked by the linter of test/observability.
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import * as heatmap from "@grafana/grafana-foundation-sdk/heatmap";
import * as prometheus from "@grafana/grafana-foundation-sdk/prometheus";
import * as stat from "@grafana/grafana-foundation-sdk/stat";
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";
import { dashboardUids } from "../constants.ts";

const datasource = { type: "prometheus", uid: "$datasource" };

/** Label matchers of our own series of a model, of an endpoint, and of an engine's own series. */
export const ofModel = 'namespace=~"$namespace", model=~"$model"';
export const ofEndpoint = 'namespace=~"$namespace", endpoint=~"$endpoint"';
export const ofRouter = 'namespace=~"$namespace"';
/** An engine's `instance` is its address, as the `endpoint` of the router's series; `model_name` is on engines' series alone. */
export const ofEngine = 'namespace=~"$namespace", model_name=~"$model", instance=~"$endpoint"';

export interface Query {
  readonly expr: string;
  readonly legend?: string;
}

interface Common {
  readonly title: string;
  readonly description: string;
  readonly unit: string;
  readonly queries: readonly Query[];
  /** Grid columns of 24; default 12. */
  readonly width?: number;
  readonly height?: number;
}

export interface SeriesPanel extends Common {
  readonly kind: "series";
  readonly max?: number;
  readonly stacked?: boolean;
  /** Drawn as a line: where an alert's threshold is. */
  readonly threshold?: number;
}

export interface HeatmapPanel extends Common {
  readonly kind: "heatmap";
}

export interface StatPanel extends Common {
  readonly kind: "stat";
  readonly decimals?: number;
  /** Values from here on are bad, or, with `low`, below it. */
  readonly threshold?: number;
  readonly low?: boolean;
}

export type PanelSpec = SeriesPanel | HeatmapPanel | StatPanel;

export interface DashboardSpec {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly rows: readonly { readonly title: string; readonly panels: readonly PanelSpec[] }[];
}

function targets(queries: readonly Query[], format: prometheus.PromQueryFormat): prometheus.DataqueryBuilder[] {
  return queries.map(({ expr, legend }, i) => {
    const query = new prometheus.DataqueryBuilder()
      .expr(expr)
      .range()
      .format(format)
      .datasource(datasource)
      .refId(String.fromCharCode(65 + i));
    // single requests, from which their traces are one click away
    if (format === prometheus.PromQueryFormat.Heatmap) return query.exemplar(true).legendFormat("{{le}}");
    return query.legendFormat(legend ?? "__auto");
  });
}

function steps(threshold: number | undefined, low = false): dashboard.ThresholdsConfigBuilder {
  const [calm, bad] = low ? ["red", "green"] : ["green", "red"];
  return new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps([
      { value: null, color: threshold === undefined ? "blue" : calm },
      ...(threshold === undefined ? [] : [{ value: threshold, color: bad }]),
    ] as dashboard.Threshold[]);
}

function seriesPanel(spec: SeriesPanel): timeseries.PanelBuilder {
  const panel = new timeseries.PanelBuilder()
    .targets(targets(spec.queries, prometheus.PromQueryFormat.TimeSeries))
    .lineWidth(1)
    .fillOpacity(spec.stacked === true ? 30 : 8)
    .showPoints(common.VisibilityMode.Never)
    .min(0)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort(common.SortOrder.Descending),
    );
  if (spec.max !== undefined) panel.max(spec.max);
  if (spec.stacked === true) panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  if (spec.threshold !== undefined) {
    panel
      .thresholds(steps(spec.threshold))
      .thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Line));
  }
  return panel;
}

function heatmapPanel(spec: HeatmapPanel): heatmap.PanelBuilder {
  return new heatmap.PanelBuilder()
    .targets(targets(spec.queries, prometheus.PromQueryFormat.Heatmap))
    .calculate(false)
    .yAxis(new heatmap.YAxisConfigBuilder().unit(spec.unit))
    .color(new heatmap.HeatmapColorOptionsBuilder().mode(heatmap.HeatmapColorMode.Scheme).scheme("Oranges").steps(64));
}

function statPanel(spec: StatPanel): stat.PanelBuilder {
  const panel = new stat.PanelBuilder()
    .targets(targets(spec.queries, prometheus.PromQueryFormat.TimeSeries))
    .graphMode(common.BigValueGraphMode.Area)
    .thresholds(steps(spec.threshold, spec.low))
    .noValue("no data");
  if (spec.decimals !== undefined) panel.decimals(spec.decimals);
  return panel;
}

function panelOf(spec: PanelSpec): timeseries.PanelBuilder | heatmap.PanelBuilder | stat.PanelBuilder {
  const panel =
    spec.kind === "series" ? seriesPanel(spec) : spec.kind === "heatmap" ? heatmapPanel(spec) : statPanel(spec);
  return panel
    .title(spec.title)
    .description(spec.description)
    .unit(spec.unit)
    .datasource(datasource)
    .span(spec.width ?? 12)
    .height(spec.height ?? 8);
}

function variable(name: string, label: string, query: string, allValue: string): dashboard.QueryVariableBuilder {
  return new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(datasource)
    .query({ qryType: 1, query, refId: name })
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(allValue)
    .current({ selected: true, text: "All", value: "$__all" });
}

/** The file's text. */
export function renderDashboard(spec: DashboardSpec): string {
  // oxlint-disable-next-line typescript/no-deprecated -- files and ConfigMaps are read in this form; the newer one is the API's
  const built = new dashboard.DashboardBuilder(spec.title)
    .uid(spec.uid)
    .description(spec.description)
    .tags(["lmstack"])
    .refresh("30s")
    .time({ from: "now-1h", to: "now" })
    .timezone("browser")
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .withVariable(new dashboard.DatasourceVariableBuilder("datasource").label("Data source").type("prometheus"))
    .withVariable(variable("namespace", "Namespace", "label_values(lmstack_build_info, namespace)", ".*"))
    .withVariable(variable("model", "Model", "label_values(lmstack_endpoints, model)", ".+"))
    .withVariable(variable("endpoint", "Endpoint", "label_values(lmstack_endpoint_state, endpoint)", ".+"));
  for (const [name, uid] of Object.entries(dashboardUids)) {
    if (uid === spec.uid) continue;
    built.link(
      new dashboard.DashboardLinkBuilder(`LMStack ${name}`)
        .type(dashboard.DashboardLinkType.Link)
        .url(`/d/${uid}`)
        .keepTime(true)
        .includeVars(true),
    );
  }
  for (const { title, panels } of spec.rows) {
    built.withRow(new dashboard.RowBuilder(title));
    for (const panel of panels) built.withPanel(panelOf(panel));
  }
  return `${JSON.stringify(built.build(), null, 2)}\n`;
}
