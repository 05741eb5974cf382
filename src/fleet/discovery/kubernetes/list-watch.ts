// Keeps a copy of one collection of the API: lists it, then watches it from where the list ended, forever. Level-triggered:
// whatever happens to a watch, a new one goes on from the last version that was seen, and where the server has forgotten
// that version (410), or in doubt, the whole list is read again. What can't be read leaves the copy as it is.
//
// An object is reduced to what is wanted of it when it comes, since a fleet's pods are tens of megabytes.
import type { IncomingMessage } from "node:http";
import type { Clock } from "../../../clock.ts";
import type { DiscoveryProblem } from "../source.ts";
import type { KubernetesApi } from "./api.ts";
import { JsonLines } from "./json-lines.ts";
import { missingRight, type Collection } from "./rights.ts";

export interface ListWatchOptions<T> {
  readonly api: KubernetesApi;
  readonly collection: Collection;
  readonly labelSelector: string;
  /** Time limit of one watch; 0 = drawn from 5 to 10 minutes. */
  readonly watchTimeoutMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** What is kept of an object. */
  readonly reduce: (object: KubernetesObject) => T;
  /** The copy changed, or was read for the first time. */
  readonly onChange: () => void;
  readonly onFailure: (problem: DiscoveryProblem) => void;
  readonly onComplaint: (text: string) => void;
  readonly onRecovery: (text: string) => void;
}

/** As much of an object as every kind has; the rest is for who knows the kind. */
export interface KubernetesObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion?: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

const pageSize = 500;
/** Each page of a list, and the head of each watch, must be there in this time. */
const answerMs = 15_000;
/** A watch gets a bookmark about every minute; one that is silent for longer is no longer a watch. */
const silenceMs = 150_000;
/** Everything is listed again once in a while, whatever the watches say. */
const resyncMs = 15 * 60_000;
const firstBackoffMs = 100;
/** Short: after an outage of the API server the router should be up to date within two seconds, and routers are few. */
const maxBackoffMs = 1_000;
/** What a busy server may ask for. */
const maxRetryAfterMs = 10_000;
/** A watch that lasted so long was a good one: the next may begin at once. */
const goodWatchMs = 1_000;
/** Without the right to watch the collection is listed this often. */
const pollMs = 10_000;

/** By namespace and name. */
type Items<T> = Map<string, { readonly uid: string; readonly kept: T }>;

/** What ended a list or a watch. */
class Failure extends Error {
  readonly problem: DiscoveryProblem;
  readonly retryAfterMs: number;

  constructor(problem: DiscoveryProblem, message: string, retryAfterMs = 0) {
    super(message);
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

export class ListWatch<T> {
  readonly #options: ListWatchOptions<T>;
  readonly #stop = new AbortController();
  #items: Items<T> = new Map();
  #synced = false;
  #version = "";
  #listedMs = Number.NEGATIVE_INFINITY;
  #backoffMs = firstBackoffMs;
  #problem: string | null = null;
  #failures = 0;
  /** Without the right to watch, lists have to do. */
  #mayWatch = true;
  #staleSinceMs: number | null;

  constructor(options: ListWatchOptions<T>) {
    this.#options = options;
    this.#staleSinceMs = options.clock.nowMs();
    void this.#run();
  }

  /** Whether the whole collection was read once. */
  get synced(): boolean {
    return this.#synced;
  }

  get problem(): string | null {
    return this.#problem;
  }

  get staleSinceMs(): number | null {
    return this.#staleSinceMs;
  }

  /** What is kept of each object, by namespace and name. */
  values(): T[] {
    return [...this.#items.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { kept }]) => kept);
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        const age = clock.nowMs() - this.#listedMs;
        if (this.#version === "" || age > resyncMs || (!this.#mayWatch && age > pollMs)) await this.#list();
        const beganMs = clock.nowMs();
        await this.#watch();
        // the server ended it, as it does when the time is up
        if (clock.nowMs() - beganMs >= goodWatchMs) this.#backoffMs = firstBackoffMs;
        else await this.#wait(this.#nextBackoff());
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        await this.#failed(error);
      }
    }
  }

  async #failed(error: unknown): Promise<void> {
    const failure =
      error instanceof Failure
        ? error
        : new Failure("unreachable", error instanceof Error ? error.message : String(error));
    this.#options.onFailure(failure.problem);
    if (failure.problem === "forbidden") this.#mayWatch = false;
    if (failure.problem === "unauthorized") this.#options.api.forget();
    // only a list can say what is there now
    if (failure.problem === "expired" || failure.problem === "bad_data") this.#version = "";
    // a gap that the next list or watch closes is no outage
    if (failure.problem !== "expired" && failure.problem !== "silent") {
      this.#staleSinceMs ??= this.#options.clock.nowMs();
      this.#failures++;
      // watches break off every day, and the next one goes on where the last one ended
      if (this.#failures > 1 || !this.#synced || failure.problem !== "unreachable") this.#complain(failure.message);
    }
    await this.#wait(Math.max(failure.retryAfterMs, this.#nextBackoff()));
  }

  #complain(message: string): void {
    const text = `${this.#options.collection.path}: ${message}`;
    if (this.#problem === text) return;
    this.#problem = text;
    this.#options.onComplaint(text);
  }

  #nextBackoff(): number {
    const delay = this.#backoffMs * (0.5 + 0.5 * this.#options.random());
    this.#backoffMs = Math.min(maxBackoffMs, this.#backoffMs * 2);
    return delay;
  }

  /** A watch is up: all is well. */
  #well(): void {
    this.#mayWatch = true;
    this.#staleSinceMs = null;
    this.#failures = 0;
    if (this.#problem === null) return;
    this.#problem = null;
    this.#options.onRecovery(`${this.#options.collection.path}: read again`);
  }

  async #list(): Promise<void> {
    const found: Items<T> = new Map();
    let version = "";
    let next = "";
    do {
      const page = await this.#page(next);
      for (const object of page.items) this.#keep(found, object);
      version = page.version;
      next = page.next;
    } while (next !== "");
    this.#items = found;
    this.#version = version;
    this.#listedMs = this.#options.clock.nowMs();
    // true at this moment, and without a watch not for long
    if (this.#staleSinceMs !== null) this.#staleSinceMs = this.#listedMs;
    this.#synced = true;
    this.#options.onChange();
  }

  async #page(next: string): Promise<{ items: readonly KubernetesObject[]; version: string; next: string }> {
    const query = new URLSearchParams({ limit: String(pageSize) });
    if (next !== "") query.set("continue", next);
    const { body } = await this.#timed(answerMs, async (signal) => {
      const response = await this.#get("list", query, signal);
      return { body: await bodyOf(response) };
    });
    const list = parse(body) as {
      readonly items?: readonly KubernetesObject[];
      readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
    };
    if (!Array.isArray(list.items) || typeof list.metadata?.resourceVersion !== "string") {
      throw new Failure("bad_data", "the answer is no list");
    }
    return { items: list.items, version: list.metadata.resourceVersion, next: list.metadata.continue ?? "" };
  }

  async #watch(): Promise<void> {
    const { clock, random, watchTimeoutMs } = this.#options;
    const limitMs = watchTimeoutMs === 0 ? 300_000 * (1 + random()) : watchTimeoutMs;
    const query = new URLSearchParams({
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: this.#version,
      timeoutSeconds: String(Math.max(1, Math.round(limitMs / 1000))),
    });
    const abort = new AbortController();
    const end = (): void => abort.abort();
    this.#stop.signal.addEventListener("abort", end);
    let up = false;
    let silent = false;
    const arm = (ms: number) =>
      clock.setTimer(ms, () => {
        silent = true;
        abort.abort();
      });
    let watchdog = arm(answerMs);
    try {
      const response = await this.#get("watch", query, abort.signal);
      up = true;
      this.#well();
      const lines = new JsonLines();
      watchdog.cancel();
      watchdog = arm(silenceMs);
      for await (const chunk of response as AsyncIterable<Buffer>) {
        watchdog.cancel();
        watchdog = arm(silenceMs);
        this.#events(lines.push(chunk));
      }
    } catch (error) {
      if (silent && up) throw new Failure("silent", "the watch said nothing for long");
      if (silent) throw new Failure("unreachable", `no answer within ${answerMs / 1000} s`);
      // a watch that breaks off is nothing out of the ordinary: the next one goes on where it ended
      if (error instanceof Failure) throw error;
      throw new Failure("unreachable", error instanceof Error ? error.message : String(error));
    } finally {
      watchdog.cancel();
      this.#stop.signal.removeEventListener("abort", end);
      abort.abort();
    }
  }

  #events(lines: readonly string[]): void {
    let changed = false;
    try {
      for (const line of lines) changed = this.#event(line) || changed;
    } finally {
      // what came before an error in the same bytes counts
      if (changed) this.#options.onChange();
    }
  }

  /** @returns whether the copy changed */
  #event(line: string): boolean {
    const { type, object } = parse(line) as { readonly type?: string; readonly object?: KubernetesObject & Status };
    if (type === "ERROR") throw failureOf(object?.code ?? 500, object?.message ?? "the watch ended in an error", 0);
    const version = object?.metadata?.resourceVersion;
    if (object === undefined || typeof version !== "string")
      throw new Failure("bad_data", "an event without an object");
    this.#version = version;
    this.#backoffMs = firstBackoffMs;
    switch (type) {
      case "ADDED":
      case "MODIFIED":
        this.#keep(this.#items, object);
        return true;
      case "DELETED": {
        const key = keyOf(object);
        // another of the same name may be there already
        return this.#items.get(key)?.uid === object.metadata.uid && this.#items.delete(key);
      }
      case "BOOKMARK":
        return false;
      default:
        throw new Failure("bad_data", `an event of type ${type}`);
    }
  }

  #keep(items: Items<T>, object: KubernetesObject): void {
    items.set(keyOf(object), { uid: object.metadata.uid, kept: this.#options.reduce(object) });
  }

  /** @throws Failure when the status is not 200 */
  async #get(verb: "list" | "watch", query: URLSearchParams, signal: AbortSignal): Promise<IncomingMessage> {
    const { api, collection, labelSelector } = this.#options;
    if (labelSelector !== "") query.set("labelSelector", labelSelector);
    const response = await api.get(`${collection.path}?${query.toString()}`, signal);
    const status = response.statusCode ?? 0;
    if (status === 200) return response;
    const message = messageOf(await bodyOf(response));
    if (status === 403) throw new Failure("forbidden", missingRight(verb, collection, message));
    const retryAfterMs = Math.min(maxRetryAfterMs, Number(response.headers["retry-after"] ?? 0) * 1000) || 0;
    throw failureOf(status, message, retryAfterMs);
  }

  /** Ends a task that takes too long. */
  async #timed<R>(limitMs: number, task: (signal: AbortSignal) => Promise<R>): Promise<R> {
    const late = new AbortController();
    const timer = this.#options.clock.setTimer(limitMs, () => late.abort());
    try {
      return await task(AbortSignal.any([late.signal, this.#stop.signal]));
    } catch (error) {
      if (late.signal.aborted) throw new Failure("unreachable", `no answer within ${limitMs / 1000} s`);
      throw error;
    } finally {
      timer.cancel();
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#stop;
      const timer = this.#options.clock.setTimer(ms, done);
      function done(): void {
        timer.cancel();
        signal.removeEventListener("abort", done);
        resolve();
      }
      signal.addEventListener("abort", done);
    });
  }
}

interface Status {
  readonly code?: number;
  readonly message?: string;
}

function keyOf({ metadata }: KubernetesObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

function failureOf(status: number, message: string, retryAfterMs: number): Failure {
  if (status === 410) return new Failure("expired", message);
  if (status === 401) {
    return new Failure("unauthorized", "the API server does not accept the credentials (401); they are read again");
  }
  return new Failure("server_error", `the API server answered ${status}: ${message}`, retryAfterMs);
}

/** The message of a Status object, else the first words of whatever it is. */
function messageOf(body: string): string {
  try {
    const { message } = JSON.parse(body) as Status;
    if (typeof message === "string") return message;
  } catch {
    // a proxy's page
  }
  return body.trim().slice(0, 200);
}

function parse(json: string): object {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // told below
  }
  throw new Failure("bad_data", `not JSON: ${json.slice(0, 60)}`);
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
