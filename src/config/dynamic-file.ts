// The dynamic configuration file of production-stack: engines, aliases, policy, in the forms that its users have (YAML
// with a map of models, JSON with comma lists; both forms are read in both formats). Pure: text in, configuration out.
// It must never give half a configuration: either all of it is right, or it throws.

import { optionOf, type OptionName } from "./catalogue/index.ts";
import { coerceData } from "./coerce.ts";
import { parseLocated, pathText, type FileFormat, type KeyPath, type Located } from "./located.ts";
import { readDiscovery } from "./discovery.ts";
import { nearest } from "./nearest.ts";
import type { OptionValue } from "./option.ts";
import { count, formatProblem, type Problem } from "./problem.ts";
import { refusalOf } from "./resolve.ts";
import { joinEndpoints, knownModels, type StaticEntry } from "./static-endpoints.ts";
import type { DiscoveryConfig, DynamicConfig, PolicyName } from "./types.ts";

/** Key of the file -> option with the same meaning. */
export const dynamicKeys = {
  service_discovery: "service-discovery",
  routing_logic: "routing-logic",
  static_backends: "static-backends",
  static_models: "static-models",
  static_aliases: "static-aliases",
  known_models: "known-models",
  static_model_labels: "static-model-labels",
  static_model_types: "static-model-types",
  static_kv_events: "static-kv-events",
  static_backend_health_checks: "static-backend-health-checks",
  static_backend_health_check_interval: "static-backend-health-check-interval",
  static_backend_health_check_timeout_seconds: "static-backend-health-check-timeout-seconds",
  prefill_model_labels: "prefill-model-labels",
  decode_model_labels: "decode-model-labels",
  dns_names: "dns-names",
  k8s_port: "k8s-port",
  k8s_namespace: "k8s-namespace",
  k8s_label_selector: "k8s-label-selector",
  session_key: "session-key",
  callbacks: "callbacks",
} as const satisfies Record<string, OptionName>;
export type DynamicKey = keyof typeof dynamicKeys;

/** Keys below a model in the YAML form. */
export const modelKeys = ["static_backends", "static_model_type", "static_model_label", "static_kv_events"] as const;

/** Keys that list engines, which has no meaning where they are found. */
const listedEngines = [
  "static_backends",
  "static_models",
  "static_model_labels",
  "static_model_types",
  "static_kv_events",
] as const;

/** Everything that is wrong with a dynamic file; the message is the first problem in one line. */
export class DynamicFileError extends Error {
  override readonly name = "DynamicFileError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const [first] = problems;
    super(first === undefined ? "nothing is wrong" : formatProblem(first));
    this.problems = problems;
  }
}

/** Reads the text of a dynamic file. `name` is put before the line in messages. Throws {@link DynamicFileError}. */
export function readDynamicFile(text: string, format: FileFormat, name?: string): DynamicConfig {
  const { config, problems } = inspectDynamicFile(text, format, name);
  if (config === null) throw new DynamicFileError(problems);
  return config;
}

export interface DynamicInspection {
  /** `null` when there are problems. */
  readonly config: DynamicConfig | null;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/** The same without throwing: all problems and warnings, for `lmstack check`. */
export function inspectDynamicFile(text: string, format: FileFormat, name?: string): DynamicInspection {
  const located = parseLocated(text, format);
  const reader = new Reader(located, name);
  if (located.broken !== null) {
    reader.reject([], null, located.broken.reason, `correct the ${format.toUpperCase()}`, located.broken.line);
    return { config: null, problems: reader.problems, warnings: [] };
  }
  if (!isRecord(located.data)) {
    reader.reject([], null, "not a map of keys", "write at least service_discovery and routing_logic");
    return { config: null, problems: reader.problems, warnings: [] };
  }
  const config = reader.read(located.data);
  return { config: reader.problems.length === 0 ? config : null, problems: reader.problems, warnings: reader.warnings };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Walks one file and collects what is wrong with it. */
class Reader {
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];
  readonly #located: Located;
  readonly #name: string | undefined;

  constructor(located: Located, name: string | undefined) {
    this.#located = located;
    this.#name = name;
  }

  reject(path: KeyPath, value: unknown, reason: string, fix: string, line = this.#located.lineOf(path)): void {
    const origin = {
      name: path.length === 0 ? "contents" : pathText(path),
      file: this.#name ?? "dynamic configuration",
      ...(line === undefined ? {} : { line }),
    };
    const shown =
      value === null || value === undefined ? null : typeof value === "object" ? JSON.stringify(value) : String(value);
    this.problems.push({ origin, value: shown, reason, fix });
  }

  read(data: Readonly<Record<string, unknown>>): DynamicConfig {
    this.#refuseUnknownKeys(data);
    for (const key of ["service_discovery", "routing_logic"] as const) {
      if (data[key] === undefined)
        this.reject([key], null, "missing", `add ${key}: ${key === "routing_logic" ? "leastload" : "static"}`);
    }
    const discovery = this.#discovery(data);
    const policy = this.#value(data, "routing_logic") as PolicyName;
    const entries = discovery.kind === "static" ? this.#entries(data) : [];
    const endpoints = joinEndpoints(
      entries.map(({ entry }) => entry),
      (index, field, value, reason, fix) => this.reject(entries[index]?.paths[field] ?? [], value, reason, fix),
    );
    const aliases = new Map(Object.entries(this.#value(data, "static_aliases") as Readonly<Record<string, string>>));
    const models = knownModels(endpoints);
    // With broken entries the models are not all known, with found ones none is, and every alias would look wrong.
    if (models !== null && discovery.kind === "static" && this.problems.length === 0) {
      for (const [alias, model] of aliases) {
        if (!models.includes(model))
          this.reject(["static_aliases", alias], model, "no engine serves this model", unknownModelFix(models));
      }
    }
    const checks = this.#value(data, "static_backend_health_checks") === true;
    const intervalMs = Number(this.#value(data, "static_backend_health_check_interval")) * 1000;
    const timeoutMs = Number(this.#value(data, "static_backend_health_check_timeout_seconds")) * 1000;
    for (const key of ["prefill_model_labels", "decode_model_labels", "callbacks"] as const) this.#value(data, key);
    return {
      endpoints,
      discovery,
      aliases,
      knownModels: this.#knownModels(data),
      inferenceHealthChecks: checks ? { intervalMs, timeoutMs } : null,
      policy,
      sessionKey: this.#value(data, "session_key") as string | null,
    };
  }

  #discovery(data: Readonly<Record<string, unknown>>): DiscoveryConfig {
    const kind = (this.#value(data, "service_discovery") ?? "static") as DiscoveryConfig["kind"];
    if (kind !== "static") {
      for (const key of listedEngines) {
        if (data[key] !== undefined)
          this.reject([key], null, `given beside service_discovery ${kind}`, "leave it out, or say static");
      }
    }
    return readDiscovery(
      kind,
      {
        names: this.#value(data, "dns_names") as readonly string[],
        namespaces: this.#value(data, "k8s_namespace") as readonly string[],
        labelSelector: this.#value(data, "k8s_label_selector") as string,
        enginePort: this.#value(data, "k8s_port") as number,
      },
      (field, value, reason, fix) =>
        this.reject([field === "names" ? "dns_names" : "k8s_namespace"], value, reason, fix),
    );
  }

  #entries(data: Readonly<Record<string, unknown>>): LocatedEntry[] {
    return isRecord(data["static_models"]) ? this.#modelMap(data, data["static_models"]) : this.#lists(data);
  }

  /** Those that are named as such, and those of the map that have no engine at present. */
  #knownModels(data: Readonly<Record<string, unknown>>): readonly string[] {
    const named = this.#value(data, "known_models") as readonly string[];
    const map = data["static_models"];
    if (!isRecord(map)) return named;
    const empty = Object.entries(map).filter(([, details]) => {
      const urls = isRecord(details) ? details["static_backends"] : null;
      return Array.isArray(urls) && urls.length === 0;
    });
    return [...new Set([...named, ...empty.map(([model]) => model)])];
  }

  #refuseUnknownKeys(data: Readonly<Record<string, unknown>>): void {
    for (const key of Object.keys(data)) {
      if (Object.hasOwn(dynamicKeys, key)) continue;
      const near = nearest(key, Object.keys(dynamicKeys));
      this.reject(
        [key],
        null,
        "unknown key",
        near === null ? `known are ${Object.keys(dynamicKeys).join(", ")}` : `did you mean ${near}?`,
      );
    }
  }

  /** The value of a key by the rules of its option, or the option's default. A key without a value counts as absent. */
  #value(data: Readonly<Record<string, unknown>>, key: DynamicKey): OptionValue {
    const option = optionOf(dynamicKeys[key]);
    const raw = data[key];
    if (raw === undefined || raw === null) return option.default;
    const coerced = coerceData(option, raw);
    if (!coerced.ok) {
      this.reject([key], raw, coerced.reason, `give ${option.expects}`);
      return option.default;
    }
    const refusal = refusalOf(option, coerced.value);
    if (refusal !== null) this.reject([key], raw, refusal.reason, refusal.fix);
    else if (option.state !== "works") this.warnings.push(`${key}: not built yet, ignored`);
    return coerced.value;
  }

  /** `static_backends: a,b` with lists of the same length beside it. */
  #lists(data: Readonly<Record<string, unknown>>): LocatedEntry[] {
    const urls = this.#value(data, "static_backends") as readonly string[];
    if (data["static_backends"] === undefined) {
      this.reject(
        ["static_backends"],
        null,
        "missing",
        "list engines in static_backends, or per model in static_models",
      );
    }
    type Column = "static_models" | "static_model_types" | "static_model_labels" | "static_kv_events";
    const column = (key: Column): readonly string[] => {
      const values = this.#value(data, key) as readonly string[];
      if (key === "static_kv_events" && values.length === 1) return urls.map(() => values[0] ?? "");
      if (values.length > 0 && values.length !== urls.length) {
        this.reject(
          [key],
          null,
          `${count(values.length, "entry", "entries")} for ${count(urls.length, "engine")}`,
          "give one per URL of static_backends",
        );
      }
      return values;
    };
    const models = column("static_models");
    const types = column("static_model_types");
    const labels = column("static_model_labels");
    const events = column("static_kv_events");
    const at = (key: string, index: number): KeyPath => (Array.isArray(data[key]) ? [key, index] : [key]);
    return urls.map((url, i) => ({
      entry: {
        url,
        model: models[i] ?? null,
        type: types[i] ?? null,
        label: labels[i] ?? null,
        kvEvents: events[i] ?? null,
      },
      paths: {
        url: at("static_backends", i),
        model: at("static_models", i),
        type: at("static_model_types", i),
        label: at("static_model_labels", i),
        kvEvents: at("static_kv_events", i),
      },
    }));
  }

  /** `static_models: {model: {static_backends: [...], static_model_type: ...}}`; the lists beside it have no place. */
  #modelMap(data: Readonly<Record<string, unknown>>, models: Readonly<Record<string, unknown>>): LocatedEntry[] {
    for (const key of ["static_backends", "static_model_types", "static_model_labels", "static_kv_events"] as const) {
      if (data[key] !== undefined)
        this.reject([key], null, "given beside a map of models", `move it below each model of static_models`);
    }
    const entries: LocatedEntry[] = [];
    for (const [model, details] of Object.entries(models)) {
      const path = ["static_models", model];
      if (!isRecord(details)) {
        this.reject(path, details, "not a map", "write static_backends: [URL, ...] below the model");
        continue;
      }
      for (const key of Object.keys(details)) {
        if ((modelKeys as readonly string[]).includes(key)) continue;
        const near = nearest(key, modelKeys);
        this.reject(
          [...path, key],
          null,
          "unknown key",
          near === null ? `known are ${modelKeys.join(", ")}` : `did you mean ${near}?`,
        );
      }
      const urls = this.#urls(details["static_backends"], [...path, "static_backends"]);
      const type = this.#text(details["static_model_type"], [...path, "static_model_type"]);
      const label = this.#text(details["static_model_label"], [...path, "static_model_label"]);
      const events = details["static_kv_events"];
      const kvEvents = this.#text(typeof events === "number" ? String(events) : events, [...path, "static_kv_events"]);
      for (const [i, url] of urls.entries()) {
        entries.push({
          entry: { url, model, type, label, kvEvents },
          paths: {
            url: [...path, "static_backends", i],
            model: path,
            type: [...path, "static_model_type"],
            label: [...path, "static_model_label"],
            kvEvents: [...path, "static_kv_events"],
          },
        });
      }
    }
    return entries;
  }

  #urls(value: unknown, path: KeyPath): readonly string[] {
    const coerced = coerceData(optionOf("static-backends"), value);
    if (coerced.ok) return coerced.value as readonly string[];
    this.reject(path, value, value === undefined ? "missing" : coerced.reason, "write static_backends: [URL, ...]");
    return [];
  }

  #text(value: unknown, path: KeyPath): string | null {
    if (value === undefined || value === null || typeof value === "string") return value ?? null;
    this.reject(path, value, "not a text", "give one word");
    return null;
  }
}

interface LocatedEntry {
  readonly entry: StaticEntry;
  readonly paths: Readonly<Record<keyof StaticEntry, KeyPath>>;
}

export function unknownModelFix(models: readonly string[]): string {
  const shown = models.slice(0, 5).join(", ");
  return models.length === 0 ? "add an engine for it" : `known models: ${shown}${models.length > 5 ? ", ..." : ""}`;
}
