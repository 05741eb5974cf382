// What an option is: one record from which its flag, environment variable, file key, help line, schema and row in the
// documentation are made. First step of the configuration, before any value is read. It must never read a value itself.

import { z } from "zod";

export const optionCommands = ["router", "up", "engine", "lab", "bench"] as const;
export type OptionCommand = (typeof optionCommands)[number];

/** In the order in which `--help` and the documentation show them. */
export const optionGroups = [
  "Workload",
  "Runs in virtual time",
  "Load in real time",
  "Simulated engines",
  "Endpoints",
  "Routing",
  "KV events",
  "Listening",
  "Keys",
  "Timeouts",
  "Limits",
  "Connections to engines",
  "Logs and metrics",
  "Start and stop",
  "DNS",
  "Kubernetes",
  "Prefix and prefill/decode policies",
  "Tracing and error reports",
  "Extensions",
  "Batch API",
  "LMCache",
  "Semantic cache",
] as const;
export type OptionGroup = (typeof optionGroups)[number];

/** `not yet`: known, will work; `no effect`: known, and nothing here will ever read it. */
export type OptionState = "works" | "not yet" | "no effect";

export type OptionValue = string | number | boolean | null | readonly string[] | Readonly<Record<string, string>>;

/** How text becomes a value. `pairs` is `a:b,c:d`. */
export type OptionKind = "integer" | "number" | "seconds" | "boolean" | "text" | "choice" | "file" | "list" | "pairs";

/** Values that are understood and not accepted, since going on without them would do something else than was asked. */
export interface Refusal {
  /** `set` = any value but an empty one. */
  readonly when: "set" | { readonly is: readonly string[] } | { readonly isNot: readonly string[] };
  readonly why: string;
  readonly fix: string;
}

export interface Option<T extends OptionValue = OptionValue> {
  readonly kind: OptionKind;
  readonly schema: z.ZodType<T>;
  readonly default: T;
  /** Where a command's default differs. */
  readonly defaultFor: Partial<Readonly<Record<OptionCommand, T>>>;
  /** What stands for the value in the help: `N`, `FILE`. */
  readonly placeholder: string;
  /** Ends the sentence "give ...". */
  readonly expects: string;
  readonly unit: string | null;
  /** One or two sentences, with the reason of the default where it has one. */
  readonly help: string;
  readonly group: OptionGroup;
  readonly commands: readonly OptionCommand[];
  readonly state: OptionState;
  readonly refusals: readonly Refusal[];
  /** Each appearance of the flag adds a value; of all others the last one wins. */
  readonly repeatable: boolean;
  /** Never shown in a message. */
  readonly secret: boolean;
}

interface Common<D> {
  readonly default: D;
  readonly help: string;
  readonly group: OptionGroup;
  readonly commands: readonly OptionCommand[];
  readonly defaultFor?: Partial<Readonly<Record<OptionCommand, D>>>;
  readonly unit?: string;
  readonly state?: OptionState;
  readonly refusals?: readonly Refusal[];
  readonly placeholder?: string;
  readonly secret?: boolean;
}

function option<T extends OptionValue>(
  kind: OptionKind,
  common: Common<T>,
  rest: { schema: z.ZodType<T>; placeholder: string; expects: string; repeatable?: boolean; unit?: string },
): Option<T> {
  return {
    kind,
    schema: rest.schema,
    default: common.default,
    defaultFor: common.defaultFor ?? {},
    placeholder: common.placeholder ?? rest.placeholder,
    expects: rest.expects,
    unit: common.unit ?? rest.unit ?? null,
    help: common.help,
    group: common.group,
    commands: common.commands,
    state: common.state ?? "works",
    refusals: common.refusals ?? [],
    repeatable: rest.repeatable ?? false,
    secret: common.secret ?? false,
  };
}

function range(what: string, min: number, max: number | undefined): string {
  return max === undefined ? `${what} of at least ${min}` : `${what} from ${min} to ${max}`;
}

interface Bounds {
  readonly min: number;
  readonly max?: number;
}

/** A whole number that always has a value. */
export function integer(o: Common<number> & Bounds): Option<number> {
  const schema = o.max === undefined ? z.int().min(o.min) : z.int().min(o.min).max(o.max);
  return option("integer", o, { schema, placeholder: "N", expects: range("a whole number", o.min, o.max) });
}

/** A whole number that may be left open. */
export function optionalInteger(o: Common<number | null> & Bounds): Option<number | null> {
  const schema = o.max === undefined ? z.int().min(o.min) : z.int().min(o.min).max(o.max);
  return option("integer", o, {
    schema: schema.nullable(),
    placeholder: "N",
    expects: range("a whole number", o.min, o.max),
  });
}

export function decimal(o: Common<number> & Bounds): Option<number> {
  const schema = o.max === undefined ? z.number().min(o.min) : z.number().min(o.min).max(o.max);
  return option("number", o, { schema, placeholder: "X", expects: range("a number", o.min, o.max) });
}

/** A duration; `30`, `0.5`, `30s`, `500ms`, `2m` and `1h` are understood. At most 24 days: timers overflow beyond. */
export function seconds(o: Common<number> & { readonly min?: number }): Option<number> {
  const min = o.min ?? 0;
  return option("seconds", o, {
    schema: z.number().min(min).max(2_000_000),
    placeholder: "S",
    expects: range("a number of seconds", min, 2_000_000),
    unit: "seconds",
  });
}

/** Present or absent; every one also has a `--no-` form, so that a flag can undo the environment or the file. */
export function boolean(o: Common<boolean>): Option<boolean> {
  return option("boolean", o, { schema: z.boolean(), placeholder: "", expects: "true or false" });
}

/** On, off, or left to what else is configured. */
export function optionalBoolean(o: Common<boolean | null>): Option<boolean | null> {
  return option("boolean", o, { schema: z.boolean().nullable(), placeholder: "", expects: "true or false" });
}

export function text(o: Common<string> & { readonly check?: RegExp; readonly expects?: string }): Option<string> {
  const schema = o.check === undefined ? z.string() : z.string().regex(o.check, "malformed");
  return option("text", o, { schema, placeholder: "TEXT", expects: o.expects ?? "a text" });
}

/** Empty means none. */
export function optionalText(o: Common<string | null>): Option<string | null> {
  return option("text", o, { schema: z.string().nullable(), placeholder: "TEXT", expects: "a text" });
}

/** The path of a file that must be readable when the command starts. */
export function file(o: Common<string | null>): Option<string | null> {
  return option("file", o, {
    schema: z.string().nullable(),
    placeholder: "FILE",
    expects: "the path of a readable file",
  });
}

/** One of a closed list. `values` are those that work; those that `refusals` names are known as well. */
export function choice<const V extends string, D extends V | null>(
  o: Common<D> & { readonly values: readonly V[]; readonly default: D },
): Option<V | D> {
  // The type leaves out what `refusals` names: such a value ends in an error before anybody reads it.
  const schema = z.enum([...o.values, ...refusedValues(o.refusals)]) as unknown as z.ZodType<V | D>;
  return option<V | D>("choice", o, {
    schema,
    placeholder: o.values.join("|"),
    expects: o.values.length === 1 ? `${o.values[0]}` : `one of ${o.values.join(", ")}`,
  });
}

export function list(
  o: Common<readonly string[]> & {
    readonly item?: z.ZodType<string>;
    readonly expects?: string;
    readonly repeatable?: boolean;
  },
): Option<readonly string[]> {
  return option("list", o, {
    schema: z.array(o.item ?? z.string().min(1, "an empty entry")),
    placeholder: o.repeatable === true ? "TEXT" : "A,B",
    expects: o.expects ?? "entries with commas between them",
    repeatable: o.repeatable ?? false,
  });
}

export function pairs(
  o: Common<Readonly<Record<string, string>>> & { readonly expects?: string },
): Option<Readonly<Record<string, string>>> {
  return option("pairs", o, {
    schema: z.record(z.string(), z.string()),
    placeholder: "A:B",
    expects: o.expects ?? "pairs with commas between them, as in alias:model,alias2:model2",
  });
}

/** Values that a refusal names one by one. */
export function refusedValues(refusals: readonly Refusal[] | undefined): string[] {
  return (refusals ?? []).flatMap((r) => (r.when !== "set" && "is" in r.when ? r.when.is : []));
}

export function defaultOf<T extends OptionValue>(o: Option<T>, command: OptionCommand): T {
  return o.defaultFor[command] ?? o.default;
}

/** `max-body-bytes` -> `LMSTACK_MAX_BODY_BYTES`. */
export function environmentName(flag: string): string {
  return `LMSTACK_${flag.replaceAll("-", "_").toUpperCase()}`;
}
