// The connections to one engine. Newest first, so that the others grow old and are closed before the engine closes them:
// uvicorn does so after 5 s without a word, so ours live 4 s idle.
import type { Clock } from "../clock.ts";
import { EngineConnection, type EngineAddress } from "./engine-connection.ts";
import { HeadTemplates } from "./head-template.ts";
import type { ResponseHead } from "./response-parser.ts";
import type { Sweepable, Sweeper } from "./sweeper.ts";

export class EnginePool implements Sweepable {
  readonly #address: EngineAddress;
  readonly #clock: Clock;
  readonly #sweeper: Sweeper<EnginePool>;
  sweepSlot = -1;
  readonly #idleMs: number;
  readonly #templates = new HeadTemplates<ResponseHead>();
  readonly #idle: EngineConnection[] = [];
  readonly #all = new Set<EngineConnection>();
  /** Connections made since the start. */
  opened = 0;
  /** Requests sent on a connection that had served before. */
  reused = 0;

  constructor(address: EngineAddress, clock: Clock, sweeper: Sweeper<EnginePool>, idleMs: number) {
    this.#address = address;
    this.#clock = clock;
    this.#sweeper = sweeper;
    this.#idleMs = idleMs;
  }

  get size(): number {
    return this.#all.size;
  }

  /** An idle connection, else a new one that is being made. `fresh`: never an idle one. */
  acquire(fresh: boolean, nowMs: number = this.#clock.nowMs()): EngineConnection {
    if (!fresh) {
      const oldest = nowMs - this.#idleMs;
      for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
        if (!connection.closed && connection.idleSinceMs > oldest) {
          this.reused++;
          return connection;
        }
        connection.destroy();
      }
    }
    this.opened++;
    const connection = new EngineConnection(this.#address, this.#clock, this.#templates, this.#onIdle, this.#onClosed);
    this.#all.add(connection);
    return connection;
  }

  /** Closes what is idle; connections in use end with their request. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
    this.#sweeper.delete(this);
  }

  onSweep(nowMs: number): void {
    const oldest = nowMs - this.#idleMs;
    let keepFrom = 0;
    for (const connection of this.#idle) {
      if (connection.idleSinceMs > oldest) break;
      keepFrom++;
    }
    for (const connection of this.#idle.splice(0, keepFrom)) connection.destroy();
    if (this.#idle.length === 0) this.#sweeper.delete(this);
  }

  readonly #onIdle = (connection: EngineConnection): void => {
    this.#idle.push(connection);
    this.#sweeper.add(this);
  };

  readonly #onClosed = (connection: EngineConnection): void => {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  };
}
