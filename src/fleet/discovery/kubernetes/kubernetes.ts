// Engines in Kubernetes: a copy of the pods (or Services) of each namespace, joined to one set of endpoints. The set is
// published when every namespace was read once, and then after each change that is one for the router.
import type { Clock, Timer } from "../../../clock.ts";
import type { EndpointSpec } from "../../../config/types.ts";
import type { DiscoverySource, FoundEndpoints, SourceEvents } from "../source.ts";
import { credentials } from "./access.ts";
import { kubernetesApi, type KubernetesApi } from "./api.ts";
import { ListWatch, type KubernetesObject } from "./list-watch.ts";
import { readPod, type Found } from "./pod.ts";
import { collectionOf } from "./rights.ts";
import { readService } from "./service.ts";

export interface KubernetesOptions {
  readonly addressing: "pod-ip" | "service-name";
  /** `*` = all of them. */
  readonly namespaces: readonly string[];
  readonly labelSelector: string;
  readonly enginePort: number;
  readonly watchTimeoutMs: number;
  readonly kubeconfigFile: string | null;
  readonly context: string | null;
  readonly apiServer: string | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: SourceEvents;
  /** For tests. */
  readonly api?: KubernetesApi;
}

/** A fleet that starts sends hundreds of events a second: at most this often is a new set made of them. */
const quietMs = 50;

export class KubernetesSource implements DiscoverySource {
  readonly #options: KubernetesOptions;
  readonly #watches: readonly ListWatch<Found>[];
  #timer: Timer | null = null;
  #lastMs = Number.NEGATIVE_INFINITY;
  #published = "";
  #stopped = false;
  #mistakes: ReadonlySet<string> = new Set();

  constructor(options: KubernetesOptions) {
    this.#options = options;
    const { events, clock } = options;
    const api = options.api ?? kubernetesApi(credentials(options));
    const pods = options.addressing === "pod-ip";
    const reduce = pods
      ? (object: KubernetesObject) => readPod(object, options.enginePort)
      : (object: KubernetesObject) => readService(object);
    this.#watches = options.namespaces.map(
      (namespace) =>
        new ListWatch<Found>({
          api,
          collection: collectionOf(pods ? "pods" : "services", namespace),
          labelSelector: options.labelSelector,
          watchTimeoutMs: options.watchTimeoutMs,
          clock,
          random: options.random,
          reduce,
          onChange: () => this.#changed(),
          onFailure: events.failed,
          onComplaint: events.complain,
          onRecovery: events.recovered,
        }),
    );
  }

  get problem(): string | null {
    return this.#watches.find(({ problem }) => problem !== null)?.problem ?? null;
  }

  get staleSinceMs(): number | null {
    const since = this.#watches.flatMap(({ staleSinceMs }) => (staleSinceMs === null ? [] : [staleSinceMs]));
    return since.length === 0 ? null : Math.min(...since);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const watch of this.#watches) watch.stop();
  }

  /** The first change after a quiet time is published at once, the following ones together. */
  #changed(): void {
    if (this.#timer !== null || this.#stopped) return;
    const waitMs = Math.max(0, this.#lastMs + quietMs - this.#options.clock.nowMs());
    this.#timer = this.#options.clock.setTimer(waitMs, () => {
      this.#timer = null;
      this.#lastMs = this.#options.clock.nowMs();
      this.#publish();
    });
  }

  #publish(): void {
    if (!this.#watches.every(({ synced }) => synced)) return;
    const all = this.#watches.flatMap((watch) => watch.values());
    this.#tellMistakes(all);
    const found: FoundEndpoints = {
      endpoints: onePerAddress(all),
      expecting: all.some(({ state }) => state === "coming"),
    };
    const text = JSON.stringify(found);
    if (text === this.#published) return;
    this.#published = text;
    this.#options.events.publish(found);
  }

  #tellMistakes(all: readonly Found[]): void {
    const mistakes = new Set(all.flatMap((one) => one.mistakes));
    for (const mistake of mistakes) if (!this.#mistakes.has(mistake)) this.#options.events.complain(mistake);
    this.#mistakes = mistakes;
  }
}

/** For a moment two pods may seem to have one address: the later one has it. */
function onePerAddress(all: readonly Found[]): EndpointSpec[] {
  const byUrl = new Map<string, { readonly spec: EndpointSpec; readonly created: string }>();
  for (const { spec, created } of all) {
    if (spec === null) continue;
    const other = byUrl.get(spec.url);
    if (other === undefined || other.created < created) byUrl.set(spec.url, { spec, created });
  }
  return [...byUrl.values()].map(({ spec }) => spec);
}
