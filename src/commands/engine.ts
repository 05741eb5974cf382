// `lmstack engine`: starts simulated engines in this process, says where they listen, and stops them on a signal. Wires
// the parts together; it holds no logic of its own and must never outlive the process that started it over IPC.

import { startEngine } from "../engine/serve.ts";
import type { EngineOptions, Fault, RunningEngine } from "../engine/serve.ts";
import { explainListenError } from "./listen-error.ts";
import { readPreset } from "./preset.ts";

export interface EngineCommandOptions {
  readonly host: string;
  /** First port; engine k listens on `port + k`. 0 gives every engine a free one. */
  readonly port: number;
  /** Served names; empty means the default one. */
  readonly models: readonly string[];
  /** Preset id, or a JSON file. */
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

/**
 * Runs until SIGTERM, SIGINT (not below a parent) or the loss of the IPC channel; resolves with the exit code.
 * @throws UsageError when the preset or a port can't be had
 */
export async function runEngine(options: EngineCommandOptions): Promise<number> {
  try {
    return await serve(options, readPreset(options.preset));
  } finally {
    // An open channel would keep the process alive after everything else is gone.
    if (process.connected) process.disconnect();
  }
}

async function serve(options: EngineCommandOptions, preset: NonNullable<EngineOptions["preset"]>): Promise<number> {
  const stop = new AbortController();
  const stopped = untilStopped().then(() => stop.abort());
  const crash = Promise.withResolvers<void>();
  const starts = await Promise.allSettled(
    Array.from({ length: options.engines }, (_, at) => start(options, preset, at, stop.signal, crash.resolve)),
  );
  const engines = starts.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const close = (): Promise<unknown> => Promise.all(engines.map((engine) => engine.close()));
  const failed = starts.findIndex((result) => result.status === "rejected");
  if (failed >= 0) {
    await close();
    // Told to stop while it was still starting up.
    if (stop.signal.aborted) return 0;
    const { host, port } = options;
    throw explainListenError(reasonOf(starts[failed]), { host, port: port === 0 ? 0 : port + failed });
  }
  for (const engine of engines) {
    process.stdout.write(`lmstack engine listening on ${engine.url}\n`);
    process.send?.({ type: "listening", url: engine.url });
  }
  const crashed = await Promise.race([stopped.then(() => false), crash.promise.then(() => true)]);
  await close();
  return crashed ? 1 : 0;
}

function reasonOf(result: PromiseSettledResult<RunningEngine> | undefined): unknown {
  return result?.status === "rejected" ? result.reason : undefined;
}

function start(
  options: EngineCommandOptions,
  preset: NonNullable<EngineOptions["preset"]>,
  at: number,
  signal: AbortSignal,
  crash: () => void,
): Promise<RunningEngine> {
  return startEngine({
    signal,
    host: options.host,
    port: options.port === 0 ? 0 : options.port + at,
    models: options.models,
    preset,
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
    process.once("SIGTERM", resolve);
    if (process.send === undefined) process.once("SIGINT", resolve);
    else {
      // Ctrl-C reaches every process of a terminal. Below `lmstack up` it is for the parent, which lets requests finish.
      process.on("SIGINT", () => undefined);
      process.once("disconnect", resolve);
    }
  });
}
