// A chart over time by uPlot: made once, given new data, as wide as its place. Colours come from the style sheet.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

export interface Series {
  readonly label: string;
  /** Name of a colour in the style sheet. */
  readonly colour: string;
  readonly values: readonly (number | null)[];
}

export interface ChartProps {
  readonly title: string;
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
}

const height = 180;
const hour = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

export function Chart({ title, times, series, format }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data = useRef<uPlot.AlignedData>([[]]);
  data.current = [[...times], ...series.map(({ values }) => [...values])];

  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const make = (): void => {
      plot.current?.destroy();
      const style = getComputedStyle(document.documentElement);
      const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
      const axis: uPlot.Axis = {
        stroke: colour("quiet"),
        grid: { stroke: colour("line"), width: 1 },
        ticks: { show: false },
        font: "12px system-ui",
      };
      plot.current = new uPlot(
        {
          width: element.clientWidth,
          height,
          // the last time of the axis stands half beside it
          padding: [null, 28, null, null],
          cursor: { y: false },
          legend: { live: true },
          scales: { y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
          axes: [
            { ...axis, values: (_plot, splits) => splits.map((at) => hour.format(at * 1000)) },
            { ...axis, size: 64, values: (_plot, splits) => splits.map((at) => (at === 0 ? "0" : format(at))) },
          ],
          series: [
            { label: "time", value: (_plot: uPlot, at: number | null) => (at === null ? "–" : hour.format(at * 1000)) },
            ...series.map(({ label, colour: name }) => ({
              label,
              stroke: colour(name),
              width: 2,
              spanGaps: false,
              value: (_plot: uPlot, value: number | null) => (value === null ? "–" : format(value)),
            })),
          ],
        },
        data.current,
        element,
      );
    };
    make();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    dark.addEventListener("change", make);
    return () => {
      dark.removeEventListener("change", make);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);

  useEffect(() => {
    plot.current?.setData(data.current);
    // where nobody points, the legend tells the latest
    if (typeof plot.current?.cursor.idx !== "number") plot.current?.setLegend({ idx: data.current[0].length - 1 });
  }, [data.current]);

  const latest = series.map(({ label, values }) => {
    const last = values.at(-1) ?? null;
    return `${label} ${last === null ? "nothing" : format(last)}`;
  });
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} role="img" aria-label={`${title}, last ten seconds: ${latest.join(", ")}`} />
    </figure>
  );
}
