// Keeps a subscription to every engine that publishes KV events, and the exact index fed: finds out where each engine
// publishes, opens and closes sockets as endpoints come and go, and knows of each endpoint whether what the index says of it
// can be believed, and if not, why. Between the registry and the index; it does nothing until a policy wants it.
import type { ExactIndex } from "../../cache/exact.ts";
import type { RecoveryReason } from "../../cache/kv-events/feed.ts";
import type { Clock, Timer } from "../../clock.ts";
import type { KvEventPorts } from "../../config/types.ts";
import type { Endpoint } from "../endpoint.ts";
import { askEngine } from "../engine-client.ts";
import { addressesFrom, addressesOf } from "./addresses.ts";
import { KvSubscription, type PublisherAddress } from "./subscription.ts";
import { loadEventTools, type EventTools } from "./zmq.ts";

export const kvStates = [
  "exact",
  "partial",
  "asking",
  "connecting",
  "joining",
  "disconnected",
  "silent",
  "garbage",
  "off",
  "no_events",
  "engine_connects",
  "no_package",
] as const;
/** What the index is worth for an endpoint: exact, a lower bound, or, for all others, nothing yet or nothing any more. */
export type KvState = (typeof kvStates)[number];

export interface KvSourcesOptions {
  readonly clock: Clock;
  readonly index: ExactIndex;
  readonly engineKey: () => string | null;
  readonly timeoutMs: number;
  /** An endpoint's state became another; the detail is for people. */
  readonly onState: (endpoint: Endpoint, state: KvState, detail: string) => void;
  readonly onRecovery: (endpoint: Endpoint, reason: RecoveryReason) => void;
  /** A message of events came. @param seconds since its engine wrote it */
  readonly onLag: (seconds: number) => void;
  /** Replaced in tests. */
  readonly loadTools?: () => Promise<EventTools>;
}

/** One rank. */
interface Rank {
  readonly address: PublisherAddress;
  readonly source: number;
  readonly subscription: KvSubscription;
}

interface Entry {
  endpoint: Endpoint;
  /** What the configuration said when the entry was made. */
  readonly configured: string;
  ranks: readonly Rank[];
  /** Where there are no ranks: why. */
  state: KvState;
  detail: string;
  told: KvState | null;
  /** When the engine is asked, by the clock. */
  askMs: number;
  asking: boolean;
}

const tickMs = 1_000;
/** A first answer is wanted soon after the engine is ready; one that publishes nothing may be restarted with other flags. */
const askAgainMs = 30_000;
/** A connection that is gone for so long may mean that the engine now publishes elsewhere. */
const lostMs = 10_000;

/** From bad to good: an endpoint is as good as the worst of its ranks. */
const byWorth: readonly KvState[] = kvStates.toReversed();

export class KvEventSources {
  readonly #options: KvSourcesOptions;
  readonly #entries = new Map<string, Entry>();
  #tools: EventTools | null = null;
  #toolsProblem: string | null = null;
  #loading = false;
  #timer: Timer | null = null;

  constructor(options: KvSourcesOptions) {
    this.#options = options;
  }

  /** Follows these endpoints and no others; none at all where no policy wants events. */
  sync(endpoints: readonly Endpoint[]): void {
    const present = new Map(endpoints.filter((one) => !one.leaving).map((endpoint) => [endpoint.id, endpoint]));
    for (const [id, entry] of this.#entries) {
      const endpoint = present.get(id);
      if (endpoint !== undefined && JSON.stringify(endpoint.kvEvents) === entry.configured) {
        entry.endpoint = endpoint;
        continue;
      }
      this.#closeRanks(entry);
      this.#entries.delete(id);
    }
    const now = this.#options.clock.nowMs();
    for (const [id, endpoint] of present) {
      if (this.#entries.has(id)) continue;
      this.#entries.set(id, {
        endpoint,
        configured: JSON.stringify(endpoint.kvEvents),
        ranks: [],
        state: "asking",
        detail: "it was not asked yet",
        told: null,
        askMs: now,
        asking: false,
      });
    }
    if (this.#entries.size > 0 && this.#timer === null) this.#tick();
    if (this.#entries.size === 0) this.#stop();
  }

  /** Whether the index can be believed for an endpoint. */
  believes(endpointId: string): boolean {
    const state = this.stateOf(endpointId);
    return state === "exact" || state === "partial";
  }

  stateOf(endpointId: string): KvState {
    const entry = this.#entries.get(endpointId);
    return entry === undefined ? "off" : stateOf(entry);
  }

  /** For people. */
  detailOf(endpointId: string): string {
    const entry = this.#entries.get(endpointId);
    return entry === undefined ? "nobody asked for its events" : detailOf(entry);
  }

  /** Blocks that an endpoint holds, by the index. */
  blocksOf(endpointId: string): number {
    let sum = 0;
    for (const { source } of this.#entries.get(endpointId)?.ranks ?? []) sum += this.#options.index.held(source);
    return sum;
  }

  /** What came of an endpoint's events since they are followed. */
  countsOf(endpointId: string): Readonly<Record<"stored" | "removed" | "cleared" | "ignored" | "bad", number>> {
    const sum = { stored: 0, removed: 0, cleared: 0, ignored: 0, bad: 0 };
    for (const { source, subscription } of this.#entries.get(endpointId)?.ranks ?? []) {
      const counts = this.#options.index.counts(source);
      if (counts === null) continue;
      sum.stored += counts.stored;
      sum.removed += counts.removed;
      sum.cleared += counts.cleared;
      sum.ignored += counts.ignored;
      sum.bad += subscription.badMessages;
    }
    return sum;
  }

  get endpoints(): Iterable<string> {
    return this.#entries.keys();
  }

  /**
   * A request has ended on an endpoint.
   * @param computed tokens of its prompt that were not cached; when they fill a block, an event of it must come
   */
  served(endpointId: string, computed: number): void {
    const entry = this.#entries.get(endpointId);
    const [rank, another] = entry?.ranks ?? [];
    // with several ranks nobody knows which one had it
    if (rank === undefined || another !== undefined) return;
    if (computed >= (this.#options.index.blockSize(endpointId) || assumedBlock)) rank.subscription.served();
  }

  close(): void {
    for (const entry of this.#entries.values()) this.#closeRanks(entry);
    this.#entries.clear();
    this.#stop();
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  readonly #tick = (): void => {
    const { clock } = this.#options;
    this.#timer = clock.setTimer(tickMs, this.#tick);
    const now = clock.nowMs();
    for (const entry of this.#entries.values()) {
      for (const { subscription } of entry.ranks) subscription.tick();
      const lost = entry.ranks.some(({ subscription }) => subscription.disconnectedMs > lostMs);
      if (!entry.asking && (entry.ranks.length === 0 || lost) && now >= entry.askMs) void this.#find(entry);
      this.#tell(entry);
    }
  };

  #tell(entry: Entry): void {
    const state = stateOf(entry);
    if (state === entry.told) return;
    entry.told = state;
    this.#options.onState(entry.endpoint, state, detailOf(entry));
  }

  /** Finds out where an engine publishes, and subscribes. */
  async #find(entry: Entry): Promise<void> {
    const { kvEvents } = entry.endpoint;
    if (kvEvents === "off") {
      this.#without(entry, "off", "the configuration says so");
      entry.askMs = Number.POSITIVE_INFINITY;
      return;
    }
    entry.askMs = this.#options.clock.nowMs() + askAgainMs;
    if (this.#tools === null) {
      void this.#load();
      if (this.#toolsProblem !== null) this.#without(entry, "no_package", this.#toolsProblem);
      else entry.askMs = 0;
      return;
    }
    entry.asking = true;
    const ranks = kvEvents === "ask" ? await this.#ask(entry) : this.#configured(entry, kvEvents);
    entry.asking = false;
    if (this.#entries.get(entry.endpoint.id) === entry && ranks !== null) this.#subscribe(entry, ranks);
    if (this.#entries.get(entry.endpoint.id) === entry) this.#tell(entry);
  }

  #configured({ endpoint }: Entry, ports: KvEventPorts): PublisherAddress[] {
    return addressesOf(ports, new URL(endpoint.url).hostname);
  }

  async #ask(entry: Entry): Promise<readonly PublisherAddress[] | null> {
    const { endpoint } = entry;
    const { clock, engineKey, timeoutMs } = this.#options;
    if (!endpoint.known) {
      entry.askMs = 0;
      return null;
    }
    try {
      const { status, body } = await askEngine(
        endpoint,
        "GET",
        "/kv_event_sources",
        null,
        engineKey(),
        timeoutMs,
        clock,
      );
      if (status !== 200) {
        this.#without(
          entry,
          "no_events",
          `/kv_event_sources answered ${status}: name its ports with --static-kv-events`,
        );
        return null;
      }
      const found = addressesFrom(JSON.parse(body.toString("utf8")), new URL(endpoint.url).hostname);
      if ("ranks" in found) return found.ranks;
      this.#without(entry, found.problem, found.detail);
    } catch (error) {
      // an engine that does not answer is the health checks' business; what is known of its publisher stays
      entry.detail = `/kv_event_sources: ${error instanceof Error ? error.message : String(error)}`;
      entry.askMs = clock.nowMs() + tickMs;
    }
    return null;
  }

  async #load(): Promise<void> {
    if (this.#loading || this.#toolsProblem !== null) return;
    this.#loading = true;
    try {
      this.#tools = await (this.#options.loadTools ?? loadEventTools)();
    } catch (error) {
      this.#toolsProblem = error instanceof Error ? error.message : String(error);
    }
    if (this.#timer === null) return;
    this.#stop();
    this.#tick();
  }

  #without(entry: Entry, state: KvState, detail: string): void {
    this.#closeRanks(entry);
    entry.state = state;
    entry.detail = detail;
  }

  #subscribe(entry: Entry, addresses: readonly PublisherAddress[]): void {
    const tools = this.#tools;
    if (tools === null) return;
    const same = JSON.stringify(addresses) === JSON.stringify(entry.ranks.map(({ address }) => address));
    if (same) return;
    this.#closeRanks(entry);
    const { clock, index, onRecovery, onLag } = this.#options;
    const { endpoint } = entry;
    try {
      for (const address of addresses) {
        const source = index.addSource(endpoint.id);
        const subscription = new KvSubscription({
          tools,
          clock,
          address,
          clear: () => index.clear(source),
          apply: (batch) => index.apply(source, batch),
          onRecovery: (reason) => onRecovery(endpoint, reason),
          onLag,
        });
        entry.ranks = [...entry.ranks, { address, source, subscription }];
      }
    } catch (error) {
      this.#without(entry, "no_events", error instanceof Error ? error.message : String(error));
    }
  }

  #closeRanks(entry: Entry): void {
    for (const { source, subscription } of entry.ranks) {
      subscription.close();
      this.#options.index.removeSource(source);
    }
    entry.ranks = [];
  }
}

/** Where no event has told the size of a block. */
const assumedBlock = 128;

function stateOf(entry: Entry): KvState {
  if (entry.ranks.length === 0) return entry.state;
  let worst = 0;
  let state: KvState = "exact";
  for (const { subscription } of entry.ranks) {
    const worth = byWorth.length - byWorth.indexOf(subscription.state);
    if (worth <= worst) continue;
    worst = worth;
    state = subscription.state;
  }
  return state;
}

function detailOf(entry: Entry): string {
  if (entry.ranks.length === 0) return entry.detail;
  const state = stateOf(entry);
  const rank = entry.ranks.find(({ subscription }) => subscription.state === state);
  if (rank === undefined) return state;
  const { address, subscription } = rank;
  switch (state) {
    case "exact":
      return `follows ${address.events}`;
    case "partial":
      return partialWords[subscription.partial ?? "messages_lost"];
    case "disconnected":
      return `the connection to ${address.events} is gone`;
    case "silent":
      return `${address.events} says nothing of what requests must have stored: is that its port, and its topic ${JSON.stringify(address.topic)}?`;
    case "garbage":
      return `${address.events} sends what are no KV events: ${subscription.lastBad ?? ""}`;
    default:
      return `no answer from ${address.events} yet`;
  }
}

const partialWords = {
  late_join: "joined late: what was stored before and is not in the replay buffer is not known",
  messages_lost: "messages were lost that can't be had again: what was stored before them is not known",
  bad_message: "a message could not be read",
  bad_event: "an event could not be read",
} as const;
