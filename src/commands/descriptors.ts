// How many sockets this process may have open, looked at before it listens: who runs out of them refuses clients that it could
// serve, and nothing in its configuration says why.

/** Below this a router of production meets the limit before any other. */
const enough = 4096;

/**
 * What there is to say about the limit on open files; null = nothing.
 * @param limit as the system tells it; null = it does not, or there is none
 */
export function descriptorWarning(limit: number | null): string | null {
  if (limit === null || limit >= enough) return null;
  const requests = Math.max(0, Math.floor((limit - 64) / 2));
  return (
    `this process may open ${limit} files, enough for about ${requests} requests at a time (a socket of the client and one ` +
    `of the engine each): raise the limit to ${enough} or more, by \`ulimit -n\` or LimitNOFILE=`
  );
}

/** The limit on open files of this process, which Node has raised as far as it may. */
export function descriptorLimit(): number | null {
  // names of peers would be looked up for it
  Object.assign(process.report, { excludeNetwork: true });
  const report: unknown = process.report.getReport();
  const limits = field(field(report, "userLimits"), "open_files");
  const soft = field(limits, "soft");
  return typeof soft === "number" ? soft : null;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
