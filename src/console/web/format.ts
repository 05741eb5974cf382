// Numbers and words as people read them.

export function ms(value: number | null): string {
  if (value === null) return "–";
  if (value < 1) return "< 1 ms";
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 60_000 ? `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s` : `${Math.round(value / 60_000)} min`;
}

export function count(value: number | null): string {
  return value === null ? "–" : value.toLocaleString("en");
}

export function percent(part: number | null): string {
  return part === null ? "–" : `${Math.round(part * 100)} %`;
}

export function clock(atMs: number): string {
  return new Date(atMs).toLocaleTimeString([], { hour12: false });
}

/** `prefix_hit` -> `prefix hit`. */
export function words(label: string | null): string {
  return label === null ? "–" : label.replaceAll("_", " ");
}

/** What each reason means, in a sentence. */
const meanings: Readonly<Record<string, string>> = {
  only_candidate: "It was the only endpoint that could take the request.",
  round_robin: "It was its turn.",
  random: "It was drawn.",
  least_load: "It had the least to do.",
  session: "The session belongs to it.",
  session_overflow: "The session's endpoint was too full; this is the next one of that session.",
  no_session_least_load: "The request names no session, so the one with the least to do was taken.",
  prefix_hit: "It holds the beginning of the prompt in its cache, and is the cheapest for it.",
  prefix_elsewhere: "Another endpoint holds more of the prompt, but waiting there would have cost more.",
  prefix_home: "No endpoint holds the prompt's beginning; prompts that begin so are at home here.",
  prefix_none: "No endpoint holds the prompt's beginning; it had the least to do.",
  response_affinity: "It made the response that the request names.",
};

/** What to do about each outcome that is an error, and the page of the repository that says more. */
const remedies: Readonly<Record<string, readonly [what: string, page: string]>> = {
  client_error: ["What was asked for can't be done; the message says why.", "docs/errors.md"],
  engine_error: [
    "Look at the log of the engine, and whether it is one of them or all.",
    "observability/runbooks/availability.md#error-budget-burn",
  ],
  engine_timeout: [
    "The engines are too slow for the load, or one hangs.",
    "observability/runbooks/latency.md#queue-growing",
  ],
  no_endpoint: [
    "No engine of this model is ready: the fleet has the reason.",
    "observability/runbooks/availability.md#no-ready-endpoint",
  ],
  queue_full: ["Too few engines for the load.", "observability/runbooks/latency.md#queue-growing"],
  queue_timeout: ["Too few engines for the load.", "observability/runbooks/latency.md#queue-growing"],
  overloaded: ["The router has no memory for more.", "observability/runbooks/router.md#event-loop-blocked"],
  cut: [
    "The engine failed in mid-answer, and no other could go on with it.",
    "observability/runbooks/engines.md#endpoint-flapping",
  ],
  router_error: ["A bug of the router: keep its log.", "observability/runbooks/availability.md#error-budget-burn"],
};

/** null = nothing is to be done. */
export function remedy(outcome: string): readonly [what: string, page: string] | null {
  return remedies[outcome] ?? null;
}

export function meaning(reason: string | null): string {
  return reason === null ? "It reached no endpoint." : (meanings[reason] ?? "");
}
