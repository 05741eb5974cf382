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

export function meaning(reason: string | null): string {
  return reason === null ? "It reached no endpoint." : (meanings[reason] ?? "");
}
