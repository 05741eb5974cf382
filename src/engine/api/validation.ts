// Reads request bodies as pydantic does in vLLM: lenient about numeric strings and truthy words, and with its words
// when something is wrong. Between the parser and the routes; pure. It must collect all issues before it fails, since
// the message counts them.

import { ApiError } from "./errors.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

interface Issue {
  readonly loc: string;
  readonly text: string;
}

/** A Python string literal of a value as pydantic prints inputs. */
function shown(value: unknown): string {
  if (value === null || value === undefined) return "'None'";
  if (Array.isArray(value)) return `'<list of ${value.length} items>'`;
  if (isObject(value)) return `'<dict of ${Object.keys(value).length} items>'`;
  if (typeof value === "boolean") return value ? "'True'" : "'False'";
  if (typeof value === "number") {
    return `'${Number.isInteger(value) && Math.abs(value) > 1e15 ? BigInt(value).toString() : String(value)}'`;
  }
  return quoted(String(value));
}

function quoted(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  return mark + text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(mark, `\\${mark}`) + mark;
}

const yes = new Set(["true", "yes", "on", "y", "t", "1"]);
const no = new Set(["false", "no", "off", "n", "f", "0"]);
const maxSeed = 9_223_372_036_854_775_807n;

/** Typed access to one JSON object. Every method gives undefined or null for what is absent or null. */
export class FieldReader {
  readonly body: JsonObject;
  readonly #issues: Issue[] = [];

  constructor(body: JsonObject) {
    this.body = body;
  }

  /** Records an issue at `body.<field>`. */
  issue(field: string, type: string, message: string, input: unknown, context = ""): void {
    const text = `{'type': '${type}', 'loc': 'body.${field}', 'msg': ${quoted(message)}, 'input': ${shown(input)}${context}}`;
    this.#issues.push({ loc: `body.${field}`, text });
  }

  /** Throws what was collected; call it once, after the last field. */
  check(): void {
    const first = this.#issues[0];
    if (first === undefined) return;
    throw validationError(
      this.#issues.map((issue) => issue.text),
      first.loc,
    );
  }

  require(field: string): boolean {
    if (this.body[field] !== undefined) return true;
    this.issue(field, "missing", "Field required", this.body);
    return false;
  }

  string(field: string): string | null {
    const value = this.body[field];
    if (value === undefined || value === null || typeof value === "string") return value ?? null;
    this.issue(field, "string_type", "Input should be a valid string", value);
    return null;
  }

  bool(field: string, fallback: boolean): boolean {
    const value = this.body[field];
    if (value === undefined || value === null) return fallback;
    if (typeof value === "boolean") return value;
    if (value === 1 || (typeof value === "string" && yes.has(value.toLowerCase()))) return true;
    if (value === 0 || (typeof value === "string" && no.has(value.toLowerCase()))) return false;
    this.issue(field, "bool_parsing", "Input should be a valid boolean, unable to interpret input", value);
    return fallback;
  }

  integer(field: string): number | null {
    const value = this.body[field];
    if (value === undefined || value === null) return null;
    if (typeof value === "boolean") return value ? 1 : 0;
    if (typeof value === "number") {
      if (Number.isInteger(value)) return this.#inRange(field, value);
      this.issue(
        field,
        "int_from_float",
        "Input should be a valid integer, got a number with a fractional part",
        value,
      );
      return null;
    }
    if (typeof value === "string" && /^\s*[+-]?\d+(\.0*)?\s*$/.test(value)) return Number(value);
    const parsing = typeof value === "string";
    const message = "Input should be a valid integer" + (parsing ? ", unable to parse string as an integer" : "");
    this.issue(field, parsing ? "int_parsing" : "int_type", message, value);
    return null;
  }

  #inRange(field: string, value: number): number | null {
    if (field !== "seed" || BigInt(value) <= maxSeed) return value;
    const message = `Input should be less than or equal to ${maxSeed}`;
    this.issue(field, "less_than_equal", message, value, `, 'ctx': {'le': ${maxSeed}}`);
    return null;
  }

  float(field: string): number | null {
    const value = this.body[field];
    if (value === undefined || value === null) return null;
    if (typeof value === "number") return value;
    if (typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value))) return Number(value);
    const parsing = typeof value === "string";
    const message = "Input should be a valid number" + (parsing ? ", unable to parse string as a number" : "");
    this.issue(field, parsing ? "float_parsing" : "float_type", message, value);
    return null;
  }

  /** A string or a list of strings. */
  strings(field: string): string[] {
    const value = this.body[field];
    if (value === undefined || value === null) return [];
    if (typeof value === "string") return [value];
    if (Array.isArray(value) && value.every((entry) => typeof entry === "string")) return value;
    this.issue(field, "string_type", "Input should be a valid string", value);
    if (!Array.isArray(value)) this.issue(field, "list_type", "Input should be a valid list", value);
    return [];
  }

  list(field: string): readonly unknown[] {
    const value = this.body[field];
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value;
    this.issue(field, "list_type", "Input should be a valid list", value);
    return [];
  }

  object(field: string): JsonObject | null {
    const value = this.body[field];
    if (value === undefined || value === null) return null;
    if (isObject(value)) return value;
    this.issue(
      field,
      "model_attributes_type",
      "Input should be a valid dictionary or object to extract fields from",
      value,
    );
    return null;
  }
}

/** vLLM shows so many issues and counts the rest. */
const maxShown = 10;

export function validationError(issues: readonly string[], param: string | null): ApiError {
  const count = `${issues.length} validation error${issues.length === 1 ? "" : "s"}`;
  const shownIssues = issues.slice(0, maxShown);
  if (issues.length > maxShown) shownIssues.push(`...and ${issues.length - maxShown} more errors`);
  return new ApiError(400, "Bad Request", `${count}:\n  ${shownIssues.join("\n  ")}`, param, "validation");
}

/** A Python float's text: `-1` is printed as `-1.0`. */
export function pythonFloat(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e16) return value.toFixed(1);
  return String(value);
}
