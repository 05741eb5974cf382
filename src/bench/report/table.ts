// A table for a terminal or a log: columns as wide as they must be, numbers to the right. Pure.

export interface Column<T> {
  readonly title: string;
  readonly text: (row: T) => string;
  readonly left?: boolean;
}

/** Lines without an end. */
export function tableLines<T>(columns: readonly Column<T>[], rows: readonly T[]): string[] {
  const cells = rows.map((row) => columns.map((column) => column.text(row)));
  const widths = columns.map(({ title }, at) => Math.max(title.length, ...cells.map((row) => row[at]?.length ?? 0)));
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, at) => (columns[at]?.left === true ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0)))
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...cells.map(line)];
}

/** As many digits as a reader can use: `0.83`, `12.4`, `3721`. */
export function figure(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 3);
}

export function percent(share: number): string {
  return Number.isFinite(share) ? (share * 100).toFixed(1) : "-";
}
