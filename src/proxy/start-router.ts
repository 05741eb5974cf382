// Puts the rooms together into a running router: used by `lmstack router`, by `lmstack up`, and by tests on real sockets. Long,
// since every part is made and tied to the others here and nowhere else; what the parts do stands with them.
import { X509Certificate } from "node:crypto";
import { fstatSync, readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { RequestQueue } from "../admission/queue.ts";
import { Keys, PolledFile } from "../admission/key-files.ts";
import type { Clock } from "../clock.ts";
import { DynamicFileError } from "../config/dynamic-file.ts";
import { formatProblem } from "../config/problem.ts";
import type { DynamicConfig, PolicyName, RouterConfig } from "../config/types.ts";
import { watchDynamicFile, type DynamicFileWatcher } from "../config/watch-dynamic-file.ts";
import { Console } from "../console/console.ts";
import { UsageError } from "../errors/usage-error.ts";
import { HealthMonitor } from "../fleet/health.ts";
import { ProgressWatch } from "../fleet/progress.ts";
import { Registry } from "../fleet/registry.ts";
import { Scraper } from "../fleet/scraper.ts";
import { BufferPool } from "../http/buffer-pool.ts";
import type { EnginePool } from "../http/engine-pool.ts";
import { HttpServer } from "../http/server.ts";
import { Sweeper } from "../http/sweeper.ts";
import { RouterLog } from "../observe/log.ts";
import { Mirror } from "../observe/mirror.ts";
import { mirrorRouting } from "../observe/routing-metrics.ts";
import { RouterMetrics } from "../observe/router-metrics.ts";
import { StatsLog } from "../observe/stats-log.ts";
import type { Tracing } from "../observe/tracing.ts";
import { createPolicy } from "../routing/policies.ts";
import type { PolicyParts } from "../routing/policy.ts";
import { consoleSource } from "./console-source.ts";
import type { RouterContext } from "./context.ts";
import { Dispatcher } from "./dispatch.ts";
import { plainAddress } from "./forward-head.ts";
import { EngineSamples } from "./engine-samples.ts";
import { Holds } from "./holds.ts";
import { Panics } from "./panics.ts";
import { Introductions } from "./introductions.ts";
import { KvAware } from "./kv-aware.ts";
import { LoadReports } from "./load-reports.ts";
import { Prefixes } from "./prefixes.ts";
import { MigrationBudget } from "./migration/budget.ts";
import { OwnAnswers } from "./own-answers.ts";
import type { ProxiedRequest } from "./proxied-request.ts";
import { ResponseAffinity } from "./response-affinity.ts";
import { RetryBudget } from "./retry-budget.ts";
import { SpecimenCase } from "./specimens.ts";
import { startDiscovery } from "./start-discovery.ts";

export interface RouterDependencies {
  readonly clock: Clock;
  readonly random: () => number;
  readonly version: string;
  /** HTML served at `/`; null = nothing there. */
  readonly page: string | null;
  /** Serves the console whatever the configuration says: the router is on its user's own machine. */
  readonly console?: boolean;
  readonly log?: RouterLog;
  /** Called whenever the last request under way has ended: a moment for what would hold one up. */
  readonly onQuiet?: () => void;
}

export interface RunningRouter {
  readonly url: string;
  readonly port: number;
  readonly context: RouterContext;
  readonly log: RouterLog;
  /** Gives the running router another set of endpoints and another policy. */
  apply(config: DynamicConfig, revision: string): void;
  /** Looks at the dynamic file now instead of at the next change. */
  reload(): Promise<void>;
  /**
   * Ends in peace: not ready at once, new requests are taken for `drainDelayMs`, running ones finish within
   * `drainTimeoutMs`, what is left then gets an error.
   */
  drain(): Promise<void>;
  /** Descriptor of the listening socket, for a successor; null = it has none. */
  readonly listenFd: number | null;
  /**
   * Ends in peace, as {@link drain}, and accepts nothing more: a successor listens on the same socket, so the address
   * stays ready.
   */
  handOver(): Promise<void>;
  /** Ends at once. */
  close(): void;
}

/** How late a request's time limit may be noticed. */
const deadlineSweepMs = 100;
const poolSweepMs = 500;
/** What a client may take to read the error that ends its request with the drain: a slow one must not hold up the end. */
const lastWordsMs = 5_000;
/** Memory of past request bodies that is kept for the next ones. */
const freeBufferBytes = 32 * 1024 * 1024;

/**
 * @throws UsageError when a file can't be read; the system's error when the port can't be had
 */
export async function startRouter(config: RouterConfig, deps: RouterDependencies): Promise<RunningRouter> {
  const { clock, random } = deps;
  const log = deps.log ?? new RouterLog(config.log);
  const metrics = new RouterMetrics({ legacy: config.legacyMetrics, windowMs: config.requestStatsWindowMs });
  const poolSweeper = new Sweeper<EnginePool>(clock, poolSweepMs);
  const engineTls = {
    ca: config.engineTls.caFile === null ? null : readFileSync(config.engineTls.caFile, "utf8"),
    rejectUnauthorized: !config.engineTls.insecureSkipVerify,
  };
  const registry = new Registry({
    clock,
    sweeper: poolSweeper,
    keepAliveMs: config.timeouts.engineKeepAliveMs,
    engineTls,
  });
  const keys = new Keys(
    { client: config.apiKeyFile, admin: config.adminKeyFile, engine: config.engineApiKeyFile },
    clock,
    (problem) => log.error(`key file: ${problem}`),
  );
  const health = new HealthMonitor({
    clock,
    random,
    registry,
    timeoutMs: config.timeouts.healthCheckMs,
    engineKey: () => keys.engine,
    onProblem: (endpoint, problem) => log.warn(`engine ${endpoint.id}: ${problem}`, { endpoint: endpoint.id, problem }),
    onReady: (endpoint) =>
      log.info(`engine ${endpoint.id} is ready and serves ${endpoint.models.join(", ")}`, {
        endpoint: endpoint.id,
        models: endpoint.models,
      }),
  });
  const progress = new ProgressWatch({
    clock,
    registry,
    stallMs: config.timeouts.stallMs,
    timeoutMs: config.timeouts.healthCheckMs,
    engineKey: () => keys.engine,
    onSuspect: (endpoint) =>
      log.warn(`engine ${endpoint.id} makes no progress with what it has`, { endpoint: endpoint.id }),
    onStalled: (endpoint) => {
      health.hurry(endpoint);
      for (const request of ctx.active) request.engineStalled(endpoint);
    },
  });
  const prefixes = new Prefixes(256 * 1024 * 1024, config.leastMatchBytes);
  const kv = new KvAware({
    clock,
    random,
    config,
    registry,
    engineKey: () => keys.engine,
    metrics,
    log,
    approximate: prefixes.index,
  });
  const partsOf = (policy: PolicyName): PolicyParts => ({ cache: policy === "kvaware" ? kv.view : prefixes.index });
  const tracing = await startTracing(config, deps, metrics, log);
  const state = { draining: false, retired: false, revision: "static", dynamic: config.dynamic };
  const source = consoleSource(() => ctx, {
    version: deps.version,
    draining: () => state.draining,
    dynamic: () => state.dynamic,
    revision: () => state.revision,
  });
  const ctx: RouterContext = {
    clock,
    random,
    config,
    registry,
    health,
    progress,
    keys,
    metrics,
    log,
    tracing,
    console: config.console || deps.console === true ? new Console(clock, source) : null,
    retryBudget: new RetryBudget(),
    migrationRetries: new RetryBudget(),
    responses: new ResponseAffinity(),
    migrationBudget: new MigrationBudget(config.migration.budgetBytes),
    active: new Sweeper<ProxiedRequest>(clock, deadlineSweepMs),
    specimens: new SpecimenCase(),
    onQuiet: deps.onQuiet ?? (() => undefined),
    routing: {
      name: config.dynamic.policy,
      choose: createPolicy(config.dynamic.policy, partsOf(config.dynamic.policy)),
      sessionKey: config.dynamic.sessionKey,
      othersShare: 1 - 1 / config.replicas,
    },
    kv,
    prefixes,
    holds: new Holds(metrics, log),
    loadReports: new LoadReports(metrics, log),
    panics: new Panics(log),
    introductions: new Introductions(clock, registry, config),
    queue: new RequestQueue({
      clock,
      random,
      policy: (view, candidates, draw) => ctx.routing.choose(view, candidates, draw),
      maxRequests: config.limits.maxQueuedRequests,
      maxTokens: config.limits.maxQueuedTokens,
    }),
    buffers: new BufferPool(freeBufferBytes),
    bufferedBytes: 0,
    trusted: trustedProxies(config.trustedProxies),
  };
  const discovery = startDiscovery({ clock, random, config, registry, health, metrics, log });
  const own = new OwnAnswers(ctx, {
    version: deps.version,
    dynamicConfig: () => (config.dynamicFile === null ? null : describe(state.dynamic, state.revision)),
    draining: () => state.draining,
    discoveryProblem: () => discovery.problem,
    page: deps.page,
  });
  const { timeouts, limits } = config;
  const serverTls = readServerTls(config, metrics);
  const server = new HttpServer(
    clock,
    {
      maxHeadBytes: limits.maxHeadBytes,
      headMs: timeouts.headMs,
      bodyIdleMs: timeouts.bodyIdleMs,
      keepAliveMs: timeouts.clientKeepAliveMs,
      clientStallMs: timeouts.clientStallMs,
    },
    new Dispatcher(ctx, own),
    serverTls,
  );
  const mirror = new Mirror(metrics, {
    registry,
    clock,
    clientConnections: () => server.connections,
    bufferedBytes: () => ctx.bufferedBytes,
    draining: () => state.draining || state.retired,
    keptBytes: () => ctx.migrationBudget.usedBytes,
    keptBytesLimit: config.migration.budgetBytes,
    staleMs: () => 3 * (scraper?.intervalMs ?? 0),
    revision: () => state.revision,
    version: deps.version,
  });
  const samples = new EngineSamples(ctx);
  const scraper =
    config.engineStatsMs === 0
      ? null
      : new Scraper({
          clock,
          random,
          registry,
          intervalMs: config.engineStatsMs,
          timeoutMs: config.timeouts.healthCheckMs,
          engineKey: () => keys.engine,
          onSample: (endpoint, sample, before) => samples.take(endpoint, sample, before),
          onNothing: (endpoint, problem) =>
            log.warn(`engine ${endpoint.id} tells no metrics: ${problem}`, { endpoint: endpoint.id, problem }),
        });
  registry.onChange(() => scraper?.sync());
  registry.onChange(() => kv.follow());
  registry.onChange(() => mirror.follow());
  registry.onChange(() => prefixes.index.retain(new Set(registry.list().map(({ id }) => id))));
  registry.onChange(() => ctx.queue.kick());
  mirrorRouting(metrics.registry, {
    registry,
    queueLength: (model) => ctx.queue.length(model),
    queueOldestMs: (model) => ctx.queue.oldestMs(model),
    index: prefixes.index,
  });

  const appliedAt = metrics.registry.value("lmstack_config_last_reload_timestamp_seconds").child();
  const apply = (next: DynamicConfig, revision: string): void => {
    discovery.apply(next);
    if (next.policy !== ctx.routing.name) ctx.routing.choose = createPolicy(next.policy, partsOf(next.policy));
    ctx.routing.name = next.policy;
    ctx.routing.sessionKey = next.sessionKey;
    health.setInferenceCheck(inferenceCheck(next));
    kv.sync(next.policy === "kvaware");
    state.dynamic = next;
    state.revision = revision;
    appliedAt.value = clock.wallMs() / 1000;
  };
  apply(config.dynamic, "static");
  metrics.registry.value("lmstack_config_last_reload_successful").child().value = 1;

  const closers: (() => void)[] = [
    () => discovery.stop(),
    () => ctx.queue.stop(),
    () => scraper?.stop(),
    () => kv.close(),
    () => health.stop(),
    () => progress.stop(),
    () => keys.close(),
    () => registry.close(),
    () => poolSweeper.stop(),
    () => ctx.active.stop(),
    () => mirror.stop(),
  ];
  const watcher = config.dynamicFile === null ? null : watchDynamic(config.dynamicFile, clock, apply, metrics, log);
  if (watcher !== null) closers.push(() => watcher.close());
  if (config.logStatsMs !== null) {
    const stats = new StatsLog({ clock, registry, metrics, log, intervalMs: config.logStatsMs });
    closers.push(() => stats.stop());
  }
  closers.push(...watchTls(config, server, clock, log, metrics));
  const stop = (): void => {
    for (const close of closers.splice(0)) close();
    log.close();
  };

  let port: number;
  try {
    if (config.listenFd === null) port = await server.listen({ port: config.port, host: config.host });
    else {
      if (!fstatSync(config.listenFd).isSocket()) throw Object.assign(new Error("not a socket"), { code: "ENOTSOCK" });
      // who takes over a socket gets requests from the first moment on: engines have to be known by then
      await firstChecks(registry, clock);
      port = await server.listen({ fd: config.listenFd });
    }
  } catch (error) {
    stop();
    throw error;
  }
  const shownHost = config.host === "0.0.0.0" || config.host === "::" ? "localhost" : config.host;
  const url = `${config.tls === null ? "http" : "https"}://${shownHost.includes(":") ? `[${shownHost}]` : shownHost}:${port}`;

  const finish = async (): Promise<void> => {
    await wait(clock, timeouts.drainDelayMs);
    ctx.console?.close();
    const closed = server.close();
    let timer = clock.setTimer(timeouts.drainTimeoutMs, () => {
      for (const request of ctx.active) request.shutDown();
      timer = clock.setTimer(lastWordsMs, () => server.destroy());
    });
    await closed;
    timer.cancel();
    await tracing?.stop();
    stop();
  };

  return {
    url,
    port,
    get listenFd() {
      return server.fd;
    },
    context: ctx,
    log,
    apply,
    reload: async () => watcher?.check(),
    drain() {
      state.draining = true;
      server.drain();
      return finish();
    },
    handOver() {
      state.retired = true;
      server.retire();
      return finish();
    },
    close() {
      server.destroy();
      void tracing?.stop();
      stop();
    },
  };
}

/** Nothing of OpenTelemetry is loaded where no collector is configured. */
async function startTracing(
  config: RouterConfig,
  { clock, version }: RouterDependencies,
  metrics: RouterMetrics,
  log: RouterLog,
): Promise<Tracing | null> {
  if (config.tracing === null) return null;
  const spans = metrics.registry.value("lmstack_spans_total");
  let failing = false;
  const count = (sent: number, problem: string | null): void => {
    spans.child(problem === null ? "exported" : "failed").value += sent;
    if (failing === (problem !== null)) return;
    failing = problem !== null;
    if (failing) log.warn(`traces: the collector takes none: ${problem}; spans are lost until it does`);
    else log.info("traces: the collector takes them again");
  };
  const { OtelTracing } = await import("../observe/otel/otel-tracing.ts");
  return new OtelTracing({ config: config.tracing, version, clock, count });
}

/** How often it is looked whether all engines were asked. */
const firstChecksPollMs = 20;

/** Where none of them answers, requests had better be told so. */
const firstChecksLimitMs = 30_000;

/** Waits until a first list of engines is there, each was asked once, and some of them may be used. */
async function firstChecks(registry: Registry, clock: Clock): Promise<void> {
  const done = (): boolean => {
    const list = registry.list();
    return (
      registry.synced && list.every(({ asked }) => asked) && (list.length === 0 || list.some(({ known }) => known))
    );
  };
  for (const end = clock.nowMs() + firstChecksLimitMs; !done() && clock.nowMs() < end;)
    await wait(clock, firstChecksPollMs);
}

function wait(clock: Clock, ms: number): Promise<void> {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => void clock.setTimer(ms, resolve));
}

interface ServerTls {
  readonly cert: string;
  readonly key: string;
}

function readServerTls(config: RouterConfig, metrics: RouterMetrics): ServerTls | null {
  if (config.tls === null) return null;
  try {
    return readTlsFiles(config.tls, metrics);
  } catch (error) {
    throw new UsageError(`--tls-cert-file, --tls-key-file: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readTlsFiles(files: { certFile: string; keyFile: string }, metrics: RouterMetrics): ServerTls {
  const cert = readFileSync(files.certFile, "utf8");
  const expiry = metrics.registry.value("lmstack_tls_certificate_expiry_timestamp_seconds");
  expiry.child().value = new X509Certificate(cert).validToDate.getTime() / 1000;
  return { cert, key: readFileSync(files.keyFile, "utf8") };
}

/** Takes over renewed certificates: cert-manager and others replace the files long before the old ones expire. */
function watchTls(
  config: RouterConfig,
  server: HttpServer,
  clock: Clock,
  log: RouterLog,
  metrics: RouterMetrics,
): (() => void)[] {
  const { tls } = config;
  if (tls === null) return [];
  const renew = (): void => {
    try {
      server.setTls(readTlsFiles(tls, metrics));
    } catch (error) {
      log.error(
        `TLS files: ${error instanceof Error ? error.message : String(error)}; the old certificate stays in force`,
      );
    }
  };
  const files = [tls.certFile, tls.keyFile].map(
    (path) => new PolledFile(path, clock, renew, (problem) => log.error(`TLS file: ${problem}`)),
  );
  return files.map((file) => () => file.close());
}

function watchDynamic(
  file: NonNullable<RouterConfig["dynamicFile"]>,
  clock: Clock,
  apply: (config: DynamicConfig, revision: string) => void,
  metrics: RouterMetrics,
  log: RouterLog,
): DynamicFileWatcher {
  const reloads = metrics.registry.value("lmstack_config_reloads_total");
  const successful = metrics.registry.value("lmstack_config_last_reload_successful").child();
  return watchDynamicFile({
    ...file,
    clock,
    onChange(next, revision) {
      apply(next, revision);
      reloads.child("applied").value++;
      successful.value = 1;
      log.info(
        `configuration ${revision} of ${file.path} is in force: ${next.endpoints.length} endpoints, ${next.policy}`,
      );
    },
    onRejected(error) {
      reloads.child("rejected").value++;
      successful.value = 0;
      const problems = error instanceof DynamicFileError ? error.problems.map(formatProblem).join("; ") : error.message;
      log.error(`configuration ${file.path} is rejected, the old one stays in force: ${problems}`);
    },
  });
}

function describe(config: DynamicConfig, revision: string): object {
  return {
    revision,
    service_discovery: config.discovery.kind,
    routing_logic: config.policy,
    session_key: config.sessionKey,
    static_backends: config.endpoints.map((endpoint) => endpoint.url),
    static_models: config.endpoints.map((endpoint) => endpoint.models),
    static_aliases: Object.fromEntries(config.aliases),
  };
}

function inferenceCheck(config: DynamicConfig): Parameters<HealthMonitor["setInferenceCheck"]>[0] {
  if (config.inferenceHealthChecks === null) return null;
  const types = new Map(
    config.endpoints.flatMap((spec) => (spec.modelType === null ? [] : [[spec.url, spec.modelType] as const])),
  );
  return { ...config.inferenceHealthChecks, types };
}

/** Membership in the configured addresses and networks. */
function trustedProxies(entries: readonly string[]): (address: string) => boolean {
  if (entries.length === 0) return () => false;
  const list = new BlockList();
  for (const entry of entries) {
    const [address = "", bits] = entry.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    list.addSubnet(address, bits === undefined ? (family === "ipv6" ? 128 : 32) : Number(bits), family);
  }
  return (raw) => {
    const address = plainAddress(raw);
    return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  };
}
