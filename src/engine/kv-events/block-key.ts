// What a block's content depends on besides its tokens, adapter and cache salt, as one text for the core and as the keys
// that vLLM hashes and publishes. Pure. Equal inputs must give equal texts, or equal prefixes would not be shared.

/** Text for {@link EngineRequest.cacheKey}; null when the tokens say everything. */
export function cacheKeyOf(adapter: string | null, salt: string | null): string | null {
  return adapter === null && salt === null ? null : JSON.stringify([adapter, salt]);
}

export interface BlockKeys {
  readonly adapter: string | null;
  readonly salt: string | null;
}

export function blockKeys(cacheKey: string | null): BlockKeys {
  if (cacheKey === null) return { adapter: null, salt: null };
  const [adapter, salt] = JSON.parse(cacheKey) as [string | null, string | null];
  return { adapter, salt };
}

/**
 * The tagged keys of one block, in vLLM's order. The salt only enters the first block's hash: the others get it through
 * their parent.
 */
export function taggedKeys(keys: BlockKeys, first: boolean): readonly (readonly [tag: string, value: string])[] {
  const found: [string, string][] = [];
  if (keys.adapter !== null) found.push(["lora", keys.adapter]);
  if (first && keys.salt !== null) found.push(["cache_salt", keys.salt]);
  return found;
}
