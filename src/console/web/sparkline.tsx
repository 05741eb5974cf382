// A few numbers as a line. Decoration: the latest value stands beside it as text.

const width = 96;
const height = 24;

export function Sparkline({ values }: { readonly values: readonly number[] }) {
  if (values.length < 2) return <span class="quiet">–</span>;
  const most = Math.max(...values, 1);
  const step = width / (values.length - 1);
  const points = values.map(
    (value, at) => `${(at * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`,
  );
  return (
    <svg class="sparkline" viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true">
      <polyline points={points.join(" ")} fill="none" stroke="currentColor" stroke-width="1.5" />
    </svg>
  );
}
