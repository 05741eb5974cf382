// Small helpers of the generated documentation. Pure.

/** A cell of a table: one line, no bar that would end the cell. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)];
}

export function code(text: string): string {
  return `\`${text}\``;
}

/** First lines of every generated page. */
export function generatedNote(source: string): string {
  return `<!-- Generated from ${source} by \`node scripts/docs.ts\`: edit it there. -->`;
}
