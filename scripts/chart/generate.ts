// The files that are made of the catalogue of values. Pure: catalogue in, text out.
import { stringify } from "yaml";

import { optionNames, optionOf } from "../../src/config/catalogue/index.ts";
import { chartValues } from "./catalogue.ts";
import type { Keys, Schema, Value } from "./value.ts";

const source = "scripts/chart/";

// --- values.yaml ---

export function valuesYaml(): string {
  const head = [
    `# Generated from ${source} by \`node scripts/docs.ts\`: edit it there. Your own values go into a file of yours (-f).`,
    "# Types and every key of a model: docs/helm-values.md",
  ];
  return `${[...head, "", ...block(chartValues, "")].join("\n")}\n`;
}

/** Lines of some keys; those without a default are comments. */
function block(keys: Keys, indent: string): string[] {
  return Object.entries(keys).flatMap(([name, value]) => {
    const note = `${indent}# -- ${value.help}`;
    if (value.keys !== undefined && value.default === undefined) {
      const inner = block(value.keys, `${indent}  `);
      if (!hasDefault(value)) return [];
      return [note, `${indent}${name}:`, ...inner];
    }
    if (value.default === undefined) return [];
    return [note, ...entry(name, value.default, indent)];
  });
}

function hasDefault(value: Value): boolean {
  return value.default !== undefined || Object.values(value.keys ?? {}).some(hasDefault);
}

function entry(name: string, value: unknown, indent: string): string[] {
  return stringify({ [name]: value }, { lineWidth: 0, defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" })
    .trimEnd()
    .split("\n")
    .map((line) => `${indent}${line}`);
}

// --- values.schema.json ---

/** Unknown keys pass here and are refused by templates/requirements.yaml, which can say what was meant. */
export function valuesSchema(): string {
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Values of the chart lmstack",
    $comment: `Generated from ${source}. Unknown keys are refused by the chart's templates, with the nearest known one.`,
    ...objectSchema(chartValues),
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function objectSchema(keys: Keys): Schema {
  return {
    type: "object",
    properties: Object.fromEntries(Object.entries(keys).map(([name, value]) => [name, schemaOf(value)])),
  };
}

function schemaOf(value: Value): Schema {
  const base: Record<string, unknown> = { description: value.help, ...value.schema };
  if (value.keys !== undefined) Object.assign(base, objectSchema(value.keys), { type: value.schema["type"] });
  if (value.entry !== undefined) base["items"] = objectSchema(value.entry);
  if (value.each !== undefined) base["additionalProperties"] = nullable(objectSchema(value.each));
  return nullable(base);
}

/** `key:` with nothing behind it is null. */
function nullable(schema: Schema): Schema {
  if (Array.isArray(schema["enum"])) return { ...schema, enum: [...(schema["enum"] as unknown[]), null] };
  if (Array.isArray(schema["anyOf"]))
    return { ...schema, anyOf: [...(schema["anyOf"] as unknown[]), { type: "null" }] };
  if (schema["type"] === undefined) return schema;
  return { ...schema, type: [schema["type"], "null"].flat() };
}

// --- helm/files/known.json ---

type Known = null | { readonly [key: string]: Known } | readonly [Known];

/** What the templates need to know of the catalogue: the tree of keys, and the simulator's flags. */
export function knownKeys(): string {
  const flags = optionNames.filter((name) => optionOf(name).commands.includes("engine"));
  const simulatorFlags = Object.fromEntries(
    flags.map((name) => [name, optionOf(name).kind === "boolean" ? "boolean" : "value"]),
  );
  return `${JSON.stringify({ values: known(chartValues), simulatorFlags })}\n`;
}

/** A map for an object, a list for a list, `*` for free names, null for what is not looked into. */
function known(keys: Keys): Known {
  return Object.fromEntries(Object.entries(keys).map(([name, value]) => [name, knownOf(value)]));
}

function knownOf(value: Value): Known {
  if (value.keys !== undefined) return known(value.keys);
  if (value.entry !== undefined) return [known(value.entry)];
  if (value.each !== undefined) return { "*": known(value.each) };
  return null;
}

// --- docs/helm-values.md ---

export function valuesPage(): string {
  return [
    `<!-- Generated from ${source} by \`node scripts/docs.ts\`: edit it there. -->`,
    "# Values of the chart",
    "",
    "Every key of `helm/values.yaml` and of a model. Another key is refused with the nearest one of these; types are checked by `helm/values.schema.json`. A key whose default is empty here is left out: the chart or Kubernetes decides. How to use them: [kubernetes.md](kubernetes.md).",
    "",
    ...Object.entries(chartValues).flatMap(([name, value]) => section(name, value)),
  ].join("\n");
}

function section(name: string, value: Value): string[] {
  if (value.keys === undefined && value.entry === undefined) {
    return [`## ${name}`, "", value.help, "", ...table(rows(name, value)), ""];
  }
  const below = value.keys ?? value.entry ?? {};
  const prefix = value.entry === undefined ? "" : "[].";
  const models = Object.entries(below).filter(
    ([, inner]) => inner.entry !== undefined && Object.keys(inner.entry).length > 20,
  );
  const others = Object.entries(below).filter(([key]) => !models.some(([model]) => model === key));
  return [
    `## ${name}`,
    "",
    value.help,
    "",
    ...table(others.flatMap(([key, inner]) => rows(`${prefix}${key}`, inner))),
    "",
    ...models.flatMap(([key, inner]) => [
      `## ${name}.${key}[]`,
      "",
      inner.help,
      "",
      ...table(Object.entries(inner.entry ?? {}).flatMap(([below_, deep]) => rows(below_, deep))),
      "",
    ]),
  ];
}

function rows(path: string, value: Value): string[][] {
  // The router's options have a page of their own.
  const options = value.keys !== undefined && Object.values(value.keys).every(({ type }) => type === "option");
  const own = [
    `\`${path}\``,
    options ? "map of options" : value.type,
    value.default === undefined ? "" : `\`${JSON.stringify(value.default)}\``,
    value.help,
  ];
  const inner = options ? {} : (value.keys ?? {});
  return [
    own,
    ...Object.entries(inner).flatMap(([key, below]) => rows(`${path}.${key}`, below)),
    ...Object.entries(value.entry ?? {}).flatMap(([key, below]) => rows(`${path}[].${key}`, below)),
    ...Object.entries(value.each ?? {}).flatMap(([key, below]) => rows(`${path}.NAME.${key}`, below)),
  ];
}

function table(lines: readonly (readonly string[])[]): string[] {
  const cell = (text: string): string => text.replaceAll("|", "\\|");
  return [
    "| Key | Type | Default | Meaning |",
    "| --- | --- | --- | --- |",
    ...lines.map((line) => `| ${line.map(cell).join(" | ")} |`),
  ];
}
