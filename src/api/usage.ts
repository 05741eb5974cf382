// Token counts from the `usage` object of an answer, found in its bytes. Tokens are never counted from events: an engine
// that lags puts several into one.

export interface Usage {
  promptTokens: number;
  completionTokens: number;
  cachedTokens: number;
}

const usageKey = '"usage"';

/**
 * The last `usage` object in the bytes, or null. Inside a JSON string its quotes would be escaped, so the bytes
 * `"usage":{` can only be a key.
 */
export function findUsage(view: Buffer): Usage | null {
  return lastUsage(view, view, 0, view.length);
}

/** The same in bytes [start, end) of `buf`, @param text which are this as latin1 */
export function findUsageInText(text: string, buf: Buffer, start: number, end: number): Usage | null {
  return lastUsage(text, buf, start, end);
}

/** @param searched bytes [start, end) of `buf`, as they are or as latin1 */
function lastUsage(searched: Buffer | string, buf: Buffer, start: number, end: number): Usage | null {
  for (let at = searched.lastIndexOf(usageKey); at >= 0; at = at === 0 ? -1 : searched.lastIndexOf(usageKey, at - 1)) {
    const usage = readCounts(buf, start + at + usageKey.length, end);
    if (usage !== null) return usage;
  }
  return null;
}

/** Counts of an object whose brace stands behind `from` and a colon; null = there is none, or it is not whole before `stop`. */
function readCounts(view: Buffer, from: number, stop: number): Usage | null {
  let at = skipSpace(view, from);
  if (view[at] !== 0x3a) return null;
  at = skipSpace(view, at + 1);
  if (view[at] !== 0x7b) return null;
  const usage: Usage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };
  let depth = 0;
  let found = false;
  for (; at < stop; at++) {
    const code = view[at];
    if (code === 0x7b) depth++;
    else if (code === 0x7d) {
      if (--depth === 0) return found ? usage : null;
    } else if (code === 0x22) {
      // names are short: a call into native code would cost more
      let end = at + 1;
      while (end < stop && view[end] !== 0x22) end++;
      if (end >= stop) return null;
      const value = skipSpace(view, skipSpace(view, end + 1) + 1);
      if (isDigit(view[value]) && take(usage, view, at + 1, end, value)) found = true;
      at = end;
    }
  }
  return null;
}

/** OpenAI's names, then those of Anthropic and of OpenAI's Responses. */
const fieldNames = {
  prompt_tokens: "promptTokens",
  input_tokens: "promptTokens",
  completion_tokens: "completionTokens",
  output_tokens: "completionTokens",
  cached_tokens: "cachedTokens",
  cache_read_input_tokens: "cachedTokens",
} as const satisfies Record<string, keyof Usage>;
/** By their length, as most names are told apart by it. */
const known: { readonly bytes: Buffer; readonly field: keyof Usage }[][] = [];
for (const [name, field] of Object.entries(fieldNames))
  (known[name.length] ??= []).push({ bytes: Buffer.from(name), field });

/** Reads a count whose name is known. */
function take(usage: Usage, view: Buffer, start: number, end: number, value: number): boolean {
  const length = end - start;
  for (const { bytes, field } of known[length] ?? []) {
    let i = 0;
    while (i < length && view[start + i] === bytes[i]) i++;
    if (i < length) continue;
    let count = 0;
    for (let at = value; isDigit(view[at]); at++) count = count * 10 + ((view[at] ?? 0) - 0x30);
    // nobody has so many; a counter must not become infinite by it
    if (!Number.isSafeInteger(count)) return false;
    if (field === "promptTokens") usage.promptTokens = count;
    else if (field === "completionTokens") usage.completionTokens = count;
    else usage.cachedTokens = count;
    return true;
  }
  return false;
}

function skipSpace(view: Buffer, from: number): number {
  let at = from;
  while (view[at] === 0x20 || view[at] === 0x0a || view[at] === 0x0d || view[at] === 0x09) at++;
  return at;
}

function isDigit(code: number | undefined): boolean {
  return code !== undefined && code >= 0x30 && code <= 0x39;
}
