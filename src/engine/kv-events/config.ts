// The value of `--kv-events-config`: vLLM's own JSON, checked, and what it means for one data-parallel rank. Pure; below
// the sockets. It must never invent a field, since the same text is given to a real engine.

/** Fields and defaults are vLLM's `KVEventsConfig`. */
export interface KvEventsConfig {
  readonly enable_kv_cache_events?: boolean;
  readonly publisher?: string | null;
  readonly endpoint?: string;
  readonly replay_endpoint?: string | null;
  readonly buffer_steps?: number;
  readonly hwm?: number;
  readonly max_queue_size?: number;
  readonly topic?: string;
}

export interface ResolvedKvEventsConfig {
  readonly enable_kv_cache_events: boolean;
  readonly publisher: string;
  readonly endpoint: string;
  readonly replay_endpoint: string | null;
  readonly buffer_steps: number;
  readonly hwm: number;
  readonly max_queue_size: number;
  readonly topic: string;
}

const kinds: Readonly<Record<keyof ResolvedKvEventsConfig, "boolean" | "string" | "number">> = {
  enable_kv_cache_events: "boolean",
  publisher: "string",
  endpoint: "string",
  replay_endpoint: "string",
  buffer_steps: "number",
  hwm: "number",
  max_queue_size: "number",
  topic: "string",
};

/** Reads the option's text. Throws a RangeError that says what is wrong. */
export function parseKvEventsConfig(text: string): KvEventsConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RangeError(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new RangeError("not a JSON object");
  for (const [name, given] of Object.entries(value)) {
    if (!isField(name)) {
      throw new RangeError(`${name} is no field of it; fields are ${Object.keys(kinds).join(", ")}`);
    }
    if (given !== null && typeof given !== kinds[name]) throw new RangeError(`${name} must be a ${kinds[name]}`);
  }
  return value;
}

const isField = (name: string): name is keyof typeof kinds => Object.hasOwn(kinds, name);

/** Defaults filled in, and ports moved to those of the rank. */
export function resolveKvEventsConfig(config: KvEventsConfig, rank: number): ResolvedKvEventsConfig {
  return {
    enable_kv_cache_events: config.enable_kv_cache_events ?? false,
    publisher: config.publisher ?? (config.enable_kv_cache_events === true ? "zmq" : "null"),
    endpoint: offset(config.endpoint ?? "tcp://*:5557", rank),
    replay_endpoint:
      config.replay_endpoint === null || config.replay_endpoint === undefined
        ? null
        : offset(config.replay_endpoint, rank),
    buffer_steps: config.buffer_steps ?? 10_000,
    hwm: config.hwm ?? 100_000,
    max_queue_size: config.max_queue_size ?? 100_000,
    topic: config.topic ?? "",
  };
}

/** `tcp` endpoints take port + rank, `inproc` ones a suffix, as vLLM's `offset_endpoint_port`. */
function offset(endpoint: string, rank: number): string {
  if (rank === 0) return endpoint;
  if (endpoint.startsWith("inproc")) return `${endpoint}_dp${rank}`;
  return endpoint.replace(/:(\d+)$/, (_text, port: string) => `:${port === "0" ? 0 : Number(port) + rank}`);
}

/** vLLM binds only where the address cannot be connected to; a literal address makes it connect. */
export function bindsTo(endpoint: string): boolean {
  return /\*|::/.test(endpoint) || endpoint.startsWith("ipc://") || endpoint.startsWith("inproc://");
}
