// Engines by DNS: all addresses of a name on one port, or hosts and ports of its SRV records. Looked up again when the
// records end, as their TTL says (Node does not tell that of SRV records: the shortest of their hosts' addresses counts).
import { Resolver } from "node:dns/promises";
import type { Clock, Timer } from "../../clock.ts";
import type { EndpointSpec } from "../../config/types.ts";
import type { DiscoverySource, SourceEvents } from "./source.ts";

export interface DnsOptions {
  /** `host`, `host:port`, or the name of SRV records, which begins with `_`. */
  readonly names: readonly string[];
  /** Empty = the system's. */
  readonly servers: readonly string[];
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: SourceEvents;
}

const defaultPort = 8000;
/** No name is looked up more often. */
const shortestMs = 1_000;
const firstBackoffMs = 250;
const maxBackoffMs = 5_000;
/** For one server, each of two tries. */
const answerMs = 2_500;

/** Codes that are answers: the name, or such a record of it, does not exist. */
const empty = new Set(["ENODATA", "ENOTFOUND"]);

export class DnsSource implements DiscoverySource {
  readonly #resolver = new Resolver({ timeout: answerMs, tries: 2 });
  readonly #options: DnsOptions;
  readonly #names: readonly Name[];
  #published = "";
  #stopped = false;

  constructor(options: DnsOptions) {
    this.#options = options;
    if (options.servers.length > 0) this.#resolver.setServers(options.servers);
    this.#names = options.names.map((name) => new Name(name, this.#resolver, options, () => this.#changed()));
  }

  get problem(): string | null {
    return this.#names.find(({ problem }) => problem !== null)?.problem ?? null;
  }

  get staleSinceMs(): number | null {
    const since = this.#names.flatMap(({ staleSinceMs }) => (staleSinceMs === null ? [] : [staleSinceMs]));
    return since.length === 0 ? null : Math.min(...since);
  }

  stop(): void {
    this.#stopped = true;
    for (const name of this.#names) name.stop();
    // a question that is under way would keep the process
    this.#resolver.cancel();
  }

  #changed(): void {
    if (this.#stopped || !this.#names.every(({ origins }) => origins !== null)) return;
    const urls = [...new Set(this.#names.flatMap(({ origins }) => origins ?? []))].sort();
    const endpoints = urls.map((url): EndpointSpec => ({ url, models: null, label: null, modelType: null }));
    const text = JSON.stringify(urls);
    if (text === this.#published) return;
    this.#published = text;
    this.#options.events.publish({ endpoints, expecting: false });
  }
}

interface Records {
  readonly addresses: readonly string[];
  /** Seconds; null = nothing lives. */
  readonly ttl: number | null;
}

/** One name, looked up for ever. */
class Name {
  /** URLs of the engines; null = not known yet. */
  origins: readonly string[] | null = null;
  problem: string | null = null;
  staleSinceMs: number | null;
  readonly #name: string;
  readonly #resolver: Resolver;
  readonly #options: DnsOptions;
  readonly #onChange: () => void;
  /** Last good answer by host and family: one that fails now is not gone. */
  readonly #known = new Map<string, Records>();
  #timer: Timer | null = null;
  #backoffMs = firstBackoffMs;
  #stopped = false;
  #wasEmpty = false;

  constructor(name: string, resolver: Resolver, options: DnsOptions, onChange: () => void) {
    this.#name = name.replace(/\.$/, "");
    this.#resolver = resolver;
    this.#options = options;
    this.#onChange = onChange;
    this.staleSinceMs = options.clock.nowMs();
    void this.#look();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    const { events, clock, random, refreshMs } = this.#options;
    let waitMs: number;
    try {
      const { origins, ttl } = await this.#resolve();
      if (this.#stopped) return;
      this.#backoffMs = firstBackoffMs;
      this.staleSinceMs = null;
      if (this.problem !== null) {
        this.problem = null;
        events.recovered(`DNS ${this.#name}: answered again`);
      }
      waitMs = Math.min(refreshMs, Math.max(shortestMs, (ttl ?? 0) * 1000));
      // The last engines are not given up for one answer: servers that reload say for a moment that there is nothing.
      const doubtful = origins.length === 0 && (this.origins?.length ?? 0) > 0 && !this.#wasEmpty;
      this.#wasEmpty = origins.length === 0;
      if (!doubtful) {
        this.origins = origins;
        this.#onChange();
      }
    } catch (error) {
      if (this.#stopped) return;
      this.staleSinceMs ??= clock.nowMs();
      events.failed("unreachable");
      const text = `DNS ${this.#name}: ${error instanceof Error ? error.message : String(error)}`;
      if (text !== this.problem) events.complain(text);
      this.problem = text;
      waitMs = this.#backoffMs * (0.5 + 0.5 * random());
      this.#backoffMs = Math.min(maxBackoffMs, this.#backoffMs * 2);
    }
    this.#timer = clock.setTimer(waitMs, () => void this.#look());
  }

  async #resolve(): Promise<{ origins: string[]; ttl: number | null }> {
    const [host = "", port = String(defaultPort)] = this.#name.split(":");
    const targets = host.startsWith("_") ? await this.#service(host) : [{ host, port: Number(port) }];
    const found = await Promise.all(targets.map(async (target) => ({ ...target, ...(await this.#host(target.host)) })));
    const wanted = new Set(targets.map((target) => target.host));
    for (const key of this.#known.keys()) if (!wanted.has(key.slice(2))) this.#known.delete(key);
    const origins = found.flatMap((target) =>
      target.addresses.map((address) => {
        const literal = address.includes(":") ? `[${address}]` : address;
        return new URL(`http://${literal}:${target.port}`).origin;
      }),
    );
    return { origins: [...new Set(origins)].sort(), ttl: shortest(found.map(({ ttl }) => ttl)) };
  }

  /** Hosts and ports of the SRV records with the best priority. */
  async #service(name: string): Promise<{ host: string; port: number }[]> {
    const records = await this.#resolver.resolveSrv(name).catch(noRecords);
    const best = Math.min(...records.map(({ priority }) => priority));
    return records
      .filter(({ priority, name: host }) => priority === best && host !== "")
      .map(({ name: host, port }) => ({ host, port }));
  }

  /** Addresses of both families. Throws when a failure leaves nothing to go by. */
  async #host(host: string): Promise<Records> {
    const families = [
      ["4", () => this.#resolver.resolve4(host, { ttl: true })],
      ["6", () => this.#resolver.resolve6(host, { ttl: true })],
    ] as const;
    const answers = await Promise.allSettled(
      families.map(async ([family, ask]) => {
        const records = await ask().catch(noRecords);
        const answer = {
          addresses: records.map(({ address }) => address),
          ttl: shortest(records.map(({ ttl }) => ttl)),
        };
        this.#known.set(`${family} ${host}`, answer);
        return answer;
      }),
    );
    const records = families.flatMap(([family]) => this.#known.get(`${family} ${host}`) ?? []);
    const addresses = records.flatMap((answer) => answer.addresses);
    const failed = answers.find((answer) => answer.status === "rejected");
    // many servers can't be asked for the other family, which is no loss; but "nothing" is not to be had from a failure
    const allFailed = answers.every(({ status }) => status === "rejected");
    if (failed !== undefined && (allFailed || addresses.length === 0)) throw failed.reason;
    return {
      addresses,
      ttl: shortest(records.map(({ ttl }) => ttl)),
    };
  }
}

/** An answer that there is nothing is an answer. */
function noRecords(error: unknown): [] {
  if (error instanceof Error && "code" in error && empty.has(String(error.code))) return [];
  throw error;
}

function shortest(ttls: readonly (number | null)[]): number | null {
  const known = ttls.filter((ttl) => ttl !== null);
  return known.length === 0 ? null : Math.min(...known);
}
