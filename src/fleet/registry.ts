// The endpoints, and which of them serves which model. Level-triggered: discovery publishes the whole desired set and
// `reconcile` makes the registry equal to it, so that a lost event can't be wrong for long.
import type { Clock } from "../clock.ts";
import type { DynamicConfig, EndpointSpec } from "../config/types.ts";
import type { EngineAddress } from "../http/engine-connection.ts";
import type { EnginePool } from "../http/engine-pool.ts";
import type { Sweeper } from "../http/sweeper.ts";
import { Endpoint, type ModelEntry } from "./endpoint.ts";

export interface RegistryOptions {
  readonly clock: Clock;
  readonly sweeper: Sweeper<EnginePool>;
  readonly keepAliveMs: number;
  readonly engineTls: EngineAddress["tls"];
}

/** What names mean, from the configuration. */
export type Names = Pick<DynamicConfig, "aliases" | "knownModels">;

/** However often models come and go. */
const maxLost = 1000;

export class Registry {
  readonly #options: RegistryOptions;
  readonly #sinceSeconds: number;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #leaving = new Set<Endpoint>();
  #byModel = new Map<string, Endpoint[]>();
  #aliases: ReadonlyMap<string, string> = new Map();
  #configured: readonly string[] = [];
  /** Models whose last endpoint discovery has taken away, with what it said of them: they may come back. */
  readonly #lost = new Map<string, ModelEntry | undefined>();
  #synced = false;
  /** More endpoints are on their way than are listed: nobody can say yet that a model does not exist. */
  expecting = false;
  readonly #listeners: (() => void)[] = [];

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#sinceSeconds = Math.floor(options.clock.wallMs() / 1000);
  }

  /** @param listener called when endpoints or their models changed, in the order in which listeners were added */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Whether a first list was given, even an empty one. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Endpoints that discovery lists, in its order, then those that still finish requests. */
  list(): Endpoint[] {
    return [...this.#endpoints.values(), ...this.#leaving];
  }

  /**
   * Makes the registry equal to the desired set. An endpoint whose identity, models or label changed is another endpoint.
   * @param keep whether a model stays known when its last endpoint goes: where endpoints are found, somebody may have scaled it
   * to zero; where they are listed, somebody has taken it out
   * @returns endpoints whose models may have changed
   */
  reconcile(specs: readonly EndpointSpec[], { aliases, knownModels }: Names, keep = false): Endpoint[] {
    const desired = new Map(specs.map((spec) => [spec.url, spec]));
    const ready = new Map<string, Endpoint>();
    const now = this.#options.clock.nowMs();
    for (const [url, endpoint] of this.#endpoints) {
      const spec = desired.get(url);
      if (spec !== undefined && same(endpoint, spec)) continue;
      if (endpoint.state(now) === "ready") ready.set(url, endpoint);
      this.#endpoints.delete(url);
      this.#leaving.add(endpoint);
      if (keep && spec === undefined) this.#lose(endpoint);
      endpoint.leave();
    }
    const changed: Endpoint[] = [];
    for (const spec of specs) {
      const present = this.#endpoints.get(spec.url);
      if (present !== undefined) {
        if (update(present, spec)) changed.push(present);
        continue;
      }
      const { clock, sweeper, keepAliveMs, engineTls } = this.#options;
      const endpoint = new Endpoint(spec, engineTls, clock, sweeper, keepAliveMs, (gone) => {
        this.#leaving.delete(gone);
        this.#changed();
      });
      update(endpoint, spec);
      const before = ready.get(spec.url);
      if (before !== undefined && before.identity === endpoint.identity) endpoint.succeed(before);
      this.#endpoints.set(spec.url, endpoint);
    }
    this.#aliases = aliases;
    this.#configured = knownModels;
    if (!keep) this.#lost.clear();
    this.#synced = true;
    this.reindex();
    return changed;
  }

  /** An endpoint's models became known or changed. */
  reindex(): void {
    const byModel = new Map<string, Endpoint[]>();
    for (const endpoint of this.#endpoints.values()) {
      for (const model of endpoint.models) {
        const list = byModel.get(model);
        if (list === undefined) byModel.set(model, [endpoint]);
        else list.push(endpoint);
      }
    }
    this.#byModel = byModel;
    for (const model of byModel.keys()) this.#lost.delete(model);
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  #lose(endpoint: Endpoint): void {
    for (const model of endpoint.models) {
      if (this.#lost.size >= maxLost) return;
      const entry = endpoint.entries.find(({ id }) => id === model);
      this.#lost.set(model, entry);
    }
  }

  /** What a name stands for: the model itself, or an alias's target. */
  resolve(name: string): string {
    return this.#aliases.get(name) ?? name;
  }

  /** Whether a model exists, with or without an endpoint. */
  knows(model: string): boolean {
    return this.#byModel.has(model) || this.#lost.has(model) || this.#configured.includes(model);
  }

  /** Endpoints that serve a model, whatever their state; undefined = none is listed. */
  serving(model: string): readonly Endpoint[] | undefined {
    return this.#byModel.get(model);
  }

  /**
   * Whether a model that nobody serves may be one that an engine has yet to tell: an engine was not asked to the end since
   * it was listed, none has told anything, or there was no list yet.
   */
  get learning(): boolean {
    if (this.expecting || !this.#synced) return true;
    for (const endpoint of this.#endpoints.values()) {
      if (endpoint.configuredModels === null && !endpoint.asked) return true;
    }
    return this.#byModel.size === 0 && this.#endpoints.size > 0;
  }

  /** Names that a client may use, sorted. */
  names(): string[] {
    const names = new Set(this.models);
    for (const [alias, target] of this.#aliases) if (names.has(target)) names.add(alias);
    return [...names].sort();
  }

  /** Known models, each once. */
  get models(): Iterable<string> {
    if (this.#lost.size === 0 && this.#configured.length === 0) return this.#byModel.keys();
    return new Set([...this.#byModel.keys(), ...this.#configured, ...this.#lost.keys()]);
  }

  /** The union of the engines' model entries, each id once, fields kept; aliases point to their model by `root`. */
  entries(): ModelEntry[] {
    const found = new Map<string, ModelEntry>();
    for (const endpoint of this.#endpoints.values()) {
      for (const id of endpoint.models) {
        if (found.has(id)) continue;
        const entry = endpoint.entries.find((candidate) => candidate.id === id);
        found.set(id, entry ?? entryOf(id, endpoint.createdSeconds));
      }
    }
    for (const id of this.#configured) if (!found.has(id)) found.set(id, entryOf(id, this.#sinceSeconds));
    for (const [id, entry] of this.#lost) if (!found.has(id)) found.set(id, entry ?? entryOf(id, this.#sinceSeconds));
    for (const [alias, target] of this.#aliases) {
      const entry = found.get(target);
      if (entry !== undefined && !found.has(alias)) found.set(alias, { ...entry, id: alias, root: target });
    }
    return [...found.values()];
  }

  find(id: string): Endpoint | undefined {
    for (const endpoint of this.#endpoints.values()) if (endpoint.id === id) return endpoint;
    return undefined;
  }

  close(): void {
    for (const endpoint of this.list()) endpoint.pool.closeIdle();
  }
}

function entryOf(id: string, created: number): ModelEntry {
  return { id, object: "model", created, owned_by: "vllm" };
}

function same(endpoint: Endpoint, spec: EndpointSpec): boolean {
  return (
    endpoint.identity === (spec.identity ?? null) &&
    endpoint.label === spec.label &&
    JSON.stringify(endpoint.configuredModels) === JSON.stringify(spec.models)
  );
}

/** Takes over what may change while it stays the same engine. @returns whether its models may have changed */
function update(endpoint: Endpoint, spec: EndpointSpec): boolean {
  const revision = spec.modelsRevision ?? null;
  const other = endpoint.modelsRevision !== revision;
  endpoint.sleeping = spec.sleeping ?? false;
  endpoint.modelsRevision = revision;
  endpoint.kvEvents = spec.kvEvents ?? "ask";
  return other;
}
