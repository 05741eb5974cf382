// The engines behind one server: one per data-parallel rank, each with its own cache, counters and KV events. Built by the
// app; a request is given one of them for life. It must never move a request between ranks.

import type { Clock } from "../../clock.ts";
import { EngineCore, fastBlockHash } from "../core/index.ts";
import type { EngineObserver } from "../core/index.ts";
import { resolveKvEventsConfig } from "../kv-events/config.ts";
import type { ResolvedKvEventsConfig } from "../kv-events/config.ts";
import { KvEventLog } from "../kv-events/event-log.ts";
import { KvEventPublisher } from "../kv-events/publisher.ts";
import type { PublisherOptions } from "../kv-events/publisher.ts";
import { sha256BlockHasher } from "../kv-events/sha256.ts";
import type { ResolvedOptions } from "../options.ts";
import type { Adapters } from "./adapters.ts";
import { MetricsRecorder } from "./metrics.ts";

export interface RankSurroundings {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  /** The server's own idea of the time. */
  readonly wallMs: () => number;
  readonly adapters: Adapters;
  /** Called when a sequence has ended. */
  readonly ended: () => void;
  readonly disturb: PublisherOptions["disturb"];
}

export class Rank {
  readonly core: EngineCore;
  readonly metrics: MetricsRecorder;
  readonly kvConfig: ResolvedKvEventsConfig | null;
  readonly #log: KvEventLog | null;
  readonly #surroundings: RankSurroundings;
  #publisher: KvEventPublisher | null = null;

  constructor(rank: number, surroundings: RankSurroundings) {
    const { options, clock, adapters, wallMs, ended } = surroundings;
    this.#surroundings = surroundings;
    this.metrics = new MetricsRecorder(options, wallMs() / 1000, rank);
    const config =
      options.kvEvents === null ? null : resolveKvEventsConfig(options.kvEvents, options.kvPortOffset + rank);
    this.kvConfig = config;
    const log =
      config?.publisher === "zmq"
        ? new KvEventLog({
            rank,
            blockSize: options.blockSize,
            encoding: options.kvEventsEncoding,
            intHashes: options.kvEventsIntHashes,
            wallMs,
            adapterId: (name) => adapters.idOf(name),
            publish: (payload) => this.#publisher?.publish(payload),
          })
        : null;
    this.#log = log;
    const { metrics } = this;
    const observer: EngineObserver = {
      step(prefillTokens, decodeTokens) {
        metrics.step(prefillTokens, decodeTokens);
        adapters.note(wallMs());
        log?.flush();
      },
      token: (first, gapMs) => metrics.token(first, gapMs),
      finished(result) {
        metrics.finished(result);
        ended();
      },
      ...(log === null ? {} : { stored: (blocks) => log.stored(blocks), removed: (hash) => log.removed(hash) }),
    };
    this.core = new EngineCore({
      clock,
      preset: options.preset,
      speed: options.speed,
      maxModelLen: options.maxModelLen,
      maxNumSeqs: options.maxNumSeqs,
      maxNumBatchedTokens: options.maxNumBatchedTokens,
      blockSize: options.blockSize,
      numGpuBlocks: options.numGpuBlocks,
      prefixCaching: options.enablePrefixCaching,
      policy: options.schedulingPolicy,
      seed: options.seed,
      hasher: log === null ? fastBlockHash : sha256BlockHasher(options.prefixCachingHashAlgo),
      ...(options.loraModules.length > 0 || options.allowRuntimeLora ? { maxAdapters: options.maxLoras } : {}),
      observer,
    });
    metrics.attach(this.core);
  }

  get kvEvents(): KvEventPublisher | null {
    return this.#publisher;
  }

  async openKvEvents(): Promise<void> {
    if (this.#log === null || this.kvConfig === null) return;
    this.#publisher = await KvEventPublisher.open({
      config: this.kvConfig,
      framing: this.#surroundings.options.kvReplayFraming,
      disturb: this.#surroundings.disturb,
    });
  }

  /** As `/reset_prefix_cache`: the event leaves with the next step. */
  resetPrefixCache(): boolean {
    const done = this.core.resetPrefixCache();
    if (done) this.#log?.cleared();
    return done;
  }

  close(): void {
    this.#publisher?.close();
  }
}
