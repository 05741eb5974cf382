// The cluster that the tests named *kubernetes* run in: kubectl, the API itself, a namespace for each test, and, where the
// cluster is ours to break (KUBE_DIR), its API server's death and etcd's compaction.
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { KubeConfig } from "@kubernetes/client-node";
import { requireCluster } from "./requires.ts";

const execute = promisify(execFile);

/** Longest that one command may take. */
const commandMs = 120_000;

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

/** The API server said no. */
class ApiError extends Error {
  readonly status: number;

  constructor(status: number, what: string, body: string) {
    super(`${what}: ${status} ${body.slice(0, 500)}`);
    this.status = status;
  }
}

export class Cluster {
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** State of a cluster that the tests may break; null = somebody else's. */
  readonly dir: string | null;
  readonly #config = new KubeConfig();
  readonly #agent = new https.Agent({ keepAlive: true, maxSockets: 32 });

  constructor(kubeconfig: string, dir: string | null) {
    this.kubeconfig = kubeconfig;
    this.dir = dir;
    this.#config.loadFromFile(kubeconfig);
  }

  /** Standard output of `kubectl ARGS`. Rejects with what it complained about. */
  async kubectl(args: readonly string[], input?: string): Promise<string> {
    return this.#command("kubectl", args, input);
  }

  /** Standard output of `helm ARGS`. Rejects with what it complained about. */
  async helm(args: readonly string[]): Promise<string> {
    return this.#command("helm", args);
  }

  /** Applies objects by kubectl, refusing fields that the server does not know. */
  async apply(...objects: readonly KubernetesObject[]): Promise<void> {
    const list = { apiVersion: "v1", kind: "List", items: objects };
    await this.kubectl(["apply", "--validate=strict", "-f", "-"], JSON.stringify(list));
  }

  /** One request to the API, as the administrator. */
  async api(method: string, path: string, body?: object, contentType = "application/json"): Promise<unknown> {
    const options: https.RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    const server = this.#config.getCurrentCluster()?.server ?? "";
    const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const headers = bytes === null ? {} : { "content-type": contentType, "content-length": bytes.length };
      const request = https.request(`${server}${path}`, {
        ...options,
        method,
        agent: this.#agent,
        headers: { ...(options.headers as object), ...headers },
      });
      request.on("error", reject);
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("error", reject);
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          const status = response.statusCode ?? 0;
          if (status >= 300) reject(new ApiError(status, `${method} ${path}`, text));
          else resolve(JSON.parse(text));
        });
      });
      request.end(bytes ?? undefined);
    });
  }

  /** A namespace of its own, gone with the test. Its default service account is there. */
  async namespace(t: TestContext, prefix: string, labels: Readonly<Record<string, string>> = {}): Promise<string> {
    const name = `${prefix}-${Math.random().toString(36).slice(2, 8)}`;
    await this.api("POST", "/api/v1/namespaces", { metadata: { name, labels } });
    t.after(async () => {
      // what runs in it must be gone before the next test measures anything
      await this.kubectl(["delete", "namespace", name, "--wait=false"]);
      const pods = `/api/v1/namespaces/${name}/pods`;
      await this.eventually(async () => {
        await this.api("DELETE", `${pods}?gracePeriodSeconds=0`);
        const { items } = (await this.api("GET", `${pods}?limit=1`)) as { items: readonly unknown[] };
        if (items.length > 0) throw new Error("some are left");
      }, `the end of the pods of ${name}`);
    });
    await this.eventually(
      () => this.api("GET", `/api/v1/namespaces/${name}/serviceaccounts/default`),
      "the default service account",
    );
    return name;
  }

  /**
   * A kubeconfig with the token of a service account, as a program in a pod would have.
   * @param path where it is written
   */
  async serviceAccountKubeconfig(namespace: string, account: string, path: string): Promise<string> {
    const token = (await this.kubectl(["create", "token", account, "-n", namespace, "--duration=1h"])).trim();
    const found = this.#config.getCurrentCluster();
    if (found === null) throw new Error(`${this.kubeconfig} names no cluster`);
    const args = ["--kubeconfig", path];
    const authority = found.caData === undefined ? found.caFile : `${path}.ca`;
    if (found.caData !== undefined) writeFileSync(`${path}.ca`, Buffer.from(found.caData, "base64"));
    await this.kubectl([
      "config",
      "set-cluster",
      "test",
      `--server=${found.server}`,
      ...(authority === undefined ? [] : [`--certificate-authority=${authority}`, "--embed-certs"]),
      ...args,
    ]);
    await this.kubectl(["config", "set-credentials", account, `--token=${token}`, ...args]);
    await this.kubectl(["config", "set-context", "test", "--cluster=test", `--user=${account}`, ...args]);
    await this.kubectl(["config", "use-context", "test", ...args]);
    return path;
  }

  /** Kills the API server, as the kernel would. Ours only. */
  killApiServer(): void {
    this.#kill("kube-apiserver");
  }

  /** Brings back what was killed, with controllers that have not learnt to wait a minute in between. Ours only. */
  async revive(): Promise<void> {
    this.#kill("kube-controller-manager");
    this.#kill("kube-scheduler");
    const up = process.env["KUBE_UP"];
    if (up === undefined) throw new Error("KUBE_UP does not name the script that started the cluster");
    await execute("bash", [up], { timeout: commandMs, env: { ...process.env, KUBE_DIR: this.#ours() } });
  }

  /** Forgets all past versions, so that a watch from one of them ends in 410. Ours only. */
  async compactEtcd(): Promise<void> {
    this.#ours();
    const etcd = `http://127.0.0.1:${26_079 + 100 * Number(process.env["KUBE_INSTANCE"] ?? 0)}`;
    const ask = async (path: string, body: object): Promise<unknown> => {
      const response = await fetch(`${etcd}${path}`, { method: "POST", body: JSON.stringify(body) });
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
      return response.json();
    };
    // one more version, of nothing that the API knows: else a watcher may have seen the last one and need not be told
    const key = Buffer.from("/of-tests").toString("base64");
    const { header } = (await ask("/v3/kv/put", { key, value: key })) as { header: { revision: string } };
    await ask("/v3/kv/compaction", { revision: header.revision, physical: true });
  }

  /** Tries until it works. */
  async eventually<T>(attempt: () => Promise<T>, what: string, timeoutMs = 60_000): Promise<T> {
    const start = performance.now();
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (performance.now() - start > timeoutMs) {
          throw new Error(`gave up waiting for ${what}: ${error instanceof Error ? error.message : String(error)}`, {
            cause: error,
          });
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  #kill(server: string): void {
    process.kill(Number(readFileSync(join(this.#ours(), "pid", server), "utf8")), "SIGKILL");
  }

  #ours(): string {
    if (this.dir === null) throw new Error("this cluster is not ours to break: KUBE_DIR is not set");
    return this.dir;
  }

  async #command(name: string, args: readonly string[], input?: string): Promise<string> {
    const env = { ...process.env, KUBECONFIG: this.kubeconfig };
    if (input === undefined) {
      const { stdout } = await execute(name, args, { env, timeout: commandMs, maxBuffer: 64 * 1024 * 1024 });
      return stdout;
    }
    const promise = execute(name, args, { env, timeout: commandMs, maxBuffer: 64 * 1024 * 1024 });
    promise.child.stdin?.end(input);
    return (await promise).stdout;
  }
}

/**
 * The cluster to test in.
 * @returns null when the test was skipped: return at once
 * @throws Error under CI=true where there is none
 */
export function cluster(t: TestContext): Cluster | null {
  if (!requireCluster(t)) return null;
  return new Cluster(process.env["KUBECONFIG"] ?? "", process.env["KUBE_DIR"] ?? null);
}

/**
 * A cluster that may be broken.
 * @returns null when the test was skipped: return at once
 */
export function ownCluster(t: TestContext): Cluster | null {
  const found = cluster(t);
  if (found === null || found.dir !== null) return found;
  t.skip("breaks the control plane, which only a cluster that npm run e2e has started may suffer");
  return null;
}
