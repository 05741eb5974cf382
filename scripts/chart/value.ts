// What a key of the chart's values is: its type, default and sentence. The catalogue beside this file is made of these;
// values.yaml, values.schema.json, the list of known keys and docs/helm-values.md are generated from it.

export type Schema = Readonly<Record<string, unknown>>;

export interface Value {
  /** What the table shows as the type. */
  readonly type: string;
  /** JSON Schema of a value that is given; null is added, since `key:` with nothing behind it is common YAML. */
  readonly schema: Schema;
  /** Part of values.yaml; undefined = the key is left out there, and the chart decides. */
  readonly default: unknown;
  readonly help: string;
  /** Keys below, where they are known. */
  readonly keys?: Readonly<Record<string, Value>>;
  /** Keys of each entry of a list. */
  readonly entry?: Readonly<Record<string, Value>>;
  /** Keys of each value of a map whose own keys are free. */
  readonly each?: Readonly<Record<string, Value>>;
}

export type Keys = Readonly<Record<string, Value>>;

export function text(help: string, fallback?: string): Value {
  return { type: "text", schema: { type: "string" }, default: fallback, help };
}

export function integer(help: string, fallback?: number, min = 0): Value {
  return { type: "integer", schema: { type: "integer", minimum: min }, default: fallback, help };
}

export function flag(help: string, fallback?: boolean): Value {
  return { type: "true or false", schema: { type: "boolean" }, default: fallback, help };
}

/** CPU, memory, counts and fractions, which people write with and without quotes. */
export function quantity(help: string, fallback?: string | number): Value {
  return { type: "quantity", schema: { type: ["string", "number"] }, default: fallback, help };
}

export function choice(help: string, values: readonly string[], fallback?: string): Value {
  // Empty stands for "not said", as in many values files.
  return { type: values.join(", "), schema: { enum: [...values, ""] }, default: fallback, help };
}

/** A piece of Kubernetes' own API, handed on as it is. */
export function raw(kind: "map" | "list", help: string, fallback?: unknown): Value {
  return { type: kind, schema: { type: kind === "map" ? "object" : "array" }, default: fallback, help };
}

/** A map from free names to text. */
export function texts(help: string, fallback?: Readonly<Record<string, string>>): Value {
  const schema = { type: "object", additionalProperties: { type: ["string", "number", "boolean", "null"] } };
  return { type: "map of texts", schema, default: fallback, help };
}

/** Arguments of a command line; numbers are common there, quotes are not. */
export function words(help: string, fallback?: readonly string[]): Value {
  const schema = { type: "array", items: { type: ["string", "number", "boolean"] } };
  return { type: "list of words", schema, default: fallback, help };
}

export function object(help: string, keys: Keys): Value {
  return { type: "keys below", schema: { type: "object" }, default: undefined, help, keys };
}

export function listOf(help: string, entry: Keys, fallback?: readonly unknown[]): Value {
  return { type: "list, keys below", schema: { type: "array" }, default: fallback, help, entry };
}

export function mapOf(help: string, each: Keys, fallback?: unknown): Value {
  return { type: "map, keys below", schema: { type: "object" }, default: fallback, help, each };
}

/** A text, or a reference to a Secret that exists. */
export function secret(help: string): Value {
  return {
    type: "text, or keys below",
    schema: { type: ["string", "object"] },
    default: undefined,
    help,
    keys: secretKeys,
  };
}

/** An image by repository and tag, or in one word. */
export function image(help: string): Value {
  return {
    type: "text, or keys below",
    schema: { type: ["string", "object"] },
    default: undefined,
    help,
    keys: { repository: text("Repository."), tag: quantity("Tag.") },
  };
}

const secretKeys: Keys = {
  secretName: text("A Secret that exists."),
  secretKey: text("Which of its keys."),
};

/** A reference to a Secret that exists. */
export function secretReference(help: string): Value {
  return object(help, secretKeys);
}
