// From the lists of URLs, models, types and labels to endpoints; the same for flags and for the dynamic file. Pure. It
// must never let one URL become two endpoints: load, health and breaker are counted per URL.

import { kvEventsExpected, parseKvEvents } from "./kv-events.ts";
import { modelTypes, type EndpointSpec, type ModelType } from "./types.ts";

/** One line of the lists; `key` names it in messages. */
export interface StaticEntry {
  readonly url: string;
  readonly model: string | null;
  readonly type: string | null;
  readonly label: string | null;
  /** As `parseKvEvents` reads it; null = nothing is said. */
  readonly kvEvents: string | null;
}

export type ReportEntry = (index: number, field: keyof StaticEntry, value: string, reason: string, fix: string) => void;

export interface UrlVerdict {
  /** Without trailing slash; `null` = not usable. */
  readonly url: string | null;
  readonly reason: string;
  readonly fix: string;
}

const example = "give an engine's URL, as in http://10.0.0.1:8000";

/** Checks the URL of an engine: http or https, an optional path prefix, nothing else. */
function engineUrl(text: string): UrlVerdict {
  const bad = (reason: string, fix = example): UrlVerdict => ({ url: null, reason, fix });
  const parsed = URL.canParse(text) ? new URL(text) : null;
  if (parsed === null || !/^[a-z]+:\/\//i.test(text)) {
    const withScheme = /^[^\s/:]+(:\d+)?$/.test(text) && URL.canParse(`http://${text}`);
    return bad("not a URL", withScheme ? `write http://${text}` : example);
  }
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") return bad("neither http nor https");
  if (parsed.username !== "" || parsed.password !== "") {
    return bad("holds credentials", "give the engine's key with --engine-api-key-file");
  }
  if (parsed.search !== "" || parsed.hash !== "") return bad("has a query or a fragment");
  const path = parsed.pathname.replace(/\/+$/, "");
  if (path.endsWith("/v1")) return bad("ends in /v1", `give it without: ${parsed.origin}${path.slice(0, -3)}`);
  return { url: parsed.origin + path, reason: "", fix: "" };
}

/** Joins entries to endpoints: one per URL, in order; a URL with several models becomes one endpoint that serves all. */
export function joinEndpoints(entries: readonly StaticEntry[], report: ReportEntry): EndpointSpec[] {
  const endpoints = new Map<string, EndpointSpec>();
  for (const [index, entry] of entries.entries()) {
    const verdict = engineUrl(entry.url);
    if (verdict.url === null) {
      report(index, "url", entry.url, verdict.reason, verdict.fix);
      continue;
    }
    const type = entry.type;
    if (type !== null && !isModelType(type)) {
      report(index, "type", type, "unknown", `give one of ${modelTypes.join(", ")}`);
      continue;
    }
    const kvEvents = entry.kvEvents === null ? undefined : parseKvEvents(entry.kvEvents);
    if (kvEvents === null) {
      report(index, "kvEvents", entry.kvEvents ?? "", "not understood", `give ${kvEventsExpected}`);
      continue;
    }
    const models = entry.model === null ? null : [entry.model];
    const before = endpoints.get(verdict.url);
    if (before === undefined) {
      const spec = { url: verdict.url, models, label: entry.label, modelType: type };
      endpoints.set(verdict.url, kvEvents === undefined ? spec : { ...spec, kvEvents });
    } else if (before.models === null || entry.model === null || before.models.includes(entry.model)) {
      report(index, "url", entry.url, "the same engine is listed twice", "remove one of them");
    } else if (before.label !== entry.label) {
      report(
        index,
        "label",
        entry.label ?? "",
        `${verdict.url} has another label already`,
        "give one label per engine",
      );
    } else {
      endpoints.set(verdict.url, { ...before, models: [...before.models, entry.model] });
    }
  }
  return [...endpoints.values()];
}

function isModelType(text: string): text is ModelType {
  return (modelTypes as readonly string[]).includes(text);
}

/** The known models, or `null` where an engine has yet to be asked. */
export function knownModels(endpoints: readonly EndpointSpec[]): string[] | null {
  const names = new Set<string>();
  for (const { models } of endpoints) {
    if (models === null) return null;
    for (const model of models) names.add(model);
  }
  return [...names];
}
