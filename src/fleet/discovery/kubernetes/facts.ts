// What labels and annotations of a pod or a Service say of its engine. Pure. docs/discovery.md is the list for people.
import { parseKvEvents, kvEventsExpected } from "../../../config/kv-events.ts";
import type { KvEvents } from "../../../config/types.ts";
import type { KubernetesObject } from "./list-watch.ts";

export interface EngineFacts {
  readonly scheme: "http" | "https";
  /** A number, or the name of a port; null = not said. */
  readonly port: string | null;
  readonly models: readonly string[] | null;
  readonly label: string | null;
  readonly sleeping: boolean;
  readonly modelsRevision: string | null;
  readonly kvEvents: KvEvents | null;
  /** Annotations that make no sense, in words. They count as absent. */
  readonly mistakes: readonly string[];
}

export function readFacts({ metadata }: KubernetesObject): EngineFacts {
  const { labels = {}, annotations = {} } = metadata;
  const mistakes: string[] = [];
  const wrong = (name: string, value: string, expected: string): null => {
    mistakes.push(`annotation ${name}: "${value}" is not understood and ignored; give ${expected}`);
    return null;
  };
  const scheme = annotations["lmstack/scheme"] ?? "http";
  if (scheme !== "http" && scheme !== "https") wrong("lmstack/scheme", scheme, "http or https");
  const port = annotations["lmstack/port"] ?? null;
  const portFits = port === null || isPort(port) || /^(?=.*[a-z])[a-z0-9-]{1,15}$/.test(port);
  const models = (annotations["lmstack/models"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  const events = annotations["lmstack/kv-events"];
  return {
    scheme: scheme === "https" ? "https" : "http",
    port: portFits ? port : wrong("lmstack/port", port, "a port's number or its name"),
    models: models.length === 0 ? null : [...new Set(models)],
    label: labels["lmstack/role"] ?? labels["model"] ?? null,
    sleeping: labels["sleeping"] === "true",
    modelsRevision: annotations["lora-modified"] ?? null,
    kvEvents:
      events === undefined ? null : (parseKvEvents(events) ?? wrong("lmstack/kv-events", events, kvEventsExpected)),
    mistakes,
  };
}

export function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535;
}
