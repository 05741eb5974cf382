// Makes a JSON value that is valid for a JSON Schema: what guided decoding would let a model say. Pure, seeded. It must
// always end, also on recursive schemas, and knows the keywords that tool definitions use.

import type { Random } from "../core/index.ts";
import { nouns } from "./words.ts";

type Schema = Readonly<Record<string, unknown>>;

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const deepest = 12;

/** A value for `schema`; an object for anything that is no schema. */
export function sampleSchema(schema: unknown, random: Random): unknown {
  return sample(schema, schema, random, 0);
}

function sample(schema: unknown, root: unknown, random: Random, depth: number): unknown {
  if (!isSchema(schema) || depth > deepest) return {};
  const again = (inner: unknown): unknown => sample(inner, root, random, depth + 1);
  const { enum: options, anyOf, oneOf, allOf, $ref } = schema;
  if ("const" in schema) return schema["const"];
  if (Array.isArray(options) && options.length > 0) return options[random.below(options.length)] as unknown;
  if (typeof $ref === "string") return again(resolve(root, $ref));
  // The last alternative is mostly the simple one (null), which also ends recursion.
  for (const list of [anyOf, oneOf]) if (Array.isArray(list)) return again(depth > 3 ? list.at(-1) : list[0]);
  if (Array.isArray(allOf)) return again(merged(schema, allOf));
  const type: unknown = Array.isArray(schema["type"]) ? schema["type"][0] : schema["type"];
  switch (type) {
    case "string":
      return sampleString(schema, random);
    case "integer":
    case "number":
      return sampleNumber(schema, random, type === "integer");
    case "boolean":
      return random.below(2) === 0;
    case "null":
      return null;
    case "array": {
      const least = number(schema["minItems"]) ?? (depth > 3 ? 0 : 1);
      return Array.from({ length: least }, () => again(schema["items"] ?? { type: "string" }));
    }
    default:
      return sampleObject(schema, again, depth);
  }
}

/** All of the parts as one schema; enough for the way generators use allOf. */
function merged(schema: Schema, parts: readonly unknown[]): Schema {
  return parts.filter(isSchema).reduce((sum, part) => ({ ...sum, ...part }), { ...schema, allOf: undefined });
}

function sampleObject(schema: Schema, again: (inner: unknown) => unknown, depth: number): unknown {
  const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
  const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : []);
  const wanted = Object.entries(properties).filter(([name]) => depth < 2 || required.has(name));
  return Object.fromEntries(wanted.map(([name, inner]) => [name, again(inner)]));
}

function sampleString(schema: Schema, random: Random): string {
  const { format } = schema;
  if (format === "date") return "2026-01-15";
  if (format === "date-time") return "2026-01-15T12:00:00Z";
  if (format === "email") return "user@example.com";
  if (format === "uri") return "https://example.com/";
  if (format === "uuid") return "00000000-0000-4000-8000-000000000000";
  let text = nouns[random.below(nouns.length)] ?? "";
  const least = number(schema["minLength"]) ?? 0;
  while (text.length < least) text += ` ${nouns[random.below(nouns.length)] ?? ""}`;
  return text.slice(0, number(schema["maxLength"]) ?? text.length);
}

function sampleNumber(schema: Schema, random: Random, integer: boolean): number {
  const above = number(schema["exclusiveMinimum"]);
  const below = number(schema["exclusiveMaximum"]);
  const least = number(schema["minimum"]) ?? (above === undefined ? 0 : above + (integer ? 1 : 1e-6));
  const most = number(schema["maximum"]) ?? (below === undefined ? least + 100 : below - (integer ? 1 : 1e-6));
  const value = least + random.unit() * Math.max(0, most - least);
  const step = number(schema["multipleOf"]);
  if (step !== undefined && step > 0) return Math.ceil(least / step) * step;
  return integer ? Math.ceil(least) + Math.floor(value - least) : Math.round(value * 100) / 100;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

/** `#/$defs/name` and the like. */
function resolve(root: unknown, pointer: string): unknown {
  let at: unknown = root;
  for (const key of pointer.replace(/^#\/?/, "").split("/")) {
    if (key !== "" && isSchema(at)) at = at[key.replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return at;
}
