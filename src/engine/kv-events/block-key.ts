// What a block's content depends on besides its tokens, adapter and cache salt, as one text for the core and as the keys
// that vLLM hashes and publishes. Pure. Equal inputs must give equal texts, or equal prefixes would not be shared.

/** Text for {@link EngineRequest.cacheKey}; null when the tokens say everything. */
export function cacheKeyOf(adapter: BlockKeys["adapter"], salt: string | null): string | null {
  return adapter === null && salt === null ? null : JSON.stringify({ adapter, salt });
}

export interface BlockKeys {
  readonly adapter: { readonly name: string; readonly path: string } | null;
  readonly salt: string | null;
}

const noKeys: BlockKeys = { adapter: null, salt: null };

export function blockKeys(cacheKey: string | null): BlockKeys {
  return cacheKey === null ? noKeys : (JSON.parse(cacheKey) as BlockKeys);
}

/** A tag, the value that events show, and what else is hashed. */
export type TaggedKey = readonly [tag: string, value: string, ...more: string[]];

/**
 * The tagged keys of one block, in vLLM's order. The salt only enters the first block's hash: the others get it through
 * their parent.
 */
export function taggedKeys(keys: BlockKeys, first: boolean): readonly TaggedKey[] {
  const found: TaggedKey[] = [];
  if (keys.adapter !== null) found.push(["lora", keys.adapter.name, keys.adapter.path]);
  if (first && keys.salt !== null) found.push(["cache_salt", keys.salt]);
  return found;
}
