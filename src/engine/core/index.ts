// The engine core's public face: what the HTTP surface, the lab and tests import. It must never export more than they
// use, nor anything that does I/O.

export { EngineCore } from "./engine-core.ts";
export type { EngineCoreOptions, EngineObserver, EngineStats } from "./engine-core.ts";
export type { SequenceProgress, SequenceResult } from "./sequence.ts";
export type { StoredBlocks } from "./sequence-cache.ts";
export { fastBlockHash, textHash } from "./block-hash.ts";
export type { BlockHash, BlockHasher } from "./block-hash.ts";
export { defaultPresetId, findPreset, presetIds } from "./presets.ts";
export type { Preset } from "./presets.ts";
export { Random } from "./random.ts";
