// The list of allowed differences as the table of docs/engine.md. Pure; one row per reason, so that the page stays short.

/** One place where the simulator may differ from a recording. */
export interface Allowed {
  /** `group/case`; a star at the end stands for any rest. */
  readonly case: string;
  readonly path: string;
  readonly reason: string;
}

export function differencesTable(allowed: readonly Allowed[]): string {
  const reasons = [...new Set(allowed.map(({ reason }) => reason))];
  const rows = reasons.map((reason) => {
    const own = allowed.filter((entry) => entry.reason === reason);
    const list = (values: readonly string[]): string => [...new Set(values)].map((one) => `\`${one}\``).join(", ");
    return `| ${list(own.map((entry) => entry.case))} | ${list(own.map(({ path }) => path))} | ${reason} |\n`;
  });
  return `| Case | Where | Why |\n| --- | --- | --- |\n${rows.join("")}`;
}
