// Where the publishers of an engine are: from the configuration, or from what the engine says (`/kv_event_sources`). Pure.
import type { KvEventPorts } from "../../config/types.ts";
import type { PublisherAddress } from "./subscription.ts";

/** One address per data-parallel rank; text = why there are none, for people. */
export type Found =
  | { readonly ranks: readonly PublisherAddress[] }
  | { readonly problem: "no_events" | "engine_connects"; readonly detail: string };

/** @param host of the engine, as its URL has it */
export function addressesOf(ports: KvEventPorts, host: string): PublisherAddress[] {
  return Array.from({ length: ports.ranks }, (_, rank) => ({
    events: `tcp://${host}:${ports.port + rank}`,
    replay: ports.replayPort === null ? null : `tcp://${host}:${ports.replayPort + rank}`,
    topic: ports.topic,
  }));
}

/** Reads vLLM's answer: a map from the rank to its publisher's configuration, as the rank has resolved it. */
export function addressesFrom(answer: unknown, host: string): Found {
  if (!isMap(answer)) return { problem: "no_events", detail: "its /kv_event_sources is no map of ranks" };
  const ranks: PublisherAddress[] = [];
  for (const config of Object.values(answer)) {
    if (!isMap(config) || config["enable_kv_cache_events"] !== true || config["publisher"] === "null") continue;
    const { endpoint, replay_endpoint: replay, topic } = config;
    if (typeof endpoint !== "string") continue;
    const events = reachable(endpoint, host);
    if (events === null) {
      const detail = `it connects to ${endpoint} where it should bind: give it "endpoint":"tcp://*:${portOf(endpoint) ?? 5557}" in --kv-events-config`;
      return { problem: "engine_connects", detail };
    }
    ranks.push({
      events,
      // the replay socket binds whatever its address says
      replay: typeof replay === "string" ? (reachable(replay, host) ?? moved(replay, host)) : null,
      topic: typeof topic === "string" ? topic : "",
    });
  }
  if (ranks.length > 0) return { ranks };
  return { problem: "no_events", detail: "it publishes none: give it --kv-events-config" };
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const portOf = (endpoint: string): string | null => /:(\d+)$/.exec(endpoint)?.[1] ?? null;

const moved = (endpoint: string, host: string): string | null => {
  const port = portOf(endpoint);
  return port === null ? null : `tcp://${host}:${port}`;
};

/** Address to connect to; null = the engine does not bind it. vLLM binds what has a wildcard, `::`, `ipc` and `inproc`. */
function reachable(endpoint: string, host: string): string | null {
  if (endpoint.startsWith("ipc://")) return endpoint;
  if (!endpoint.startsWith("tcp://") || !/\*|::/.test(endpoint)) return null;
  return moved(endpoint, host);
}
