// `lmstack router`: the router alone, in production. Wires the router to the process: signals, exit code, first words.
import { systemClock } from "../clock.ts";
import { version } from "../config/parse-command.ts";
import type { RouterConfig } from "../config/types.ts";
import { startRouter } from "../proxy/start-router.ts";
import { descriptorLimit, descriptorWarning } from "./descriptors.ts";
import { explainListenError } from "./listen-error.ts";
import { collectWhenQuiet } from "./quiet-collection.ts";
import { tuneForRelay } from "./runtime.ts";
import { untilSignal } from "./signals.ts";
import { announceReady, replaced } from "./successor.ts";

/** @returns exit code, when the router has drained */
export async function runRouter(config: RouterConfig, warnings: readonly string[]): Promise<number> {
  tuneForRelay(systemClock);
  // until it listens: one that takes over a socket waits for its engines first, and nothing of that keeps a process alive
  const alive = setInterval(() => undefined, 60_000);
  const router = await startRouter(config, {
    clock: systemClock,
    random: Math.random,
    version: version().replace(/^lmstack /, ""),
    page: null,
    onQuiet: collectWhenQuiet(systemClock),
  })
    .catch((error: unknown) => {
      throw explainListenError(error, config);
    })
    .finally(() => clearInterval(alive));
  // before the first words: who has read them may send a signal at once
  const told = untilSignal(["SIGTERM", "SIGINT"]);
  const succeeded = replaced(router, systemClock);
  const limit = descriptorWarning(descriptorLimit());
  for (const warning of limit === null ? warnings : [...warnings, limit]) router.log.warn(warning);
  router.log.info(`lmstack router listening on ${router.url}`, { url: router.url, port: router.port });
  announceReady();
  const successor = await Promise.race([told.then(() => null), succeeded]);
  if (successor !== null) {
    router.log.info(`process ${successor} has taken over: running requests finish here; a signal ends at once`);
    await Promise.race([router.handOver(), told]);
  } else {
    router.log.info("draining: not ready any more, running requests finish; a second signal ends at once");
    const again = await told;
    await Promise.race([router.drain(), again()]);
  }
  router.close();
  return 0;
}
