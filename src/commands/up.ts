// `lmstack up`: the embedded default. A router in this process, simulated engines as children of it, a live view on a
// terminal and plain lines elsewhere. Wires them together; Ctrl-C ends all of it.
import { systemClock } from "../clock.ts";
import { version } from "../config/parse-command.ts";
import type { RouterConfig, UpOptions } from "../config/types.ts";
import { page } from "../console/page.ts";
import { RouterLog } from "../observe/log.ts";
import { startRouter, type RunningRouter } from "../proxy/start-router.ts";
import { explainListenError } from "./listen-error.ts";
import { untilSignal } from "./signals.ts";
import { EngineProcess } from "./up/engine-process.ts";
import { renderView } from "./up/live-view.ts";
import { Observer } from "./up/snapshot.ts";
import { Terminal } from "./up/terminal.ts";

const drawMs = 500;

/** @returns exit code, when everything has ended */
export async function runUp(config: RouterConfig, up: UpOptions, warnings: readonly string[]): Promise<number> {
  const terminal = process.stdout.isTTY ? new Terminal(process.stdout) : null;
  const log = terminal === null ? new RouterLog(config.log) : new RouterLog({ ...config.log, routingLine: false }, terminal);
  let router: RunningRouter;
  try {
    router = await startRouter(config, { clock: systemClock, random: Math.random, version: version().replace(/^lmstack /, ""), page, log });
  } catch (error) {
    terminal?.close();
    throw explainListenError(error, config);
  }
  for (const warning of warnings) log.warn(warning);
  log.info(`lmstack up: ${router.url} with ${up.engines} simulated engines of ${up.models.join(", ")} (${up.preset})`);
  const engines = startEngines(config, up, router, log);
  const view = terminal === null ? null : draw(terminal, router, engines, config, up);
  const again = await untilSignal(["SIGINT", "SIGTERM"]);
  view?.stop();
  log.info("ending; once more ends at once");
  const gone = router.drain().then(() => Promise.all(engines.map((engine) => engine.stop())));
  await Promise.race([gone, again().then(() => Promise.all(engines.map((engine) => engine.stop())))]);
  router.close();
  terminal?.close();
  return 0;
}

function startEngines(config: RouterConfig, up: UpOptions, router: RunningRouter, log: RouterLog): EngineProcess[] {
  const args = ["--host", "127.0.0.1", "--sim-api", "--preset", up.preset, "--seed", String(up.seed), "--speed", String(up.speed)];
  for (const model of up.models) args.push("--model", model);
  const engines: EngineProcess[] = [];
  const publish = (): void => {
    const endpoints = engines.flatMap(({ url }) => (url === null ? [] : [{ url, models: up.models, label: null, modelType: null }]));
    router.apply({ ...config.dynamic, endpoints }, "up");
    if (endpoints.length === up.engines && endpoints.length > 0) log.info(`all ${up.engines} engines are up: ${router.url} answers`);
  };
  for (let i = 0; i < up.engines; i++) {
    const engine: EngineProcess = new EngineProcess({
      clock: systemClock,
      args,
      onListening: publish,
      onDeath: (how) => log.error(`engine ${engine.url ?? i} has ended (${how}) and is started again`),
    });
    engines.push(engine);
  }
  return engines;
}

function draw(
  terminal: Terminal,
  router: RunningRouter,
  engines: readonly EngineProcess[],
  config: RouterConfig,
  up: UpOptions,
): { stop(): void } {
  const observer = new Observer(router.context, up.models);
  const timers = [
    setInterval(() => {
      const snapshot = observer.look(engines);
      terminal.draw(
        renderView(snapshot, {
          url: router.url,
          model: up.models[0] ?? "",
          preset: up.preset,
          policy: config.dynamic.policy,
          columns: terminal.columns,
          color: true,
          log: terminal.log,
        }),
      );
    }, drawMs),
    setInterval(() => void observer.ask(), 2 * drawMs),
  ];
  return { stop: () => timers.forEach((timer) => clearInterval(timer)) };
}
