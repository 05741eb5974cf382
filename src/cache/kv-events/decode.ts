// From the unpacked payload of a KV-event message to events. Between the socket and the index; pure. Engines of many versions
// write it: an array or a map, events as arrays with the tag first or as maps with a `type`, with more or fewer fields.
// What is not known is left aside, and one event that makes no sense never loses the others.

/** Ids of blocks as engines name them, two 32-bit halves each: opaque, good for finding a parent and for removal. */
export type BlockIds = Uint32Array;

/** Where a copy lies: on the accelerator, or anywhere else that the same engine can load it from. */
export type Medium = "gpu" | "other";

export interface StoredEvent {
  readonly type: "stored";
  readonly ids: BlockIds;
  /** One id; null = the blocks begin a prompt. */
  readonly parent: BlockIds | null;
  /** Tokens of all blocks in a row; empty where the event only says that a known block was copied. */
  readonly tokens: ArrayLike<number>;
  readonly blockSize: number;
  /** What a block's content depends on besides tokens, one text per block; null = nothing. */
  readonly keys: readonly (string | null)[] | null;
  readonly medium: Medium;
  readonly group: number | null;
  /** What kind of attention the group's cache serves; null = not said. */
  readonly kind: string | null;
  /** It names a session, as reports of blocks that were only used again do. */
  readonly session: boolean;
}

export interface RemovedEvent {
  readonly type: "removed";
  readonly ids: BlockIds;
  readonly medium: Medium;
  readonly group: number | null;
}

export interface ClearedEvent {
  readonly type: "cleared";
}

export type KvEvent = StoredEvent | RemovedEvent | ClearedEvent;

export interface Batch {
  /** When it was written, by the engine's clock, Unix seconds; 0 = it does not say. */
  readonly seconds: number;
  readonly events: readonly KvEvent[];
  /** What could not be read, for people: each is a change of the cache that is missed. */
  readonly bad: readonly string[];
  /** Events left aside by design: of a kind that is not known, or about blocks that are elsewhere. */
  readonly ignored: number;
}

/** Place of each field in the older events, the tag not counted. */
const storedFields = [
  "block_hashes",
  "parent_block_hash",
  "token_ids",
  "block_size",
  "lora_id",
  "medium",
  "lora_name",
  "extra_keys",
  "group_idx",
  "kv_cache_spec_kind",
  "kv_cache_spec_sliding_window",
  "locality",
  "ownership",
  "session_id",
] as const;
const removedFields = ["block_hashes", "medium", "group_idx", "locality", "ownership"] as const;

type Fields = Readonly<Record<string, unknown>>;

/** @returns null when the payload as a whole makes no sense */
export function decodeBatch(payload: unknown): Batch | null {
  const [seconds, list] = Array.isArray(payload)
    ? (payload as readonly unknown[])
    : isFields(payload)
      ? [payload["ts"], payload["events"]]
      : [];
  if (!Array.isArray(list)) return null;
  const events: KvEvent[] = [];
  const bad: string[] = [];
  let ignored = 0;
  for (const raw of list as readonly unknown[]) {
    try {
      const event = decodeEvent(raw);
      if (event === null) ignored++;
      else events.push(event);
    } catch (error) {
      bad.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { seconds: typeof seconds === "number" ? seconds : Number(seconds ?? 0) || 0, events, bad, ignored };
}

/** null = left aside. Throws what is wrong with it. */
function decodeEvent(raw: unknown): KvEvent | null {
  const tag: unknown = Array.isArray(raw) ? raw[0] : isFields(raw) ? raw["type"] : undefined;
  if (typeof tag !== "string") throw new Error("an event without a type");
  switch (tag) {
    case "BlockStored":
      return stored(fieldsOf(raw, storedFields));
    case "BlockRemoved":
      return removed(fieldsOf(raw, removedFields));
    case "AllBlocksCleared":
      return { type: "cleared" };
    default:
      return null;
  }
}

function fieldsOf(raw: unknown, names: readonly string[]): Fields {
  if (!Array.isArray(raw)) return raw as Fields;
  return Object.fromEntries(names.map((name, at) => [name, (raw as readonly unknown[])[at + 1]]));
}

function stored(fields: Fields): StoredEvent | null {
  if (isRemote(fields)) return null;
  const ids = idsOf(fields["block_hashes"]);
  const parent = fields["parent_block_hash"];
  const tokens = tokensOf(fields["token_ids"]);
  const blockSize = fields["block_size"] ?? 0;
  const count = ids.length / 2;
  if (typeof blockSize !== "number" || !Number.isInteger(blockSize) || blockSize < 0) {
    throw new Error(`BlockStored with block_size ${shown(blockSize)}`);
  }
  if (tokens.length > 0 && tokens.length !== count * blockSize) {
    throw new Error(`BlockStored with ${tokens.length} tokens for ${count} blocks of ${blockSize}`);
  }
  return {
    type: "stored",
    ids,
    parent: parent === null || parent === undefined ? null : idsOf([parent]),
    tokens,
    blockSize,
    keys: keysOf(fields, count),
    medium: mediumOf(fields["medium"]),
    group: groupOf(fields["group_idx"]),
    kind: typeof fields["kv_cache_spec_kind"] === "string" ? fields["kv_cache_spec_kind"] : null,
    session: typeof fields["session_id"] === "string",
  };
}

function removed(fields: Fields): RemovedEvent | null {
  if (isRemote(fields)) return null;
  const ids = idsOf(fields["block_hashes"]);
  return { type: "removed", ids, medium: mediumOf(fields["medium"]), group: groupOf(fields["group_idx"]) };
}

/** In the cache of another engine, or in a store that all share: it says nothing about this one. */
const isRemote = (fields: Fields): boolean => fields["locality"] === "REMOTE";

/** No medium is the accelerator: versions that knew no other did not name it. */
const mediumOf = (value: unknown): Medium =>
  value === null || value === undefined || value === "GPU" || value === "gpu" ? "gpu" : "other";

const groupOf = (value: unknown): number | null => (typeof value === "number" ? value : null);

function tokensOf(value: unknown): ArrayLike<number> {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw new Error("BlockStored whose token_ids are no list");
  const list = value as readonly unknown[];
  for (const token of list) {
    if (typeof token !== "number" || !Number.isInteger(token)) {
      throw new Error(`BlockStored with the token ${shown(token)}`);
    }
  }
  return list as readonly number[];
}

/** Adapter, salt and the like, as one text per block. Versions without `extra_keys` name at least the adapter. */
function keysOf(fields: Fields, count: number): readonly (string | null)[] | null {
  const given = fields["extra_keys"];
  const name = fields["lora_name"];
  const adapter = typeof name === "string" ? name : null;
  if (Array.isArray(given)) {
    if (given.length !== count) throw new Error(`BlockStored with ${given.length} extra_keys for ${count} blocks`);
    const keys = (given as readonly unknown[]).map((key) => {
      const list = key === null || key === undefined ? [] : Array.isArray(key) ? (key as readonly unknown[]) : [key];
      // the adapter comes first among them; by its own field it can be told from a salt of the same name
      return blockKeyText(adapter, adapter !== null && list[0] === adapter ? list.slice(1) : list);
    });
    return keys.every((key) => key === null) ? null : keys;
  }
  if (adapter !== null) return Array.from({ length: count }, () => blockKeyText(adapter, []));
  // a number names no adapter that a request could ask for: kept apart from the plain model, never found
  const id = fields["lora_id"];
  return typeof id === "number" ? Array.from({ length: count }, () => `lora_id ${id}`) : null;
}

/**
 * What a block depends on besides its tokens, the same text from an event as from a request; null = nothing.
 * @param others salt, and what stands for images and the like, in the engine's order
 */
export function blockKeyText(adapter: string | null, others: readonly unknown[]): string | null {
  if (adapter === null && others.length === 0) return null;
  return JSON.stringify([adapter, ...others], (_name, value: unknown) =>
    typeof value === "bigint" ? value.toString() : value instanceof Uint8Array ? hexOf(value) : value,
  );
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function idsOf(value: unknown): BlockIds {
  if (!Array.isArray(value)) throw new Error("block_hashes that are no list");
  const list = value as readonly unknown[];
  const ids = new Uint32Array(list.length * 2);
  for (let at = 0; at < list.length; at++) writeId(list[at], ids, at * 2);
  return ids;
}

/** 64 bits of an id: of 32 bytes the last eight, as vLLM itself shortens them. */
function writeId(value: unknown, out: Uint32Array, at: number): void {
  if (typeof value === "bigint") {
    const bits = BigInt.asUintN(64, value);
    out[at] = Number(bits & 0xffff_ffffn);
    out[at + 1] = Number(bits >> 32n);
  } else if (typeof value === "number" && Number.isInteger(value)) {
    out[at] = value >>> 0;
    out[at + 1] = Math.floor(value / 0x1_0000_0000) >>> 0;
  } else if (value instanceof Uint8Array && value.length >= 8) {
    const view = new DataView(value.buffer, value.byteOffset + value.length - 8, 8);
    out[at] = view.getUint32(4);
    out[at + 1] = view.getUint32(0);
  } else if (typeof value === "string" && /^[0-9a-f]{16,}$/i.test(value)) {
    out[at] = Number.parseInt(value.slice(-8), 16);
    out[at + 1] = Number.parseInt(value.slice(-16, -8), 16);
  } else {
    throw new Error(`a block hash that is ${shown(value)}`);
  }
}

function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return typeof value === "bigint" ? value.toString() : (JSON.stringify(value) ?? String(value)).slice(0, 40);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
