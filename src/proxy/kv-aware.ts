// `kvaware`: what engines say they hold, and prompts as tokens to compare with it. Puts the exact index, its subscriptions and
// the tokenizers together, and says of each request whether it was judged by the exact index, and if not, why. It sleeps until
// the policy wants it: without it nothing is subscribed to and no prompt is read as tokens.
import { tokenizable } from "../api/tokenize.ts";
import type { ApiName } from "../api/table.ts";
import type { Usage } from "../api/usage.ts";
import { ExactIndex, type Speculation } from "../cache/exact.ts";
import { TokenPrompt } from "../cache/token-blocks.ts";
import { layered, type CacheView } from "../cache/view.ts";
import type { Clock } from "../clock.ts";
import type { RouterConfig } from "../config/types.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import { KvEventSources } from "../fleet/kv-events/sources.ts";
import type { Registry } from "../fleet/registry.ts";
import { engineTokenizer } from "../fleet/tokens/engine-tokenizer.ts";
import { LocalTokenizer } from "../fleet/tokens/local-tokenizer.ts";
import { PromptTokens, type PromptTokensResult } from "../fleet/tokens/prompt-tokens.ts";
import type { RouterLog } from "../observe/log.ts";
import { kvMetrics, type KvLookupReason, type KvMetrics } from "../observe/kv-metrics.ts";
import type { RouterMetrics } from "../observe/router-metrics.ts";
import type { Ask } from "./prefixes.ts";

export interface KvAwareOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly config: RouterConfig;
  readonly registry: Registry;
  readonly engineKey: () => string | null;
  readonly metrics: RouterMetrics;
  readonly log: RouterLog;
  /** Asked where the exact index can't tell. */
  readonly approximate: CacheView;
}

/** A request on its endpoint. */
export interface KvPlacement {
  readonly endpoint: string;
  readonly speculation: Speculation | null;
  /** Tokens that the exact index expected to be cached; null = it was not asked. */
  readonly predicted: number | null;
}

/** Tokens of prompts that were read before. */
const tokenCacheBytes = 64 * 1024 * 1024;
/** The same complaint is not made again for so long. */
const complainMs = 60_000;

export class KvAware {
  readonly index: ExactIndex;
  readonly sources: KvEventSources;
  /** Exact where engines publish, approximate elsewhere. */
  readonly view: CacheView;
  readonly #options: KvAwareOptions;
  readonly #tokens: PromptTokens;
  readonly #metrics: KvMetrics;
  readonly #local = new Map<string, LocalTokenizer>();
  readonly #complained = new Map<string, number>();
  /** Endpoints that have told how many tokens were cached: others may leave it out. */
  readonly #tellCached = new Set<string>();
  #wanted = false;

  constructor(options: KvAwareOptions) {
    this.#options = options;
    const { clock, config, registry, engineKey, log, metrics } = options;
    this.index = new ExactIndex({ maxBytes: config.kvEvents.indexMaxBytes });
    this.#metrics = kvMetrics(metrics.registry, () => ({ index: this.index, sources: this.sources, registry }));
    this.sources = new KvEventSources({
      clock,
      index: this.index,
      engineKey,
      timeoutMs: config.timeouts.healthCheckMs,
      onState: (endpoint, state, detail) => {
        const text = `KV events of ${endpoint.id}: ${state}: ${detail}`;
        if (state === "exact" || state === "off") log.info(text, { endpoint: endpoint.id, state });
        else if (state !== "asking" && state !== "joining") log.warn(text, { endpoint: endpoint.id, state });
      },
      onRecovery: (endpoint, reason) => this.#metrics.recovered(endpoint.id, reason),
      onLag: (seconds) => this.#metrics.lagged(seconds),
    });
    this.view = layered(
      {
        complete: true,
        match: (endpoint, { byTokens }) =>
          byTokens === undefined || !this.sources.believes(endpoint) ? -1 : this.index.match(endpoint, byTokens),
      },
      options.approximate,
    );
    const engines = new Map<string, ReturnType<typeof engineTokenizer>>();
    this.#tokens = new PromptTokens({
      clock,
      limitMs: config.kvEvents.tokenizeMs,
      cacheBytes: tokenCacheBytes,
      tokenizerOf: (model) => {
        const local = this.#local.get(model);
        if (local !== undefined) return local;
        if (this.#pick(model) === null) return null;
        let tokenizer = engines.get(model);
        if (tokenizer === undefined) {
          tokenizer = engineTokenizer(() => this.#pick(model), engineKey, clock);
          // names come from engines, but an engine may name ever new ones
          if (engines.size > 1000) engines.clear();
          engines.set(model, tokenizer);
        }
        return tokenizer;
      },
    });
  }

  get wanted(): boolean {
    return this.#wanted;
  }

  /** The endpoints may have changed. */
  follow(): void {
    if (this.#wanted) this.sources.sync(this.#options.registry.list());
  }

  /** The policy may have changed. */
  sync(wanted: boolean): void {
    this.#wanted = wanted;
    this.sources.sync(wanted ? this.#options.registry.list() : []);
    if (!wanted) {
      this.#closeLocal();
      return;
    }
    const { clock, config, log } = this.#options;
    for (const [model, folder] of Object.entries(config.kvEvents.tokenizers)) {
      if (this.#local.has(model)) continue;
      const onProblem = (problem: string): void =>
        log.error(`tokenizer of ${model}: ${problem}; its prompts are only compared as text`);
      this.#local.set(model, new LocalTokenizer(folder, clock, onProblem));
    }
  }

  close(): void {
    this.sources.close();
    this.#closeLocal();
  }

  /**
   * Reads a prompt as tokens.
   * @param body complete, and seen to be a JSON object
   * @returns what is asked, with the prompt by tokens where they could be had in time
   */
  read(api: ApiName, body: Buffer, model: string, ask: Ask): Ask | Promise<Ask> {
    if (ask.prompt === null) return ask;
    const { tokenIds } = ask.prompt;
    // not of a batch, of which these are the first prompt's
    const ids = tokenIds instanceof Uint32Array && tokenIds.length === ask.promptTokens ? tokenIds : null;
    // the memory of a body is used again once its request has ended, and a slow tokenizer may outlive it
    const { ask: wanted, cacheSalt } = tokenizable(api, ids === null ? Buffer.from(body) : body, ids);
    const result = this.#tokens.read(model, wanted);
    const enter = (read: PromptTokensResult): Ask => this.#enter(ask, model, read, cacheSalt);
    return result instanceof Promise ? result.then(enter) : enter(result);
  }

  #enter(ask: Ask, model: string, result: PromptTokensResult, cacheSalt: string | null): Ask {
    const { prompt } = ask;
    if (prompt === null) return ask;
    if ("reason" in result) {
      this.#complain(model, result.reason, result.detail);
      return { ...ask, unread: result.reason };
    }
    const { tokens } = result;
    const byTokens = new TokenPrompt(tokens, this.#adapterOf(model), cacheSalt);
    return { ...ask, promptTokens: Math.max(1, tokens.length), prompt: { ...prompt, tokenIds: tokens, byTokens } };
  }

  #complain(model: string, reason: string, detail: string): void {
    if (detail === "") return;
    const { clock, log } = this.#options;
    const now = clock.nowMs();
    const last = this.#complained.get(reason) ?? Number.NEGATIVE_INFINITY;
    if (now - last < complainMs) return;
    this.#complained.set(reason, now);
    log.warn(`tokens of a prompt for ${model} could not be had (${reason}): ${detail}; it is only compared as text`);
  }

  /** The request goes to an endpoint. */
  sent(endpoint: Endpoint, ask: Ask, cachedTokens: number): KvPlacement | null {
    const { prompt } = ask;
    if (!this.#wanted || prompt === null) return null;
    const { byTokens } = prompt;
    const state = this.sources.stateOf(endpoint.id);
    const believed = this.sources.believes(endpoint.id);
    const reason: KvLookupReason = ask.unread ?? (byTokens === undefined ? "other_shape" : state);
    const exact = byTokens !== undefined && believed;
    this.#metrics.lookedUp(exact ? "exact" : "approximate", reason);
    const speculation = exact ? this.index.speculate(endpoint.id, byTokens) : null;
    return { endpoint: endpoint.id, speculation, predicted: exact ? cachedTokens : null };
  }

  /** The attempt has ended. @param usage null = it failed, or told nothing */
  ended({ endpoint, speculation, predicted }: KvPlacement, usage: Usage | null): void {
    if (speculation !== null) this.index.settle(speculation);
    if (usage === null) return;
    this.sources.served(endpoint, usage.promptTokens - usage.cachedTokens);
    if (usage.cachedTokens > 0) this.#tellCached.add(endpoint);
    if (predicted === null || !this.#tellCached.has(endpoint)) return;
    const difference = usage.cachedTokens - predicted;
    this.#metrics.predicted(difference === 0 ? "equal" : difference < 0 ? "less" : "more");
  }

  /** An adapter is listed with the model that it adapts. */
  #adapterOf(model: string): string | null {
    for (const endpoint of this.#options.registry.serving(model) ?? []) {
      const entry = endpoint.entries.find(({ id }) => id === model);
      if (entry !== undefined) return typeof entry["parent"] === "string" ? model : null;
    }
    return null;
  }

  /** The less busy of two engines, so that questions are spread. */
  #pick(model: string): Endpoint | null {
    const usable = (this.#options.registry.serving(model) ?? []).filter((endpoint) => endpoint.known);
    const draw = (): Endpoint | null => usable[Math.floor(this.#options.random() * usable.length)] ?? null;
    const [one, two] = [draw(), draw()];
    return one !== null && two !== null && two.inFlight < one.inFlight ? two : one;
  }

  #closeLocal(): void {
    for (const tokenizer of this.#local.values()) tokenizer.close();
    this.#local.clear();
  }
}
