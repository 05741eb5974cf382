// Where the API server is, and what the router shows it to be let in. In a pod that is the service account, read anew for
// each request, since its token is renewed under way. Everywhere else it is a kubeconfig, which the client library reads:
// contexts, certificates, exec plug-ins. The library is loaded only then: it takes half a second and 90 MB.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";

export interface Access {
  /** Without a slash at the end. */
  readonly server: string;
  /** Certificates, headers, agent. */
  readonly options: RequestOptions;
}

export interface Credentials {
  /** For the next request. Rejects saying what is wrong, for people. */
  read(): Promise<Access>;
  /** They were refused. */
  forget(): void;
}

export interface CredentialOptions {
  /** `null` = the service account of the pod, else what kubectl would use. */
  readonly kubeconfigFile: string | null;
  /** `null` = the kubeconfig's current one. */
  readonly context: string | null;
  /** `null` = not in a pod. */
  readonly apiServer: string | null;
  /** For tests. */
  readonly serviceAccountFolder?: string;
}

const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

export function credentials(options: CredentialOptions): Credentials {
  const folder = options.serviceAccountFolder ?? serviceAccountFolder;
  if (options.kubeconfigFile === null && options.apiServer !== null && existsSync(`${folder}/token`)) {
    return serviceAccount(options.apiServer, folder);
  }
  return new Kubeconfig(options);
}

function serviceAccount(server: string, folder: string): Credentials {
  return {
    async read() {
      const [token, ca] = await Promise.all([readFile(`${folder}/token`, "utf8"), readFile(`${folder}/ca.crt`)]);
      return { server, options: { ca, headers: { authorization: `Bearer ${token.trim()}` } } };
    },
    forget() {},
  };
}

const nowhere =
  "no API server is configured: give --kubeconfig FILE, or run in a pod that has its service account's token (automountServiceAccountToken: true)";

class Kubeconfig implements Credentials {
  readonly #options: CredentialOptions;
  #config: Promise<KubeConfig> | null = null;

  constructor(options: CredentialOptions) {
    this.#options = options;
  }

  async read(): Promise<Access> {
    this.#config ??= load(this.#options);
    try {
      const config = await this.#config;
      const server = config.getCurrentCluster()?.server ?? "";
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      return { server: server.replace(/\/+$/, ""), options };
    } catch (error) {
      // the file may be put right
      this.#config = null;
      throw error;
    }
  }

  forget(): void {
    this.#config = null;
  }
}

async function load({ kubeconfigFile, context }: CredentialOptions): Promise<KubeConfig> {
  const library = await import("@kubernetes/client-node");
  const config = new library.KubeConfig();
  if (kubeconfigFile === null) config.loadFromDefault();
  else config.loadFromFile(kubeconfigFile);
  if (context !== null) {
    if (config.getContextObject(context) === null) {
      const known = config.getContexts().map(({ name }) => name);
      throw new Error(`the kubeconfig has no context ${context}; known are ${known.join(", ") || "none"}`);
    }
    config.setCurrentContext(context);
  }
  const cluster = config.getCurrentCluster();
  // what the library falls back to where it finds nothing at all
  if (cluster === null || (kubeconfigFile === null && cluster.server === "http://localhost:8080"))
    throw new Error(nowhere);
  return config;
}
