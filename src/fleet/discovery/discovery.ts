// Joins a source of endpoints to the registry: one source at a time, its whole sets into `reconcile`. When the
// configuration names another source, the endpoints of the old one stay until the new one has published its first set.
import type { Clock } from "../../clock.ts";
import type { DiscoveryConfig, DynamicConfig, RouterConfig } from "../../config/types.ts";
import type { HealthMonitor } from "../health.ts";
import type { Names, Registry } from "../registry.ts";
import { DnsSource } from "./dns.ts";
import { KubernetesSource } from "./kubernetes/kubernetes.ts";
import type { DiscoveryProblem, DiscoverySource, FoundEndpoints, SourceEvents } from "./source.ts";

export interface DiscoveryOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly config: Pick<RouterConfig, "dns" | "kubernetes">;
  readonly registry: Registry;
  readonly health: HealthMonitor;
  readonly onFailure: (problem: DiscoveryProblem) => void;
  readonly onComplaint: (text: string) => void;
  readonly onRecovery: (text: string) => void;
  /** A set was put in force. */
  readonly onUpdate: () => void;
}

export class Discovery {
  readonly #options: DiscoveryOptions;
  #config: DiscoveryConfig = { kind: "static" };
  #source: DiscoverySource | null = null;
  #found: FoundEndpoints = { endpoints: [], expecting: false };
  #names: Names = { aliases: new Map(), knownModels: [] };

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /** Follows the configuration, the first and each later one. */
  apply(next: DynamicConfig): void {
    this.#names = next;
    const changed = JSON.stringify(next.discovery) !== JSON.stringify(this.#config);
    this.#config = next.discovery;
    if (next.discovery.kind === "static") {
      this.stop();
      this.#putInForce({ endpoints: next.endpoints, expecting: false });
      return;
    }
    // aliases may be new; nothing is published before a source has told its first set
    if (this.#options.registry.synced) this.#putInForce(this.#found);
    if (changed || this.#source === null) {
      this.stop();
      this.#source = this.#start(next.discovery);
    }
  }

  /** What keeps the source from being up to date; null = nothing. */
  get problem(): string | null {
    return this.#source?.problem ?? null;
  }

  /** For how long the endpoints may have been out of date; 0 = they are not. */
  get staleSeconds(): number {
    const since = this.#source?.staleSinceMs ?? null;
    return since === null ? 0 : (this.#options.clock.nowMs() - since) / 1000;
  }

  stop(): void {
    this.#source?.stop();
    this.#source = null;
  }

  #start(config: Exclude<DiscoveryConfig, { readonly kind: "static" }>): DiscoverySource {
    const { clock, random, config: settings, onFailure, onComplaint, onRecovery } = this.#options;
    const events: SourceEvents = {
      publish: (found) => this.#putInForce(found),
      failed: onFailure,
      complain: onComplaint,
      recovered: onRecovery,
    };
    if (config.kind === "dns") return new DnsSource({ ...config, ...settings.dns, clock, random, events });
    return new KubernetesSource({ ...config, ...settings.kubernetes, clock, random, events });
  }

  #putInForce(found: FoundEndpoints): void {
    this.#found = found;
    const { registry, health, onUpdate } = this.#options;
    registry.expecting = found.expecting;
    const changedModels = registry.reconcile(found.endpoints, this.#names, this.#config.kind !== "static");
    health.sync();
    for (const endpoint of changedModels) health.hurry(endpoint);
    onUpdate();
  }
}
