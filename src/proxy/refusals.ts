// What a client is told about its model where no engine gets the request: it is not known, nobody serves it now, or too many
// wait for it; and where its time is up. Words only; who says them, and when, is the request path's.
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
 * The model that a name stands for; null = nobody can say yet whether there is one.
 * @throws LmstackError when there is none
 */
export function knownModel(registry: Registry, name: string): string | null {
  const model = registry.resolve(name);
  if (registry.knows(model)) return model;
  if (!registry.learning) throw modelNotFound(name, registry.names());
  return null;
}

/** @param waitedMs how long it was waited for them; 0 = not at all */
export function notTold(name: string, waitedMs: number): LmstackError {
  const waited = waitedMs === 0 ? "" : ` after ${(waitedMs / 1000).toFixed(1)} s`;
  const message = `Not all engines have told their models yet${waited}, and \`${name.slice(0, 200)}\` may be one: try again shortly.`;
  return new LmstackError("no_endpoint", message);
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

export function tooManyBodies(): LmstackError {
  return new LmstackError("overloaded", "The router holds as many request bodies as it may: try again shortly.");
}

/** @param limitMs what the router allows a request in all */
export function tookTooLong(limitMs: number): LmstackError {
  return new LmstackError("total_timeout", `The request took longer than ${limitMs / 1000} s.`);
}

export function outwaited(patienceMs: number): LmstackError {
  return new LmstackError(
    "total_timeout",
    `The answer took longer than the ${patienceMs / 1000} s that the client waits.`,
  );
}

/** Whatever was thrown, as a client is told. */
export function asLmstack(error: unknown): LmstackError {
  if (error instanceof LmstackError) return error;
  return new LmstackError("internal_error", error instanceof Error ? error.message : String(error));
}
