// The numbers that dashboards, recording rules, alerts and their tests share: who changes an objective changes it once.

export const objectives = {
  /** Share of requests that must not fail for a reason of ours or the engines'. */
  availability: 0.999,
  /** Share of streams whose first token comes within `ttftSeconds`. */
  ttft: 0.95,
  /** A bucket of the histogram, so that the share is exact. */
  ttftSeconds: 2.5,
} as const;

/**
 * Multi-window multi-burn-rate (The Site Reliability Workbook, chapter 5): budget is burnt so many times too fast, over a long
 * window that makes it matter and a short one that makes the alert end soon.
 */
export const burnRates = [
  { name: "Fast", severity: "critical", factor: 14.4, long: 3_600, short: 300, forSeconds: 120 },
  { name: "Slow", severity: "warning", factor: 6, long: 21_600, short: 1_800, forSeconds: 900 },
] as const;

export const thresholds = {
  /** Requests that wait on an engine, as a mean over ten minutes. */
  waitingPerEngine: 10,
  /** How long a request may wait in the router for an endpoint with room. */
  queueOldestSeconds: 10,
  /** Ejections of one endpoint in a quarter of an hour. */
  ejections: 3,
  kvUsage: 0.9,
  /** Of yesterday's hit rate. */
  hitRateShare: 0.5,
  /** Prompt tokens per second below which a hit rate says nothing. */
  hitRateMinTokens: 100,
  overheadSeconds: 0.05,
  eventLoopSeconds: 0.1,
  discoveryStaleSeconds: 300,
  /** Time from an engine's writing of KV events to the router's reading. */
  kvLagSeconds: 2.5,
  /** Share of the requests under `kvaware` whose endpoint was judged without the exact index. */
  kvGuessedShare: 0.2,
  certificateDays: 7,
} as const;

/** Outcomes that burn the budget; a client's fault, and its leaving, do not. */
export const badOutcomes = [
  "engine_error",
  "engine_timeout",
  "no_endpoint",
  "queue_full",
  "queue_timeout",
  "overloaded",
  "cut",
  "router_error",
] as const;

/** States of KV events in which what was known of an engine's cache is worth nothing any more. */
export const kvLostStates = ["disconnected", "silent", "garbage"] as const;

export const clientOutcomes = ["client_error", "client_gone"] as const;

export const dashboardUids = {
  overview: "lmstack-overview",
  router: "lmstack-router",
  engines: "lmstack-engines",
  capacity: "lmstack-capacity",
} as const;

/** Where runbooks are read. A path, since nobody knows where your copy of the repository is served; set your own address here. */
export const runbookBase = "observability/runbooks";
