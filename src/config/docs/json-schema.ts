// docs/config.schema.json: JSON Schema of the file of `--config`, for editors and for the chart. Pure: catalogue in, text
// out. It must not allow what the router refuses.

import { z } from "zod";

import { optionNames, optionOf, type OptionName } from "../catalogue/index.ts";
import { defaultOf, refusedValues, type Option } from "../option.ts";

type Schema = Readonly<Record<string, unknown>>;

export function configSchemaText(): string {
  return `${JSON.stringify(configSchema(), null, 2)}\n`;
}

export function configSchema(): Schema {
  const properties: Record<string, Schema> = {};
  for (const name of optionNames.filter(isInFile)) {
    properties[name] = propertySchema(optionOf(name));
    const snake = name.replaceAll("-", "_");
    if (snake !== name) properties[snake] = { $ref: `#/properties/${name}` };
  }
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Options of lmstack router and lmstack up (--config FILE)",
    type: "object",
    additionalProperties: false,
    properties,
  };
}

function isInFile(name: OptionName): boolean {
  const option = optionOf(name);
  const refused = option.refusals.some(({ when }) => when === "set");
  return name !== "config" && !refused && option.commands.some((command) => command === "router" || command === "up");
}

function propertySchema(option: Option): Schema {
  const [command = "router"] = option.commands;
  const value = defaultOf(option, command);
  return {
    description: option.state === "works" ? option.help : `${option.help} (${option.state})`,
    ...valueSchema(option),
    ...(value === null ? {} : { default: value }),
  };
}

function valueSchema(option: Option): Schema {
  const { $schema: _, ...generated } = z.toJSONSchema(option.schema, { io: "input" });
  const base = withoutNull(generated);
  switch (option.kind) {
    case "seconds":
      return { anyOf: [base, { type: "string", pattern: "^\\d+(\\.\\d+)?(ms|s|m|h)?$" }] };
    case "list":
    case "pairs":
      return { anyOf: [base, { type: "string" }] };
    case "choice": {
      const refused = refusedValues(option.refusals);
      const values = Array.isArray(base["enum"])
        ? base["enum"].filter((value) => !refused.includes(String(value)))
        : [];
      return { ...base, enum: values };
    }
    default:
      return base;
  }
}

/** "No value" is said in the file by leaving the key out. */
function withoutNull(schema: Schema): Schema {
  const { type, anyOf, ...rest } = schema;
  if (Array.isArray(anyOf)) {
    return (anyOf as Schema[]).find((alternative) => alternative["type"] !== "null") ?? schema;
  }
  if (Array.isArray(type)) return { ...rest, type: (type as unknown[]).find((name) => name !== "null") };
  return schema;
}
