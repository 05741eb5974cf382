// The seven panels of a dashboard, drawn by Grafana's own components from what Prometheus answered. Data and the panels'
// definitions come in as `window.panels`; it fetches nothing.
import {
  applyFieldOverrides,
  createTheme,
  dateTime,
  FieldColorModeId,
  FieldType,
  getDisplayProcessor,
  LoadingState,
  standardFieldConfigEditorRegistry,
  ThemeContext,
  toDataFrame,
} from "@grafana/data";
import { BigValue, BigValueColorMode, BigValueGraphMode, GlobalStyles, PanelChrome, TimeSeries } from "@grafana/ui";
// oxlint-disable-next-line import/no-unassigned-import -- a style sheet
import "uplot/dist/uPlot.min.css";
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";

const theme = createTheme({ colors: { mode: "dark" } });
const column = 52;
const row = 34;

// Grafana's application registers editors for these; units and colours of a panel need only that they are known
standardFieldConfigEditorRegistry.setInit(() =>
  ["unit", "min", "max", "decimals", "displayName", "color", "thresholds", "mappings", "noValue", "links"].map(
    (id) => ({
      id,
      path: id,
      name: id,
      description: id,
      settings: {},
      editor: () => null,
      override: () => null,
      process: (value) => value,
      shouldApply: () => true,
      getItemsCount: () => 0,
    }),
  ),
);

/** Series of a panel as data frames, with the panel's unit, limits and colours. */
function frames(panel) {
  const raw = panel.series.map(({ name, values }) =>
    toDataFrame({
      name,
      fields: [
        { name: "time", type: FieldType.time, values: values.map(([at]) => at * 1000) },
        {
          name,
          type: FieldType.number,
          values: values.map(([, value]) => value),
          config: {
            displayName: name,
            custom: {
              drawStyle: panel.bars ? "bars" : "line",
              lineWidth: panel.bars ? 0 : 1.5,
              fillOpacity: panel.bars ? 90 : 8,
              showPoints: "never",
              spanNulls: true,
              barWidthFactor: 1,
              stacking: { mode: panel.bars ? "normal" : "none", group: "A" },
              axisPlacement: "auto",
              scaleDistribution: { type: "linear" },
              ...(panel.threshold === undefined ? {} : { thresholdsStyle: { mode: "line" } }),
            },
          },
        },
      ],
    }),
  );
  return applyFieldOverrides({
    data: raw,
    theme,
    timeZone: "utc",
    replaceVariables: (text) => text,
    fieldConfig: {
      defaults: {
        unit: panel.unit,
        min: 0,
        ...(panel.max === undefined ? {} : { max: panel.max }),
        color: { mode: panel.bars ? "continuous-YlRd" : FieldColorModeId.PaletteClassic },
        thresholds: {
          mode: "absolute",
          steps: [
            { value: -Infinity, color: "green" },
            ...(panel.threshold === undefined ? [] : [{ value: panel.threshold, color: "red" }]),
          ],
        },
      },
      overrides: [],
    },
  }).map((frame, i, all) => {
    // buckets from quick to slow, from yellow to red, as in a heat map
    if (panel.bars) {
      const share = all.length < 2 ? 0 : i / (all.length - 1);
      frame.fields[1].config.color = { mode: "fixed", fixedColor: `hsl(${60 - 60 * share}, 90%, ${65 - 20 * share}%)` };
    }
    return frame;
  });
}

function body(panel, width, height) {
  const data = frames(panel);
  if (panel.kind === "stat") {
    const field = data[0]?.fields[1];
    const values = field?.values ?? [];
    const display = getDisplayProcessor({ field, theme });
    const value = display(values.at(-1) ?? 0);
    return h(BigValue, {
      width,
      height,
      theme,
      colorMode: BigValueColorMode.Value,
      graphMode: BigValueGraphMode.Area,
      value: { ...value, color: "#73BF69" },
      sparkline: { y: field, x: data[0]?.fields[0] },
    });
  }
  return h(TimeSeries, {
    frames: data,
    width,
    height,
    timeZone: "utc",
    timeRange: {
      from: dateTime(window.range.from * 1000),
      to: dateTime(window.range.to * 1000),
      raw: { from: "", to: "" },
    },
    legend: { showLegend: true, displayMode: "list", placement: "bottom", calcs: [] },
  });
}

function Page() {
  return h(
    ThemeContext.Provider,
    { value: theme },
    h(GlobalStyles),
    h(
      "div",
      {
        id: "panels",
        style: {
          display: "flex",
          flexWrap: "wrap",
          gap: 8,
          boxSizing: "content-box",
          width: 24 * column + 24,
          padding: 8,
        },
      },
      window.panels.map((panel) =>
        h(
          PanelChrome,
          {
            key: panel.title,
            title: panel.title,
            width: panel.width * column,
            height: panel.height * row,
            loadingState: LoadingState.Done,
          },
          (width, height) => body(panel, width, height),
        ),
      ),
    ),
  );
}

createRoot(document.getElementById("root")).render(h(Page));
