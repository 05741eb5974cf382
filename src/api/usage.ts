// Token counts from the `usage` object of an answer, found in its bytes. Tokens are never counted from events: an engine
// that lags puts several into one.

export interface Usage {
  promptTokens: number;
  completionTokens: number;
  cachedTokens: number;
}

const usageKey = Buffer.from('"usage"');

/**
 * The last `usage` object in the bytes, or null. Inside a JSON string its quotes would be escaped, so the bytes
 * `"usage":{` can only be a key.
 */
export function findUsage(view: Buffer): Usage | null {
  for (let at = view.lastIndexOf(usageKey); at >= 0; at = at === 0 ? -1 : view.lastIndexOf(usageKey, at - 1)) {
    const text = objectAt(view, at + usageKey.length);
    if (text === null) continue;
    const usage = parseUsage(text);
    if (usage !== null) return usage;
  }
  return null;
}

function objectAt(view: Buffer, from: number): string | null {
  let at = from;
  while (isSpace(view[at])) at++;
  if (view[at] !== 0x3a) return null;
  at++;
  while (isSpace(view[at])) at++;
  if (view[at] !== 0x7b) return null;
  let depth = 0;
  for (let i = at; i < view.length; i++) {
    if (view[i] === 0x7b) depth++;
    else if (view[i] === 0x7d && --depth === 0) return view.toString("utf8", at, i + 1);
  }
  return null;
}

function isSpace(code: number | undefined): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function parseUsage(text: string): Usage | null {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return null;
  }
  const usage = fields(raw);
  const prompt = count(usage["prompt_tokens"] ?? usage["input_tokens"]);
  const completion = count(usage["completion_tokens"] ?? usage["output_tokens"]);
  const details = fields(usage["prompt_tokens_details"] ?? usage["input_tokens_details"]);
  const cached = count(details["cached_tokens"] ?? usage["cache_read_input_tokens"]);
  return { promptTokens: prompt, completionTokens: completion, cachedTokens: cached };
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}
