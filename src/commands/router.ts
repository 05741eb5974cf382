// `lmstack router`: the router alone, in production. Wires the router to the process: signals, exit code, first words.
import { systemClock } from "../clock.ts";
import { version } from "../config/parse-command.ts";
import type { RouterConfig } from "../config/types.ts";
import { startRouter } from "../proxy/start-router.ts";
import { explainListenError } from "./listen-error.ts";
import { tuneForRelay } from "./runtime.ts";
import { untilSignal } from "./signals.ts";

/** @returns exit code, when the router has drained */
export async function runRouter(config: RouterConfig, warnings: readonly string[]): Promise<number> {
  tuneForRelay();
  const router = await startRouter(config, {
    clock: systemClock,
    random: Math.random,
    version: version().replace(/^lmstack /, ""),
    page: null,
  }).catch((error: unknown) => {
    throw explainListenError(error, config);
  });
  for (const warning of warnings) router.log.warn(warning);
  router.log.info(`lmstack router listening on ${router.url}`, { url: router.url, port: router.port });
  const again = await untilSignal(["SIGTERM", "SIGINT"]);
  router.log.info("draining: not ready any more, running requests finish; a second signal ends at once");
  const drained = router.drain();
  await Promise.race([drained, again()]);
  router.close();
  return 0;
}
