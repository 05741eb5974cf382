// What `--preset` names: step times that are built in, or a JSON file with one's own. Read before anything is started, so
// that a wrong name is one line and not an engine that dies again and again.
import { diskFiles, readText, type Files } from "../config/files.ts";
import { findPreset, presetIds, type Preset } from "../engine/serve.ts";
import { UsageError } from "../errors/usage-error.ts";

const required = ["b0Us", "b1Us", "b2Us", "kvBlocks"] as const;
const optional = ["kneeTokens", "b1AboveUs", "requestUs", "transferUs"] as const;
const fields = [...required, "b3Us", ...optional] as const;
const known = ["id", ...fields, "decodeStepUs"];

/** @throws UsageError when there is no such preset, or the file is not one */
export function readPreset(name: string, files: Files = diskFiles): Preset {
  const builtIn = findPreset(name);
  if (builtIn !== undefined) return builtIn;
  if (!name.endsWith(".json")) {
    throw new UsageError(
      `--preset ${name}: there is no such preset; give one of ${presetIds.join(", ")}, or a file that ends in .json`,
    );
  }
  const result = readText(files, name);
  if ("reason" in result) throw wrong(name, result.reason, "give the path of a readable file");
  const values = parse(name, result.text);
  const unknown = Object.keys(values).find((key) => !known.includes(key));
  if (unknown !== undefined) throw wrong(name, `${unknown} is no field of a preset`, `fields are ${known.join(", ")}`);
  const number = (field: (typeof fields)[number]): number => {
    const value = values[field];
    if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
    throw wrong(
      name,
      `${field} is ${value === undefined ? "missing" : "no number from 0 on"}`,
      "give microseconds, and blocks of 16 tokens for kvBlocks",
    );
  };
  const kvBlocks = number("kvBlocks");
  if (!Number.isInteger(kvBlocks) || kvBlocks < 2)
    throw wrong(name, "kvBlocks is too small", "give a whole number from 2 on");
  return {
    id: name,
    b0Us: number("b0Us"),
    b1Us: number("b1Us"),
    b2Us: number("b2Us"),
    b3Us: values["b3Us"] === undefined ? 0 : number("b3Us"),
    ...Object.fromEntries(optional.flatMap((field) => (values[field] === undefined ? [] : [[field, number(field)]]))),
    ...(values["decodeStepUs"] === undefined ? {} : { decodeStepUs: points(name, values["decodeStepUs"]) }),
    kvBlocks,
  };
}

function points(name: string, value: unknown): [number, number][] {
  const list = Array.isArray(value) ? value.filter(isPoint) : [];
  const rising = list.every(([tokens], at) => tokens > (list[at - 1]?.[0] ?? 0));
  if (Array.isArray(value) && list.length === value.length && list.length > 0 && rising) return list;
  throw wrong(
    name,
    "decodeStepUs is no list of points",
    "give [[tokens, microseconds], ...] with rising tokens from 1 on",
  );
}

function isPoint(value: unknown): value is [number, number] {
  return (
    Array.isArray(value) && value.length === 2 && value.every((part) => Number.isFinite(part) && Number(part) >= 0)
  );
}

function parse(name: string, text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong(name, `not JSON: ${error instanceof Error ? error.message : String(error)}`, "correct the file");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw wrong(name, "not a JSON object", `fields are ${known.join(", ")}`);
}

function wrong(name: string, reason: string, fix: string): UsageError {
  return new UsageError(`--preset ${name}: ${reason}; ${fix}`);
}
