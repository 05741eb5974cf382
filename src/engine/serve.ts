// Starts one simulated engine in this process: core, HTTP server, faults. Used by the command, by `lmstack up` and by
// every test that needs an engine. It must leave nothing behind once `close` has resolved.

import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../clock.ts";
import { EngineApp } from "./api/app.ts";
import type { SimState } from "./api/app.ts";
import type { Fault } from "./api/faults.ts";
import { EngineServer } from "./api/server.ts";
import { resolveOptions } from "./options.ts";
import type { EngineOptions } from "./options.ts";

/** ZMQ addresses of one rank. */
export interface KvEventAddress {
  /** Null when the engine connects to its subscriber. */
  readonly endpoint: string | null;
  readonly replayEndpoint: string | null;
}

export interface RunningEngine {
  /** `http://host:port`, without a slash at the end. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Where each rank's KV events can be had; empty without them. */
  readonly kvEvents: readonly KvEventAddress[];
  /** The state that `GET /sim/state` gives. */
  state(): SimState;
  /** As `POST /sim/faults`. */
  setFault(fault: Fault): void;
  clearFaults(): void;
  /**
   * As SIGTERM: refuses connections, ends requests in flight with `finish_reason` `abort`, closes; all of it after
   * `shutdownTimeoutSeconds`, while which new requests get 500 and health stays 200.
   */
  close(): Promise<void>;
  /** As SIGKILL: every socket is reset, nothing more is said. */
  crash(): void;
}

/** Resolves once the engine listens. Rejects when the port is taken, an option is wrong, or `signal` ends the wait. */
export async function startEngine(options: EngineOptions = {}): Promise<RunningEngine> {
  const resolved = resolveOptions(options);
  const clock = options.clock ?? systemClock;
  const app = new EngineApp(resolved, clock);
  const server = new EngineServer(app);
  // Not the clock's timer: that one does not keep a process alive, and there is nothing else yet that would.
  if (resolved.startupSeconds > 0) {
    await delay(
      resolved.startupSeconds * 1000,
      undefined,
      options.signal === undefined ? {} : { signal: options.signal },
    );
  }
  await app.open();
  try {
    await server.listen();
  } catch (error) {
    app.close();
    throw error;
  }
  let closing: Promise<void> | null = null;
  const host = resolved.host.includes(":") ? `[${resolved.host}]` : resolved.host;
  return {
    url: `http://${host}:${server.port}`,
    host: resolved.host,
    port: server.port,
    kvEvents: app.ranks.flatMap(({ kvEvents }) =>
      kvEvents === null ? [] : [{ endpoint: kvEvents.endpoint, replayEndpoint: kvEvents.replayEndpoint }],
    ),
    state: () => app.state(),
    setFault: (fault) => server.applyFault(fault),
    clearFaults: () => app.clearFaults(),
    close() {
      closing ??= shutDown(app, server);
      return closing;
    },
    crash() {
      app.freeze();
      app.close();
      server.crash();
    },
  };
}

async function shutDown(app: EngineApp, server: EngineServer): Promise<void> {
  const { shutdownTimeoutSeconds } = app.options;
  if (shutdownTimeoutSeconds > 0) {
    app.draining = true;
    // The whole time, as recorded, though the last request may be done long before. The listener keeps the process.
    await new Promise<void>((resolve) => app.clock.setTimer(shutdownTimeoutSeconds * 1000, resolve));
  }
  app.abortAll("abort");
  app.freeze();
  await server.close();
  app.close();
}

export { parseFaultHeader } from "./api/faults.ts";
export { findPreset, presetIds } from "./core/index.ts";
export { parseKvTransferConfig } from "./api/kv-transfer.ts";
export { parseKvEventsConfig } from "./kv-events/config.ts";
export { KvEventsError } from "./kv-events/publisher.ts";
export { loadModelTokenizer } from "./text/model-tokenizer.ts";
export type { Preset } from "./core/index.ts";
export type { LoraModule, ScriptLine } from "./options.ts";
export type { EngineOptions, Fault, SimState };
