// `lmstack engine`: starts simulated engines in this process, says where they listen, and stops them on a signal. Wires
// the parts together; it holds no logic of its own and must never outlive the process that started it over IPC.

import { startEngine } from "../engine/serve.ts";
import type { Fault, RunningEngine } from "../engine/serve.ts";

export interface EngineCommandOptions {
  readonly host: string;
  /** First port; engine k listens on `port + k`. 0 gives every engine a free one. */
  readonly port: number;
  /** Served names; empty means the default one. */
  readonly models: readonly string[];
  /** Preset id. */
  readonly preset: string;
  readonly seed: number;
  /** How many engines this process runs. */
  readonly engines: number;
  readonly simApi: boolean;
  readonly speed: number;
  readonly apiKeys: readonly string[];
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly blockSize: number;
  /** Null takes the preset's. */
  readonly numGpuBlocks: number | null;
  /** Null sets no limit. */
  readonly maxNumQueuedReqs: number | null;
  readonly startupSeconds: number;
  readonly faults?: readonly Fault[];
}

/** Runs until SIGINT, SIGTERM or the loss of the IPC channel; resolves with the exit code. */
export async function runEngine(options: EngineCommandOptions): Promise<number> {
  const stop = new AbortController();
  const stopped = untilStopped().then(() => stop.abort());
  const crash = Promise.withResolvers<void>();
  let engines: readonly RunningEngine[];
  try {
    engines = await Promise.all(
      Array.from({ length: options.engines }, (_, at) => start(options, at, stop.signal, crash.resolve)),
    );
  } catch (error) {
    // Told to stop while it was still starting up.
    if (stop.signal.aborted) return 0;
    process.stderr.write(`lmstack engine: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
  for (const engine of engines) {
    process.stdout.write(`lmstack engine listening on ${engine.url}\n`);
    process.send?.({ type: "listening", url: engine.url });
  }
  const crashed = await Promise.race([stopped.then(() => false), crash.promise.then(() => true)]);
  await Promise.all(engines.map((engine) => engine.close()));
  // An open channel would keep the process alive after everything else is gone.
  if (process.connected) process.disconnect();
  return crashed ? 1 : 0;
}

function start(
  options: EngineCommandOptions,
  at: number,
  signal: AbortSignal,
  crash: () => void,
): Promise<RunningEngine> {
  return startEngine({
    signal,
    host: options.host,
    port: options.port === 0 ? 0 : options.port + at,
    models: options.models,
    preset: options.preset,
    // Engines of one process give different texts only if the clients ask for it: the same seed makes a request's answer
    // independent of the engine that was chosen.
    seed: options.seed,
    simApi: options.simApi,
    speed: options.speed,
    apiKeys: options.apiKeys,
    maxModelLen: options.maxModelLen,
    maxNumSeqs: options.maxNumSeqs,
    maxNumBatchedTokens: options.maxNumBatchedTokens,
    blockSize: options.blockSize,
    numGpuBlocks: options.numGpuBlocks,
    maxNumQueuedReqs: options.maxNumQueuedReqs,
    startupSeconds: options.startupSeconds,
    ...(options.faults === undefined ? {} : { faults: options.faults }),
    // A crash fault takes the process down, as it would a real one; alone in its process only, or the other engines
    // would die with it.
    onCrash: () => {
      if (options.engines === 1) crash();
    },
  });
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
    if (process.send !== undefined) process.once("disconnect", resolve);
  });
}
