// What a client is told about its model where no engine gets the request: it is not known, nobody serves it now, or too many
// wait for it. Words only; who says them, and when, is the request path's.
import { LmstackError } from "../errors/catalogue.ts";
import type { Registry } from "../fleet/registry.ts";

/** @param known names that exist; so many of them are told as a person may read */
export function modelNotFound(name: string, known: readonly string[]): LmstackError {
  const list =
    known.length === 0
      ? "none is known yet"
      : `known: ${known.slice(0, 50).join(", ")}${known.length > 50 ? ", ..." : ""}`;
  return new LmstackError("model_not_found", `The model \`${name.slice(0, 200)}\` does not exist; ${list}.`, "model");
}

/**
 * The model that a name stands for.
 * @throws LmstackError when there is none, or when nobody can say so yet
 */
export function knownModel(registry: Registry, name: string): string {
  const model = registry.resolve(name);
  if (registry.knows(model)) return model;
  if (!registry.learning) throw modelNotFound(name, registry.names());
  const shown = name.slice(0, 200);
  const message = `Not all engines have told their models yet, and \`${shown}\` may be one: try again shortly.`;
  throw new LmstackError("no_endpoint", message);
}

/** @param waitedMs how long it was waited for one; 0 = not at all */
export function noEndpoint(registry: Registry, model: string, nowMs: number, waitedMs: number): LmstackError {
  const states = (registry.serving(model) ?? [])
    .slice(0, 8)
    .map((endpoint) => `${endpoint.id} ${endpoint.state(nowMs)}`);
  const waited = waitedMs === 0 ? "" : ` after ${(waitedMs / 1000).toFixed(1)} s`;
  const message = `No endpoint of the model \`${model}\` is ready${waited} (${states.join(", ") || "none"}).`;
  return new LmstackError("no_endpoint", message);
}

/** @param absent it has no endpoint at all */
export function queueFull(model: string, waiting: number, absent: boolean): LmstackError {
  const why = absent
    ? `No endpoint of the model \`${model}\` is there`
    : `All endpoints of the model \`${model}\` have their fill`;
  return new LmstackError("queue_full", `${why}, and ${waiting} requests wait already: try again shortly.`);
}

export function queueTimeout(model: string, patienceMs: number): LmstackError {
  const message = `No endpoint of the model \`${model}\` had room within the ${patienceMs / 1000} s that the client waits.`;
  return new LmstackError("queue_timeout", message);
}
