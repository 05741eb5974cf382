// `lmstack engine`: starts simulated engines in this process, says where they listen, and stops them on a signal. Wires
// the parts together; it holds no logic of its own and must never outlive the process that started it over IPC.

import type { EngineCommandOptions as ConfiguredOptions } from "../config/types.ts";
import { KvEventsError, startEngine } from "../engine/serve.ts";
import type { EngineOptions, Fault, RunningEngine } from "../engine/serve.ts";
import { readAdapters, readFaults, readKvEvents, readKvTransfer, readScript, readTokenizer } from "./engine-inputs.ts";
import { UsageError } from "../errors/usage-error.ts";
import { explainListenError } from "./listen-error.ts";
import { readPreset } from "./preset.ts";

type Needed =
  | "host"
  | "port"
  | "models"
  | "preset"
  | "seed"
  | "engines"
  | "simApi"
  | "speed"
  | "apiKeys"
  | "maxModelLen"
  | "maxNumSeqs"
  | "maxNumBatchedTokens"
  | "blockSize"
  | "numGpuBlocks"
  | "maxNumQueuedReqs"
  | "startupSeconds";

/** Engine k listens on `port + k`; port 0 gives every engine a free one. What is left out has an engine's default. */
export type EngineCommandOptions = Pick<ConfiguredOptions, Needed> &
  Partial<ConfiguredOptions> & { readonly faults?: readonly Fault[] };

/**
 * Runs until SIGTERM, SIGINT (not below a parent) or the loss of the IPC channel; resolves with the exit code.
 * @throws UsageError when the preset or a port can't be had
 */
export async function runEngine(options: EngineCommandOptions): Promise<number> {
  try {
    return await serve(options, await common(options));
  } finally {
    // An open channel would keep the process alive after everything else is gone.
    if (process.connected) process.disconnect();
  }
}

/** What all engines of the process are told, with every file read. */
async function common(options: EngineCommandOptions): Promise<EngineOptions> {
  const { kvEventsConfig, kvTransferConfig, tokenizer, script, loraModules, faultNames, ...plain } = options;
  return {
    ...plain,
    preset: readPreset(options.preset),
    ...(typeof kvEventsConfig !== "string" ? {} : { kvEvents: readKvEvents(kvEventsConfig) }),
    ...(typeof kvTransferConfig !== "string" ? {} : { kvTransfer: readKvTransfer(kvTransferConfig) }),
    ...(typeof tokenizer !== "string" ? {} : { vocabulary: await readTokenizer(tokenizer) }),
    script: typeof script === "string" ? readScript(script) : [],
    loraModules: readAdapters(loraModules ?? []),
    faults: [...(options.faults ?? []), ...readFaults(faultNames ?? [])],
  };
}

async function serve(options: EngineCommandOptions, shared: EngineOptions): Promise<number> {
  const stop = new AbortController();
  const stopped = untilStopped().then(() => stop.abort());
  const crash = Promise.withResolvers<number>();
  const starts = await Promise.allSettled(
    Array.from({ length: options.engines }, (_, at) => start(options, shared, at, stop.signal, crash.resolve)),
  );
  const engines = starts.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const close = (): Promise<unknown> => Promise.all(engines.map((engine) => engine.close()));
  const failed = starts.findIndex((result) => result.status === "rejected");
  if (failed >= 0) {
    await close();
    // Told to stop while it was still starting up.
    if (stop.signal.aborted) return 0;
    const { host, port } = options;
    const reason = reasonOf(starts[failed]);
    if (reason instanceof KvEventsError) {
      throw new UsageError(`--kv-events-config: ${reason.message}; give other addresses, or ports from 1024 on`);
    }
    throw explainListenError(reason, { host, port: port === 0 ? 0 : port + failed });
  }
  for (const engine of engines) {
    process.stdout.write(`lmstack engine listening on ${engine.url}\n`);
    process.send?.({ type: "listening", url: engine.url });
  }
  const exitCode = await Promise.race([stopped.then(() => 0), crash.promise]);
  await close();
  return exitCode;
}

function reasonOf(result: PromiseSettledResult<RunningEngine> | undefined): unknown {
  return result?.status === "rejected" ? result.reason : undefined;
}

function start(
  options: EngineCommandOptions,
  shared: EngineOptions,
  at: number,
  signal: AbortSignal,
  crash: (exitCode: number) => void,
): Promise<RunningEngine> {
  return startEngine({
    // Engines of one process give different texts only if the clients ask for it: the same seed makes a request's answer
    // independent of the engine that was chosen.
    ...shared,
    signal,
    port: options.port === 0 ? 0 : options.port + at,
    kvPortOffset: at * (options.dataParallelSize ?? 1),
    // A crash fault takes the process down, as it would a real one; alone in its process only, or the other engines
    // would die with it.
    onCrash: (exitCode) => {
      if (options.engines === 1) crash(exitCode);
    },
  });
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGTERM", resolve);
    if (process.send === undefined) process.once("SIGINT", resolve);
    else {
      // Ctrl-C reaches every process of a terminal. Below `lmstack up` it is for the parent, which lets requests finish.
      process.on("SIGINT", () => undefined);
      process.once("disconnect", resolve);
    }
  });
}
