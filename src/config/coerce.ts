// From what was written (text of a flag or a variable, a value of a file) to a checked value of an option. Pure: files
// are looked at later. It must never guess: what is not plainly a number is an error.

import type { Option, OptionValue } from "./option.ts";

export type Coerced =
  | { readonly ok: true; readonly value: OptionValue }
  | { readonly ok: false; readonly reason: string };

const secondsOf: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };
const booleans: Readonly<Record<string, boolean>> = {
  true: true,
  false: false,
  1: true,
  0: false,
  yes: true,
  no: false,
  on: true,
  off: false,
};

/** Text of a flag or an environment variable. An empty text means none, where an option can be without a value. */
export function coerceText(option: Option, text: string): Coerced {
  const trimmed = text.trim();
  switch (option.kind) {
    case "integer":
    case "number":
      if (!/^[+-]?\d+(\.\d+)?$/.test(trimmed)) return { ok: false, reason: "not a number" };
      return check(option, Number(trimmed));
    case "seconds": {
      const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(trimmed);
      if (parts === null) return { ok: false, reason: /^-\d/.test(trimmed) ? "too small" : "not a duration" };
      return check(option, Number(parts[1]) * (secondsOf[parts[2] ?? "s"] ?? 1));
    }
    case "boolean": {
      const value = booleans[trimmed.toLowerCase()];
      return value === undefined ? { ok: false, reason: "neither true nor false" } : { ok: true, value };
    }
    case "choice":
      return trimmed === "" && option.default === null ? { ok: true, value: null } : check(option, trimmed);
    case "file":
      return { ok: true, value: text === "" ? null : text };
    case "text":
      return text === "" && option.default === null ? { ok: true, value: null } : check(option, text);
    case "list":
      return check(option, trimmed === "" ? [] : trimmed.split(",").map((part) => part.trim()));
    case "pairs":
      return pairsOf(trimmed);
  }
}

/** A value of a YAML or JSON file: text is read as that of a flag, the rest must be of the option's type. */
export function coerceData(option: Option, data: unknown): Coerced {
  if (typeof data === "string") return coerceText(option, data);
  if (data === null || data === undefined) return { ok: false, reason: "no value" };
  if (typeof data === "number" && ["text", "choice", "file"].includes(option.kind)) return check(option, String(data));
  if (option.kind === "list" && Array.isArray(data)) return check(option, data.map(scalarText));
  if (option.kind === "pairs" && typeof data === "object" && !Array.isArray(data)) {
    return check(option, Object.fromEntries(Object.entries(data).map(([key, value]) => [key, scalarText(value)])));
  }
  return check(option, data);
}

/** `on: 7` in a list of texts is the text "7"; what is no scalar stays, to be refused. */
function scalarText(value: unknown): unknown {
  return typeof value === "number" || typeof value === "boolean" ? String(value) : value;
}

function pairsOf(text: string): Coerced {
  const found: Record<string, string> = {};
  for (const part of text === "" ? [] : text.split(",")) {
    // The alias ends at the first colon; a model's name may hold more of them.
    const at = part.indexOf(":");
    const key = part.slice(0, Math.max(0, at)).trim();
    const value = part.slice(at + 1).trim();
    if (at < 0 || key === "" || value === "") return { ok: false, reason: `"${part.trim()}" is no pair` };
    if (Object.hasOwn(found, key)) return { ok: false, reason: `"${key}" is given twice` };
    found[key] = value;
  }
  return { ok: true, value: found };
}

/** Checks range and shape by the option's schema and words the first failure. */
function check(option: Option, value: unknown): Coerced {
  const result = option.schema.safeParse(value);
  if (result.success) return { ok: true, value: result.data };
  const issue = result.error.issues[0];
  switch (issue?.code) {
    case "too_small":
      return { ok: false, reason: issue.origin === "string" ? issue.message : "too small" };
    case "too_big":
      return { ok: false, reason: "too large" };
    case "invalid_value":
      return { ok: false, reason: "unknown" };
    case "invalid_type":
      return {
        ok: false,
        reason: typeof value === "number" && issue.expected === "int" ? "not a whole number" : "of the wrong type",
      };
    case "invalid_format":
    case "custom":
      return { ok: false, reason: issue.message };
    default:
      return { ok: false, reason: issue?.message ?? "malformed" };
  }
}
