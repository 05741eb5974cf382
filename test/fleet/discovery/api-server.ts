// An API server for tests of discovery: real sockets, answers that the test gives or that were recorded from a real one
// (fixtures/record.mjs). It must not use the code under test.
import { readFileSync } from "node:fs";
import http, { type ServerResponse } from "node:http";
import type { TestContext } from "node:test";
import { temporaryFile } from "../../helpers/files.ts";

export interface Recorded {
  readonly status: number;
  readonly body: string;
}

export const recorded = JSON.parse(
  readFileSync(new URL("fixtures/recorded.json", import.meta.url), "utf8"),
) as Readonly<
  Record<
    | "emptyList"
    | "list"
    | "firstPage"
    | "secondPage"
    | "watch"
    | "lateList"
    | "unauthorized"
    | "forbidden"
    | "badSelector"
    | "expiredPage"
    | "expiredWatch",
    Recorded
  >
>;

export interface ApiRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly response: ServerResponse;
  /** The router has gone. */
  gone: boolean;
}

type Handler = (request: ApiRequest) => void;

export class ApiServer {
  readonly #server: http.Server;
  readonly lists: ApiRequest[] = [];
  readonly watches: ApiRequest[] = [];
  onList: Handler = (request) => answer(request, recorded.list);
  /** Watches stay open and silent unless the test says something. */
  onWatch: Handler = (request) => openWatch(request);
  url = "";

  constructor() {
    this.#server = http.createServer((incoming, response) => {
      const url = new URL(incoming.url ?? "/", "http://server");
      const request: ApiRequest = {
        path: url.pathname,
        query: url.searchParams,
        authorization: incoming.headers.authorization,
        response,
        gone: false,
      };
      response.on("close", () => (request.gone = true));
      const watch = url.searchParams.get("watch") === "true";
      (watch ? this.watches : this.lists).push(request);
      (watch ? this.onWatch : this.onList)(request);
    });
  }

  async listen(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    const address = this.#server.address();
    if (typeof address !== "object" || address === null) throw new Error("no address");
    this.url = `http://127.0.0.1:${address.port}`;
  }

  /** The watch that is open. */
  get watch(): ApiRequest {
    const last = this.watches.at(-1);
    if (last === undefined || last.gone) throw new Error("no watch is open");
    return last;
  }

  /** Ends all connections; nobody listens any more. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Ends all connections, as a restart does. */
  cut(): void {
    this.#server.closeAllConnections();
  }
}

export async function startApiServer(t: TestContext): Promise<ApiServer> {
  const server = new ApiServer();
  await server.listen();
  t.after(() => server.close());
  return server;
}

export function answer(
  { response }: ApiRequest,
  { status, body }: Recorded,
  headers: http.OutgoingHttpHeaders = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
}

export function openWatch({ response }: ApiRequest): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
}

/** A kubeconfig for it, with what else its user has. */
export function kubeconfigFor(t: TestContext, url: string, user: object = {}): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server: url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "test", user }],
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    "current-context": "test",
  };
  return temporaryFile(t, "kubeconfig", JSON.stringify(config));
}

export interface PodOptions {
  readonly name: string;
  readonly uid?: string;
  readonly ip?: string;
  readonly ready?: boolean;
  readonly port?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly terminating?: boolean;
  readonly version?: number;
  readonly namespace?: string;
  readonly created?: string;
}

/** A pod with the fields that matter. */
export function pod(options: PodOptions): object {
  const { name, uid = `uid-${name}`, ip, ready = true, port, version = 1, namespace = "default" } = options;
  return {
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion: String(version),
      creationTimestamp: options.created ?? "2026-01-01T00:00:00Z",
      ...(options.terminating === true ? { deletionTimestamp: "2026-01-01T00:01:00Z" } : {}),
      ...(options.labels === undefined ? {} : { labels: options.labels }),
      ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
    },
    spec: { containers: [{ ports: port === undefined ? [] : [{ name: "http", containerPort: port }] }] },
    status: {
      phase: "Running",
      ...(ip === undefined ? {} : { podIP: ip }),
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    },
  };
}

export function podList(pods: readonly object[], version = 1, next = ""): Recorded {
  const metadata = { resourceVersion: String(version), ...(next === "" ? {} : { continue: next }) };
  return { status: 200, body: JSON.stringify({ kind: "PodList", apiVersion: "v1", metadata, items: pods }) };
}

export function event(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`;
}
