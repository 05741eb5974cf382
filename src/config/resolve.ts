// Layers over each other: flag > environment > file > default. What comes out is a checked value for every option, where
// it was said, and what has to be told to the person who said it.

import { defaultsFor, optionOf, optionsOf, type OptionName, type OptionValues } from "./catalogue/index.ts";
import { coerceData, coerceText, type Coerced } from "./coerce.ts";
import type { Layer, Setting } from "./layer.ts";
import type { Option, OptionCommand, OptionValue } from "./option.ts";
import type { Origin, Problem } from "./problem.ts";

export interface Resolved {
  readonly command: OptionCommand;
  readonly values: OptionValues;
  /** Only of options that were said somewhere. */
  readonly origins: ReadonlyMap<OptionName, Origin>;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/** @param layers the strongest first */
export function resolve(command: OptionCommand, layers: readonly Layer[]): Resolved {
  const values: Record<string, OptionValue> = { ...defaultsFor(command) };
  const origins = new Map<OptionName, Origin>();
  const problems = layers.flatMap((layer) => layer.problems);
  const warnings = layers.flatMap((layer) => layer.warnings);
  const ignored: Record<"not yet" | "no effect", string[]> = { "not yet": [], "no effect": [] };

  for (const name of optionsOf(command)) {
    const setting = layers.map((layer) => layer.settings.get(name)).find((found) => found !== undefined);
    if (setting === undefined) continue;
    const option = optionOf(name);
    const coerced = coerce(option, setting);
    if (!coerced.ok) {
      problems.push({
        origin: setting.origin,
        value: shownValue(option, setting),
        reason: coerced.reason,
        fix: `give ${option.expects}`,
      });
      continue;
    }
    const refusal = refusalOf(option, coerced.value);
    if (refusal !== null) {
      problems.push({ origin: setting.origin, value: shownValue(option, setting), ...refusal });
      continue;
    }
    values[name] = coerced.value;
    origins.set(name, setting.origin);
    if (option.state !== "works" && isSet(coerced.value)) ignored[option.state].push(setting.origin.name);
  }
  if (ignored["not yet"].length > 0) warnings.push(`not built yet, ignored: ${ignored["not yet"].join(", ")}`);
  if (ignored["no effect"].length > 0)
    warnings.push(`without effect here, ignored: ${ignored["no effect"].join(", ")}`);
  // Each value has passed the schema of its option.
  return { command, values: values as OptionValues, origins, problems, warnings };
}

function coerce(option: Option, { raw }: Setting): Coerced {
  if ("data" in raw) return coerceData(option, raw.data);
  if (option.repeatable) return coerceData(option, raw.texts);
  return coerceText(option, raw.texts[0] ?? "");
}

/** The value as it was written. */
function written({ raw }: Setting): string | null {
  if ("texts" in raw) return raw.texts.join(",");
  if (raw.data === null || raw.data === undefined) return null;
  return typeof raw.data === "object" ? JSON.stringify(raw.data) : String(raw.data);
}

function shownValue(option: Option, setting: Setting): string | null {
  if (option.secret) return null;
  // A flag that is on or off is all there is to show, unless it was given something else.
  return option.kind === "boolean" && "texts" in setting.raw && setting.raw.texts[0] === "true"
    ? null
    : written(setting);
}

function isSet(value: OptionValue): boolean {
  return value !== null && value !== "" && value !== false && !(Array.isArray(value) && value.length === 0);
}

/** Why a value is understood and not accepted; `null` if it is. */
export function refusalOf(option: Option, value: OptionValue): { reason: string; fix: string } | null {
  for (const { when, why, fix } of option.refusals) {
    // oxlint-disable-next-line typescript/no-base-to-string -- options that are refused by value hold text or lists
    const text = String(value);
    const hit =
      when === "set"
        ? isSet(value)
        : "is" in when
          ? when.is.includes(text)
          : isSet(value) && !when.isNot.includes(text);
    if (hit) return { reason: why, fix };
  }
  return null;
}
