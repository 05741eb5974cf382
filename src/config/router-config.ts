// From resolved options to what the rooms of the router read: units, cross-checks, files that must be readable. It must
// never apply a default of its own: those are in the catalogue.

import { createSecureContext } from "node:tls";

import type { OptionName } from "./catalogue/index.ts";
import { readDiscovery } from "./discovery.ts";
import { DynamicFileError, readDynamicFile, unknownModelFix } from "./dynamic-file.ts";
import { readText, type Files } from "./files.ts";
import { parseOtelEndpoint } from "./otel-endpoint.ts";
import { count, type Origin, type Problem } from "./problem.ts";
import type { Resolved } from "./resolve.ts";
import { joinEndpoints, knownModels, type StaticEntry } from "./static-endpoints.ts";
import type { DiscoveryConfig, DynamicConfig, RouterConfig } from "./types.ts";

export interface Built {
  readonly config: RouterConfig;
  /** The configuration may only be used when there are none. */
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

export interface Surroundings {
  /** The options are only a part (a file that is checked alone): do not ask for what flags may add. */
  readonly partial?: boolean;
  /** Of the cluster that the process runs in; absent = none. */
  readonly apiServer?: string | null;
}

export function buildRouterConfig(resolved: Resolved, files: Files, surroundings: Surroundings = {}): Built {
  return new Builder(resolved, files).build(surroundings);
}

/** Names of levels as typed -> as the logger has them. */
export const logLevels = {
  critical: "fatal",
  fatal: "fatal",
  error: "error",
  warning: "warn",
  warn: "warn",
  info: "info",
  debug: "debug",
  trace: "trace",
} as const;

/** Levels at which production-stack prints its routing line. */
const saysInfo: ReadonlySet<RouterConfig["log"]["level"]> = new Set(["info", "debug", "trace"]);

/** What the dynamic file says, and flags no more where there is one. */
const replacedByFile = [
  "static-backends",
  "static-aliases",
  "known-models",
  "routing-logic",
  "session-key",
  "service-discovery",
  "dns-names",
  "k8s-namespace",
  "k8s-label-selector",
  "k8s-port",
] as const;

interface DynamicSource {
  readonly option: "dynamic-config-yaml" | "dynamic-config-json";
  readonly path: string;
  readonly format: "yaml" | "json";
}

const ms = (seconds: number): number => Math.round(seconds * 1000);

class Builder {
  readonly #problems: Problem[] = [];
  readonly #warnings: string[] = [];
  readonly #resolved: Resolved;
  readonly #files: Files;

  constructor(resolved: Resolved, files: Files) {
    this.#resolved = resolved;
    this.#files = files;
  }

  build({ partial = false, apiServer = null }: Surroundings): Built {
    const v = this.#resolved.values;
    const format = v["log-format"];
    const level = logLevels[v["log-level"]];
    const dynamic = this.#dynamicSource();
    const config: RouterConfig = {
      host: v.host,
      port: v.port,
      listenFd: v["listen-fd"],
      rootPath: v["root-path"].replace(/\/+$/, ""),
      tls: this.#tls(),
      engineTls: {
        caFile: this.#caFile(),
        insecureSkipVerify: v["engine-tls-insecure-skip-verify"],
      },
      timeouts: {
        connectMs: ms(v["connect-timeout-seconds"]),
        firstEventMs: ms(v["first-event-timeout-seconds"]),
        idleMs: ms(v["idle-timeout-seconds"]),
        stallMs: ms(v["stall-timeout-seconds"]),
        totalMs: ms(v["total-timeout-seconds"]),
        clientStallMs: ms(v["client-stall-timeout-seconds"]),
        headMs: ms(v["head-timeout-seconds"]),
        bodyIdleMs: ms(v["body-idle-timeout-seconds"]),
        clientKeepAliveMs: ms(v["client-keep-alive-seconds"]),
        engineKeepAliveMs: ms(v["engine-keep-alive-seconds"]),
        sseHeartbeatMs: ms(v["sse-heartbeat-seconds"]),
        holdMs: ms(v["hold-timeout-seconds"]),
        drainDelayMs: ms(v["drain-delay-seconds"]),
        drainTimeoutMs: ms(v["drain-timeout-seconds"]),
        healthCheckMs: ms(v["backend-health-check-timeout-seconds"]),
      },
      limits: {
        maxHeadBytes: v["max-head-bytes"],
        maxBodyBytes: v["max-body-bytes"],
        maxBufferedBytes: v["max-buffered-bytes"],
        maxQueuedRequests: v["max-queued-requests"],
        maxQueuedTokens: v["max-queued-tokens"],
      },
      migration: {
        streamBytes: v["migration-stream-bytes"],
        budgetBytes: v["migrate-streams"] ? v["migration-budget-bytes"] : 0,
      },
      leastMatchBytes: v["prefix-min-match-length"],
      kvEvents: {
        indexMaxBytes: v["kv-index-max-bytes"],
        tokenizers: this.#tokenizers(),
        tokenizeMs: ms(v["tokenize-timeout-seconds"]),
      },
      retries: this.#retries(),
      replicas: v["router-replicas"],
      engineStatsMs: ms(v["engine-stats-interval"]),
      requestStatsWindowMs: ms(v["request-stats-window"]),
      apiKeyFile: this.#keyFile("api-key-file"),
      adminKeyFile: this.#keyFile("admin-key-file"),
      console: v.console,
      engineApiKeyFile: this.#keyFile("engine-api-key-file"),
      trustedProxies: v["trusted-proxies"],
      injectStreamUsage: v["inject-stream-usage"],
      loadReports: v["load-reports"],
      legacyMetrics: v["legacy-metrics"],
      tracing: this.#tracing(),
      serverTiming: v["server-timing"],
      logStatsMs: v["log-stats"] ? ms(v["log-stats-interval"]) : null,
      log: { level, format, routingLine: v["log-routing-line"] ?? (format === "text" && saysInfo.has(level)) },
      dns: { servers: v["dns-servers"], refreshMs: ms(v["dns-refresh-seconds"]) },
      kubernetes: {
        addressing: v["k8s-service-discovery-type"] ?? "pod-ip",
        watchTimeoutMs: ms(v["k8s-watcher-timeout-seconds"]),
        kubeconfigFile: this.#kubeconfig(),
        context: v["k8s-context"],
        apiServer,
      },
      dynamicFile: dynamic === null ? null : { path: dynamic.path, format: dynamic.format },
      dynamic: this.#dynamic(dynamic, partial),
    };
    if (config.console && config.adminKeyFile === null) {
      this.#reject(
        "console",
        "true",
        "the console shows who asks for what, and would be open to everybody",
        "give --admin-key-file too",
      );
    }
    if (config.limits.maxBodyBytes > config.limits.maxBufferedBytes) {
      const most = config.limits.maxBufferedBytes;
      this.#reject(
        "max-body-bytes",
        String(config.limits.maxBodyBytes),
        `above --max-buffered-bytes ${most}`,
        "lower it, or raise the other",
      );
    }
    return { config, problems: this.#problems, warnings: this.#warnings };
  }

  #said(name: OptionName): boolean {
    return this.#resolved.origins.has(name);
  }

  #reject(name: OptionName, value: string | null, reason: string, fix: string): void {
    const origin: Origin = this.#resolved.origins.get(name) ?? { name: `--${name}` };
    this.#problems.push({ origin, value, reason, fix });
  }

  #retries(): number {
    const { retries, "max-instance-failover-reroute-attempts": reroutes } = this.#resolved.values;
    if (reroutes === null) return retries;
    if (!this.#said("retries")) return reroutes;
    this.#warnings.push(
      `--max-instance-failover-reroute-attempts ${reroutes} is ignored: --retries ${retries} says the same`,
    );
    return retries;
  }

  #tracing(): RouterConfig["tracing"] {
    const v = this.#resolved.values;
    const text = v["otel-endpoint"];
    if (text === null) return null;
    const endpoint = parseOtelEndpoint(text, v["otel-secure"]);
    if (endpoint === null) {
      const fix = "give HOST:4317 for gRPC, or http://HOST:4318/v1/traces for HTTP";
      this.#reject("otel-endpoint", text, "not the address of a collector", fix);
      return null;
    }
    return { endpoint, serviceName: v["otel-service-name"], sampleRatio: v["otel-sample-ratio"] };
  }

  #kubeconfig(): string | null {
    const name = "kubeconfig";
    const path = this.#resolved.values[name];
    if (path !== null) this.#text(name, path);
    return path;
  }

  /** What a folder lacks is said before the router starts; what its files hold shows when a thread reads them. */
  #tokenizers(): Readonly<Record<string, string>> {
    const folders = this.#resolved.values.tokenizers;
    for (const [model, folder] of Object.entries(folders)) {
      const result = readText(this.#files, `${folder}/tokenizer.json`);
      if ("text" in result) continue;
      this.#reject(
        "tokenizers",
        `${model}:${folder}`,
        `tokenizer.json: ${result.reason}`,
        "give the folder of a model",
      );
    }
    return folders;
  }

  #caFile(): string | null {
    const name = "engine-tls-ca-file";
    const path = this.#resolved.values[name];
    const text = path === null ? null : this.#text(name, path);
    // Node takes no notice of anything else, and then trusts nobody: each engine would be out for a reason hard to see.
    if (text !== null && !text.includes("-----BEGIN CERTIFICATE-----")) {
      this.#reject(name, path, "holds no certificate", "give a PEM file of certificates");
    }
    return path;
  }

  #text(name: OptionName, path: string): string | null {
    const result = readText(this.#files, path);
    if ("text" in result) return result.text;
    this.#reject(name, path, result.reason, "give the path of a readable file");
    return null;
  }

  #keyFile(name: "api-key-file" | "admin-key-file" | "engine-api-key-file"): string | null {
    const path = this.#resolved.values[name];
    if (path === null) return null;
    const text = this.#text(name, path);
    // A guard without a key would either let nobody in, or everybody: neither was meant.
    const keys = text?.split("\n").filter((line) => line.trim() !== "" && !line.trim().startsWith("#"));
    if (keys?.length === 0) this.#reject(name, path, "holds no key", "write one key a line");
    return path;
  }

  #tls(): RouterConfig["tls"] {
    const { "tls-cert-file": certFile, "tls-key-file": keyFile } = this.#resolved.values;
    if (certFile === null && keyFile === null) return null;
    if (certFile === null || keyFile === null) {
      const given = certFile === null ? "tls-key-file" : "tls-cert-file";
      const lacking = certFile === null ? "tls-cert-file" : "tls-key-file";
      this.#reject(given, certFile ?? keyFile, `needs --${lacking} too`, "give both, or neither to serve plain HTTP");
      return null;
    }
    const cert = this.#text("tls-cert-file", certFile);
    const key = this.#text("tls-key-file", keyFile);
    if (cert === null || key === null) return null;
    try {
      createSecureContext({ cert, key });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#reject(
        "tls-cert-file",
        certFile,
        `does not serve with --tls-key-file ${keyFile} (${why})`,
        "give a PEM chain and its own key",
      );
    }
    return { certFile, keyFile };
  }

  #dynamicSource(): DynamicSource | null {
    const { "dynamic-config-yaml": yaml, "dynamic-config-json": json } = this.#resolved.values;
    if (yaml !== null && json !== null) {
      this.#reject("dynamic-config-json", json, "given beside --dynamic-config-yaml", "give one of them");
    }
    if (yaml !== null) return { option: "dynamic-config-yaml", path: yaml, format: "yaml" };
    return json === null ? null : { option: "dynamic-config-json", path: json, format: "json" };
  }

  #dynamic(file: DynamicSource | null, partial: boolean): DynamicConfig {
    const { values } = this.#resolved;
    if (file !== null) {
      const replaced = replacedByFile.filter((name) => this.#said(name));
      if (replaced.length > 0) {
        this.#warnings.push(`the dynamic file ${file.path} replaces ${replaced.map((name) => `--${name}`).join(", ")}`);
      }
      const text = this.#text(file.option, file.path);
      if (text !== null) {
        try {
          return readDynamicFile(text, file.format, file.path);
        } catch (error) {
          if (!(error instanceof DynamicFileError)) throw error;
          this.#problems.push(...error.problems);
        }
      }
    }
    const discovery = this.#discovery();
    const endpoints = discovery.kind === "static" ? this.#endpoints() : [];
    const needsEngines =
      this.#resolved.command === "router" && file === null && discovery.kind === "static" && !partial;
    if (needsEngines && endpoints.length === 0 && this.#problems.length === 0 && this.#resolved.problems.length === 0) {
      this.#problems.push({
        origin: { name: "router" },
        value: null,
        reason: "there is no engine to route to",
        fix: "list engines with --static-backends http://HOST:8000,..., in a file with --dynamic-config-yaml FILE, or let them be found with --service-discovery k8s",
      });
    }
    return {
      endpoints,
      discovery,
      aliases: this.#aliases(endpoints),
      knownModels: values["known-models"],
      inferenceHealthChecks: values["static-backend-health-checks"]
        ? {
            intervalMs: ms(values["static-backend-health-check-interval"]),
            timeoutMs: ms(values["static-backend-health-check-timeout-seconds"]),
          }
        : null,
      policy: values["routing-logic"],
      sessionKey: values["session-key"],
    };
  }

  #discovery(): DiscoveryConfig {
    const { values } = this.#resolved;
    const kind = values["service-discovery"] ?? "static";
    if (kind !== "static" && this.#said("static-backends")) {
      this.#warnings.push(`--service-discovery ${kind} replaces --static-backends`);
    }
    return readDiscovery(
      kind,
      {
        names: values["dns-names"],
        namespaces: values["k8s-namespace"],
        labelSelector: values["k8s-label-selector"],
        enginePort: values["k8s-port"],
      },
      (field, value, reason, fix) => {
        // what was said and not understood is told already
        if (this.#resolved.problems.length > 0) return;
        this.#reject(field === "names" ? "dns-names" : "k8s-namespace", value, reason, fix);
      },
    );
  }

  #endpoints() {
    const { values } = this.#resolved;
    const urls = values["static-backends"];
    const columns = ["static-models", "static-model-types", "static-model-labels", "static-kv-events"] as const;
    for (const name of columns) {
      const given = values[name].length;
      if (given === 0 || given === urls.length || (given === 1 && name === "static-kv-events")) continue;
      const reason = `${count(given, "entry", "entries")} for ${count(urls.length, "backend")}`;
      this.#reject(name, values[name].join(","), reason, "give one per URL of --static-backends, in the same order");
    }
    const [models, types, labels, events = []] = columns.map((name) => values[name]);
    const entries = urls.map((url, i): StaticEntry => {
      const kvEvents = (events.length === 1 ? events[0] : events[i]) ?? null;
      return { url, model: models?.[i] ?? null, type: types?.[i] ?? null, label: labels?.[i] ?? null, kvEvents };
    });
    const options = {
      url: "static-backends",
      model: "static-models",
      type: "static-model-types",
      label: "static-model-labels",
      kvEvents: "static-kv-events",
    } as const;
    return joinEndpoints(entries, (_, field, value, reason, fix) => this.#reject(options[field], value, reason, fix));
  }

  #aliases(endpoints: DynamicConfig["endpoints"]): ReadonlyMap<string, string> {
    const aliases = new Map(Object.entries(this.#resolved.values["static-aliases"]));
    const models = knownModels(endpoints);
    // Without an engine there is nothing to compare with: they may come from elsewhere.
    if (models === null || models.length === 0) return aliases;
    for (const [alias, model] of aliases) {
      if (models.includes(model)) continue;
      this.#reject("static-aliases", `${alias}:${model}`, "no engine serves this model", unknownModelFix(models));
    }
    return aliases;
  }
}
