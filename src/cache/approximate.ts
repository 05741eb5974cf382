// The approximate index: what each endpoint was sent, and so most likely holds. No tokenizer and no knowledge of the model: it
// compares hashes of the prompt's bytes. An endpoint's part holds no more than the engine's own cache and forgets in the
// engine's order; all parts together stay within a bound in bytes; an engine's own counts of hits correct it. Pure.
import { EndpointBlocks } from "./endpoint-blocks.ts";
import { promptTokens, type Prompt } from "./prompt.ts";
import type { CacheView } from "./view.ts";

export interface ApproximateIndexOptions {
  /** Memory of all parts together. */
  readonly maxBytes: number;
  /** A shorter match is none; in the unit of prompts. Absent = any counts. */
  readonly leastMatch?: number;
}

/** What an engine says about its cache (`vllm:cache_config_info`). */
export interface EngineCache {
  /** `num_gpu_blocks x block_size`; 0 = it does not say. */
  readonly capacityTokens: number;
  /** Tokens of one of its blocks: hits come in whole ones. */
  readonly blockTokens: number;
  /** Whether it caches prefixes at all. */
  readonly caching: boolean;
}

/** What is left of a prompt that was sent, until its request has ended. */
export interface Placement {
  readonly endpoint: string;
  readonly lo: number;
  readonly hi: number;
  readonly blocksPerToken: number;
}

/** Where an engine does not tell its size: what an 80 GB card holds beside a model of 8 billion parameters, roughly. */
const assumedCapacityTokens = 450_000;
const assumedBlockTokens = 16;
const defaultIndexBytes = 256 * 1024 * 1024;

/** Predictions are compared with what came true in portions of so many predicted tokens. */
const judgedTokens = 20_000;
const smallestScale = 1 / 32;

interface Part {
  readonly blocks: EndpointBlocks;
  engine: EngineCache;
  /** Believed share of the engine's capacity: less than 1 where hits were predicted that did not come. */
  scale: number;
  predicted: number;
  actual: number;
  /** It tells with its answers what it had cached. */
  reports: boolean;
  /** Of the prompts since its counters were last looked at. */
  sentTokens: number;
  sentCachedTokens: number;
}

export class ApproximateIndex implements CacheView {
  readonly complete = false;
  readonly #maxBytes: number;
  readonly #leastMatch: number;
  readonly #parts = new Map<string, Part>();
  #bytes = 0;

  constructor(options: ApproximateIndexOptions = { maxBytes: defaultIndexBytes }) {
    this.#maxBytes = options.maxBytes;
    this.#leastMatch = options.leastMatch ?? 0;
  }

  /** Memory of the index. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Blocks that it holds, of all endpoints. */
  get nodes(): number {
    let sum = 0;
    for (const part of this.#parts.values()) sum += part.blocks.nodes;
    return sum;
  }

  match(endpoint: string, prompt: Prompt): number {
    const part = this.#parts.get(endpoint);
    if (part === undefined || !part.engine.caching) return 0;
    const blocks = part.blocks.match(prompt);
    if (blocks === 0 || blocks * prompt.blockSize < this.#leastMatch) return 0;
    // in whole tokens and not in the engine's blocks, which would hide again what is the conversation's own
    if (prompt.continued && blocks * prompt.blockSize < prompt.ownFrom && part.blocks.began(prompt))
      return Math.min(Math.ceil(prompt.ownFrom / prompt.perToken), promptTokens(prompt) - 1);
    const { blockTokens } = part.engine;
    const tokens = Math.min((blocks * prompt.blockSize) / prompt.perToken, promptTokens(prompt) - 1);
    return Math.floor(tokens / blockTokens) * blockTokens;
  }

  /** A prompt goes to an endpoint: it counts at once. */
  sent(endpoint: string, prompt: Prompt): Placement | null {
    const part = this.#part(endpoint);
    if (prompt.blocks === 0 || !part.engine.caching) return null;
    const blocksPerToken = prompt.perToken / prompt.blockSize;
    part.sentTokens += promptTokens(prompt);
    part.sentCachedTokens += part.blocks.match(prompt) / blocksPerToken;
    part.blocks.record(prompt, this.#limit(part, blocksPerToken), this.#mayGrow(part));
    const last = prompt.blocks * 2;
    return { endpoint, lo: prompt.hashes[last - 2] ?? 0, hi: prompt.hashes[last - 1] ?? 0, blocksPerToken };
  }

  /** The request has ended, with so many tokens generated. */
  finished(placement: Placement, generatedTokens: number): void {
    const part = this.#parts.get(placement.endpoint);
    if (part === undefined) return;
    const { lo, hi, blocksPerToken } = placement;
    const answer = Math.round(generatedTokens * blocksPerToken);
    part.blocks.finished(lo, hi, answer, this.#limit(part, blocksPerToken), this.#mayGrow(part));
  }

  /** The engine's own counters went up by so much: for one that does not tell with each answer what it had cached. */
  counted(endpoint: string, queryTokens: number, hitTokens: number): void {
    const part = this.#parts.get(endpoint);
    if (part === undefined) return;
    const { sentTokens, sentCachedTokens } = part;
    part.sentTokens = 0;
    part.sentCachedTokens = 0;
    if (part.reports || sentTokens === 0 || queryTokens <= 0) return;
    this.#judge(part, (sentCachedTokens / sentTokens) * queryTokens, hitTokens);
  }

  /**
   * Compares what was predicted with what the engine counted. An engine that keeps less than its size says (other routers'
   * prompts, sequences that are long) is believed to be smaller; one that keeps its word grows back.
   */
  observed(endpoint: string, predictedTokens: number, actualTokens: number): void {
    const part = this.#parts.get(endpoint);
    if (part === undefined) return;
    // one that never does says nothing when it leaves them out
    if (actualTokens > 0) part.reports = true;
    if (part.reports) this.#judge(part, predictedTokens, actualTokens);
  }

  #judge(part: Part, predictedTokens: number, actualTokens: number): void {
    part.predicted += predictedTokens;
    part.actual += Math.min(actualTokens, predictedTokens);
    if (part.predicted < judgedTokens) return;
    const kept = part.actual / part.predicted;
    if (kept < 0.8) part.scale = Math.max(smallestScale, part.scale * Math.max(0.5, kept + 0.1));
    else if (kept > 0.95) part.scale = Math.min(1, part.scale * 1.1);
    part.predicted = 0;
    part.actual = 0;
  }

  /** What the engine says of its cache. */
  setEngine(endpoint: string, engine: EngineCache): void {
    const part = this.#part(endpoint);
    const blockTokens = Number.isFinite(engine.blockTokens) && engine.blockTokens >= 1 ? engine.blockTokens : 1;
    const capacityTokens = Number.isFinite(engine.capacityTokens) ? Math.max(0, engine.capacityTokens) : 0;
    part.engine = { caching: engine.caching, blockTokens, capacityTokens };
    if (!engine.caching) this.#clear(part);
  }

  /** Believed capacity in tokens; 0 = the endpoint is not known here. */
  capacityTokens(endpoint: string): number {
    const part = this.#parts.get(endpoint);
    return part === undefined ? 0 : this.#capacity(part);
  }

  /** The engine began anew: its cache is empty. */
  restarted(endpoint: string): void {
    const part = this.#parts.get(endpoint);
    if (part !== undefined) this.#clear(part);
  }

  /** Endpoints that are not among these are gone. */
  retain(endpoints: ReadonlySet<string>): void {
    for (const [endpoint, part] of this.#parts) {
      if (endpoints.has(endpoint)) continue;
      this.#bytes -= part.blocks.bytes;
      this.#parts.delete(endpoint);
    }
  }

  #clear(part: Part): void {
    this.#bytes -= part.blocks.bytes;
    part.blocks.clear();
    part.predicted = 0;
    part.actual = 0;
  }

  #part(endpoint: string): Part {
    let part = this.#parts.get(endpoint);
    if (part === undefined) {
      part = {
        blocks: new EndpointBlocks(),
        engine: { capacityTokens: 0, blockTokens: assumedBlockTokens, caching: true },
        scale: 1,
        predicted: 0,
        actual: 0,
        reports: false,
        sentTokens: 0,
        sentCachedTokens: 0,
      };
      this.#parts.set(endpoint, part);
    }
    return part;
  }

  #capacity(part: Part): number {
    return (part.engine.capacityTokens || assumedCapacityTokens) * part.scale;
  }

  #limit(part: Part, blocksPerToken: number): number {
    return Math.max(1, Math.floor(this.#capacity(part) * blocksPerToken));
  }

  /** Memory for one part: what is free, else from the largest, where this one has less than its share. */
  #mayGrow(part: Part): (bytes: number) => boolean {
    return (bytes) => {
      while (this.#bytes + bytes > this.#maxBytes) {
        if (part.blocks.bytes + bytes > this.#maxBytes / this.#parts.size) return false;
        let largest = part;
        for (const other of this.#parts.values()) if (other.blocks.bytes > largest.blocks.bytes) largest = other;
        const before = largest.blocks.bytes;
        if (largest === part) return false;
        largest.blocks.halve();
        if (largest.blocks.bytes === before) return false;
        this.#bytes -= before - largest.blocks.bytes;
      }
      this.#bytes += bytes;
      return true;
    };
  }
}
