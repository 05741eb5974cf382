// An API server in memory that keeps history as a real one does: versions, pages of one snapshot, watches from a version,
// compaction, and every way to fail. For properties: it knows the truth that a follower has to come to.
import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import type { KubernetesApi } from "../../../src/fleet/discovery/kubernetes/api.ts";
import { event, pod, podList, type PodOptions } from "./api-server.ts";

interface Change {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: object;
}

interface OpenWatch {
  readonly stream: PassThrough;
  /** Accepts events and delivers none, as a connection does whose other end is gone. */
  silent: boolean;
}

const pageSize = 3;

export class ModelApi implements KubernetesApi {
  readonly pods = new Map<string, PodOptions>();
  readonly #changes: Change[] = [];
  #watches: OpenWatch[] = [];
  #version = 1;
  #forgotten = 0;
  #uid = 0;
  /** What the next requests end in: a status, or a connection that is refused. */
  readonly faults: (number | "refused")[] = [];

  forget(): void {}

  create(name: string): void {
    if (this.pods.has(name)) return;
    // addresses are few, so that they come back
    const ip = `10.0.0.${this.#uid % 4}`;
    this.#set("ADDED", { name, uid: `uid-${++this.#uid}`, ip, ready: false });
  }

  flip(name: string): void {
    const old = this.pods.get(name);
    if (old !== undefined) this.#set("MODIFIED", { ...old, ready: old.ready !== true });
  }

  remove(name: string): void {
    const old = this.pods.get(name);
    if (old === undefined) return;
    this.pods.delete(name);
    this.#tell({ version: ++this.#version, type: "DELETED", object: pod({ ...old, version: this.#version }) });
  }

  bookmark(): void {
    for (const { stream, silent } of this.#watches) {
      if (!silent) {
        stream.write(event("BOOKMARK", { kind: "Pod", metadata: { resourceVersion: String(this.#version) } }));
      }
    }
  }

  /** All that happened is forgotten; what is there stays. */
  compact(): void {
    this.#forgotten = this.#version;
  }

  cut(): void {
    for (const { stream } of this.#watches.splice(0)) stream.destroy(new Error("read ECONNRESET"));
  }

  end(): void {
    for (const { stream } of this.#watches.splice(0)) stream.end();
  }

  silence(): void {
    for (const watch of this.#watches) watch.silent = true;
  }

  get(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const fault = this.faults.shift();
    if (fault === "refused") return Promise.reject(new Error("connect ECONNREFUSED"));
    const query = new URL(path, "http://model").searchParams;
    if (fault !== undefined) return Promise.resolve(whole(fault, "{}"));
    return Promise.resolve(query.get("watch") === "true" ? this.#watch(query, signal) : this.#list(query));
  }

  #list(query: URLSearchParams): IncomingMessage {
    const [version, start] = (query.get("continue") ?? `${this.#version}:0`).split(":").map(Number);
    if (version === undefined || start === undefined || version < this.#forgotten) return whole(410, "{}");
    const all = this.#at(version);
    const next = start + pageSize < all.length ? `${version}:${start + pageSize}` : "";
    return whole(200, podList(all.slice(start, start + pageSize), version, next).body);
  }

  /** Everything as it was at a version. */
  #at(version: number): object[] {
    const found = new Map<string, object>();
    for (const change of this.#changes) {
      if (change.version > version) break;
      const { name } = (change.object as { metadata: { name: string } }).metadata;
      if (change.type === "DELETED") found.delete(name);
      else found.set(name, change.object);
    }
    return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  #watch(query: URLSearchParams, signal: AbortSignal): IncomingMessage {
    const from = Number(query.get("resourceVersion"));
    const stream = new PassThrough();
    signal.addEventListener("abort", () => stream.destroy(new Error("aborted")));
    if (from < this.#forgotten) stream.end(event("ERROR", { code: 410, message: "too old resource version" }));
    else {
      for (const change of this.#changes) if (change.version > from) stream.write(event(change.type, change.object));
      this.#watches.push({ stream, silent: false });
    }
    return Object.assign(stream, { statusCode: 200, headers: {} }) as unknown as IncomingMessage;
  }

  #set(type: "ADDED" | "MODIFIED", options: PodOptions): void {
    this.pods.set(options.name, options);
    this.#tell({ version: ++this.#version, type, object: pod({ ...options, version: this.#version }) });
  }

  #tell(change: Change): void {
    this.#changes.push(change);
    for (const { stream, silent } of this.#watches) if (!silent) stream.write(event(change.type, change.object));
  }
}

function whole(status: number, body: string): IncomingMessage {
  const stream = new PassThrough();
  stream.end(body);
  return Object.assign(stream, { statusCode: status, headers: {} }) as unknown as IncomingMessage;
}
