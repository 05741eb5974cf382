// Gathers what one engine step stored and removed and makes a message of it, as vLLM's engine does at the end of a step.
// Between the core, which reports blocks, and the sockets. Pure: the time of a message is handed in.

import type { BlockHash, StoredBlocks } from "../core/index.ts";
import { blockKeys, taggedKeys } from "./block-key.ts";
import { Float, pack } from "./msgpack.ts";
import type { Packable, PackableMap } from "./msgpack.ts";

export interface EventLogOptions {
  readonly rank: number;
  readonly blockSize: number;
  /** Maps with a `type`, as vLLM writes since June 2026, or the older arrays with the tag first. */
  readonly encoding: "map" | "array";
  /** Hashes as unsigned 64-bit integers, or as their 32 bytes. */
  readonly intHashes: boolean;
  readonly wallMs: () => number;
  /** Number of an adapter, from 1. */
  readonly adapterId: (name: string) => number | null;
  readonly publish: (payload: Buffer) => void;
}

export class KvEventLog {
  readonly #options: EventLogOptions;
  #events: Packable[] = [];

  constructor(options: EventLogOptions) {
    this.#options = options;
  }

  stored({ sequence, parent, hashes, fromToken }: StoredBlocks): void {
    const { blockSize, adapterId } = this.#options;
    const keys = blockKeys(sequence.request.cacheKey ?? null);
    this.#add("BlockStored", {
      block_hashes: hashes.map((hash) => this.#hash(hash)),
      parent_block_hash: parent === null ? null : this.#hash(parent),
      token_ids: sequence.tokens.slice(fromToken, fromToken + hashes.length * blockSize),
      block_size: blockSize,
      lora_id: keys.adapter === null ? null : adapterId(keys.adapter.name),
      medium: "GPU",
      lora_name: keys.adapter?.name ?? null,
      extra_keys: hashes.map((_hash, at) => {
        const values = taggedKeys(keys, fromToken === 0 && at === 0).map(([, value]) => value);
        return values.length === 0 ? null : values;
      }),
      group_idx: 0,
      kv_cache_spec_kind: "full_attention",
    });
  }

  /** One event per block, as recorded. */
  removed(hash: BlockHash): void {
    this.#add("BlockRemoved", { block_hashes: [this.#hash(hash)], medium: "GPU", group_idx: 0 });
  }

  cleared(): void {
    this.#add("AllBlocksCleared", {});
  }

  /** The end of a step: what was gathered goes out in one message. */
  flush(): void {
    if (this.#events.length === 0) return;
    const events = this.#events;
    this.#events = [];
    const { rank, wallMs, publish } = this.#options;
    publish(pack([new Float(wallMs() / 1000), events, rank]));
  }

  #add(type: string, fields: PackableMap): void {
    this.#events.push(this.#options.encoding === "map" ? { type, ...fields } : [type, ...Object.values(fields)]);
  }

  #hash(hash: BlockHash): Packable {
    const bytes = Buffer.from(String(hash), "latin1");
    return this.#options.intHashes ? bytes.readBigUInt64BE(bytes.length - 8) : bytes;
  }
}
