// `lmstack up`: the embedded default. A router in this process, simulated engines as children of it, a live view on a
// terminal and plain lines elsewhere. Wires them together; Ctrl-C ends all of it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../clock.ts";
import { version } from "../config/parse-command.ts";
import type { RouterConfig, UpOptions } from "../config/types.ts";
import { page } from "../console/page.ts";
import { loadEventTools } from "../fleet/kv-events/zmq.ts";
import { RouterLog } from "../observe/log.ts";
import { startRouter, type RunningRouter } from "../proxy/start-router.ts";
import { explainListenError } from "./listen-error.ts";
import { readPreset } from "./preset.ts";
import { collectWhenQuiet } from "./quiet-collection.ts";
import { tuneForRelay } from "./runtime.ts";
import { untilSignal } from "./signals.ts";
import { EngineProcess } from "./up/engine-process.ts";
import { renderView } from "./up/live-view.ts";
import { Observer } from "./up/snapshot.ts";
import { Terminal } from "./up/terminal.ts";

const drawMs = 500;
const announceMs = 50;

/**
 * @returns exit code, when everything has ended
 * @throws UsageError when the preset or the port can't be had
 */
export async function runUp(config: RouterConfig, up: UpOptions, warnings: readonly string[]): Promise<number> {
  // each engine reads it again; here it is refused before anything starts
  readPreset(up.preset);
  tuneForRelay(systemClock);
  const terminal = process.stdout.isTTY ? new Terminal(process.stdout) : null;
  const log =
    terminal === null ? new RouterLog(config.log) : new RouterLog({ ...config.log, routingLine: false }, terminal);
  let router: RunningRouter;
  try {
    router = await startRouter(config, {
      clock: systemClock,
      random: Math.random,
      version: version().replace(/^lmstack /, ""),
      page,
      console: true,
      onQuiet: collectWhenQuiet(systemClock),
      log,
    });
  } catch (error) {
    terminal?.release();
    throw explainListenError(error, config);
  }
  for (const warning of warnings) log.warn(warning);
  const url = shownUrl(router.url);
  log.info(`lmstack up: ${url} with ${up.engines} simulated engines of ${up.models.join(", ")} (${up.preset})`);
  const events = config.dynamic.policy === "kvaware" ? await eventFolder() : null;
  const engines = startEngines(config, up, router, log, url, events);
  const view = terminal === null ? null : draw(terminal, router, engines, config, up, url);
  const again = await untilSignal(["SIGINT", "SIGTERM"]);
  view?.stop();
  terminal?.release();
  log.info("ending; once more ends at once");
  const gone = router.drain().then(() => Promise.all(engines.map((engine) => engine.stop())));
  await Promise.race([gone, again().then(() => Promise.all(engines.map((engine) => engine.stop())))]);
  router.close();
  if (events !== null) rmSync(events, { recursive: true, force: true });
  return 0;
}

/**
 * Where engines publish what they hold, for `kvaware`: sockets of the file system, since those of TCP that engines bind are
 * open to the network. null = not on this machine, which the state of the endpoints' KV events then says.
 */
async function eventFolder(): Promise<string | null> {
  if (process.platform === "win32") return null;
  const loaded = await loadEventTools().catch(() => null);
  return loaded === null ? null : mkdtempSync(join(tmpdir(), "lmstack-kv-"));
}

function eventArgs(folder: string, engine: number): string[] {
  const socket = (name: string): string => `ipc://${join(folder, `${engine}-${name}`)}`;
  const config = { enable_kv_cache_events: true, endpoint: socket("events"), replay_endpoint: socket("replay") };
  return ["--kv-events-config", JSON.stringify(config)];
}

/** As a person types it. */
function shownUrl(url: string): string {
  return url.replace("//127.0.0.1:", "//localhost:");
}

function startEngines(
  config: RouterConfig,
  up: UpOptions,
  router: RunningRouter,
  log: RouterLog,
  url: string,
  events: string | null,
): EngineProcess[] {
  const args = [
    "--host",
    "127.0.0.1",
    "--sim-api",
    "--preset",
    up.preset,
    "--seed",
    String(up.seed),
    "--speed",
    String(up.speed),
  ];
  for (const model of up.models) args.push("--model", model);
  const engines: EngineProcess[] = [];
  const { registry, health } = router.context;
  const announce = (): void => {
    const list = registry.list();
    // an engine that listens still has to pass its first check
    if (list.length === up.engines && list.every((endpoint) => endpoint.known)) {
      log.info(`all ${up.engines} engines are up: ${url} answers`);
    } else systemClock.setTimer(announceMs, announce);
  };
  // until the last one is listed a model is not unknown, it only has to be waited for
  registry.expecting = up.engines > 0;
  const publish = (): void => {
    const endpoints = engines.flatMap((engine) =>
      engine.url === null ? [] : [{ url: engine.url, models: up.models, label: null, modelType: null }],
    );
    router.apply({ ...config.dynamic, endpoints }, "up");
    registry.expecting = engines.some((engine) => engine.url === null);
  };
  const listening = (engine: EngineProcess): void => {
    if (engine.restarts === 0) {
      publish();
      return;
    }
    log.info(`engine ${engine.url} is up again`);
    const endpoint = registry.list().find((candidate) => candidate.url === engine.url);
    if (endpoint !== undefined) health.hurry(endpoint);
  };
  for (let i = 0; i < up.engines; i++) {
    const engine: EngineProcess = new EngineProcess({
      clock: systemClock,
      args: events === null ? args : [...args, ...eventArgs(events, i)],
      onListening: () => listening(engine),
      onDeath: (how) => log.error(`engine ${engine.url ?? i + 1} has ended (${how}) and is started again`),
    });
    engines.push(engine);
  }
  announce();
  return engines;
}

function draw(
  terminal: Terminal,
  router: RunningRouter,
  engines: readonly EngineProcess[],
  config: RouterConfig,
  up: UpOptions,
  url: string,
): { stop(): void } {
  const observer = new Observer(router.context, up.models);
  const timers = [
    setInterval(() => {
      const snapshot = observer.look(engines);
      terminal.draw(
        renderView(snapshot, {
          url,
          model: up.models[0] ?? "",
          preset: up.preset,
          policy: config.dynamic.policy,
          columns: terminal.columns,
          rows: terminal.rows,
          color: true,
          log: terminal.log,
        }),
      );
    }, drawMs),
    setInterval(() => void observer.ask(), 2 * drawMs),
  ];
  return { stop: () => timers.forEach((timer) => clearInterval(timer)) };
}
