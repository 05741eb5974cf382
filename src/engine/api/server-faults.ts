// The faults that the server itself acts out: those before an answer begins, and those of the listener and the process.
// Between the server and its routes. It must never touch a request to /sim, by which faults are taken back.

import type { EngineApp } from "./app.ts";
import { ApiError, queueFull } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { parseFaultHeader, RequestFault } from "./faults.ts";
import type { Fault } from "./faults.ts";
import type { FoundRoute } from "./routes.ts";

/** What only the server can do. */
export interface ServerActions {
  stopListening(): void;
  /** Listens again on the same port, unless it was closed for good. */
  listenAgain(): void;
  crash(): void;
}

export class ServerFaults {
  readonly #app: EngineApp;
  readonly #actions: ServerActions;

  constructor(app: EngineApp, actions: ServerActions) {
    this.#app = app;
    this.#actions = actions;
  }

  /** Under a fault the body is left in the socket for a while, so that a large one fills the client's buffers. */
  slowRead(exchange: Exchange): void {
    if (exchange.path.startsWith("/sim/")) return;
    const fault = this.pick(exchange, "slow_body_read");
    if (fault === null) return;
    const { request } = exchange;
    request.pause();
    this.#app.clock.setTimer((fault.seconds ?? 1) * 1000, () => request.resume());
  }

  /** The fault of this name that the request asks for, or that is in force for it. */
  pick(exchange: Exchange, name: Fault["fault"]): Fault | null {
    const own = this.#own(exchange);
    return own?.fault === name ? own : this.#app.faults.hit(name);
  }

  #own(exchange: Exchange): Fault | null {
    const header = this.#app.options.simApi ? exchange.header("x-sim-fault") : undefined;
    return header === undefined ? null : parseFaultHeader(header);
  }

  /** True when a fault answers, or deliberately does not. */
  takesOver(exchange: Exchange, { route }: FoundRoute): boolean {
    const { faults } = this.#app;
    const header = this.#app.options.simApi ? exchange.header("x-sim-fault") : undefined;
    const own = header === undefined ? null : parseFaultHeader(header);
    if (header !== undefined && own === null) {
      throw new ApiError(400, "BadRequestError", `x-sim-fault is not understood: ${header}`, "x-sim-fault");
    }
    const pick = (name: Fault["fault"]): Fault | null => (own?.fault === name ? own : faults.hit(name));
    if (pick("hang") !== null) return true;
    if (own !== null && ["refuse", "crash", "oom", "engine_dead"].includes(own.fault)) {
      this.apply(own);
      if (own.fault === "crash" || own.fault === "oom") return true;
    }
    if (!route.generates) return false;
    const status = pick("error_status");
    if (status !== null) {
      this.#errorStatus(exchange, status);
      return true;
    }
    if (own?.fault === "queue_full") throw queueFull();
    if (pick("hang_before_headers") !== null) {
      exchange.mute();
      return false;
    }
    const mid = pick("stall_mid_stream") ?? pick("cut_mid_stream") ?? pick("error_frame");
    if (mid !== null) exchange.fault = new RequestFault(mid);
    return false;
  }

  #errorStatus(exchange: Exchange, fault: Fault): void {
    const status = fault.status ?? 500;
    if (status === 503 && fault.retryAfter === undefined) {
      exchange.fail(queueFull());
      return;
    }
    const type = status === 429 ? "RateLimitError" : status === 503 ? "Service Unavailable" : "InternalServerError";
    const retry = fault.retryAfter === undefined ? [] : ["retry-after", String(fault.retryAfter)];
    const body = {
      error: { message: `The simulator was told to fail with ${status}.`, type, param: null, code: status },
    };
    exchange.send(status, "application/json", JSON.stringify(body), retry);
  }

  /** Puts a fault in force. Those that concern the listener or the process act at once. */
  apply(fault: Fault): void {
    const app = this.#app;
    switch (fault.fault) {
      case "crash":
      case "oom":
        // After the response to whoever asked for it has left.
        app.clock.setTimer(0, () => {
          app.freeze();
          this.#actions.crash();
          app.options.onCrash(fault.fault === "oom" ? 137 : 1);
        });
        return;
      case "refuse":
        this.#actions.stopListening();
        app.clock.setTimer((fault.seconds ?? 1) * 1000, () => {
          this.#actions.listenAgain();
        });
        return;
      case "engine_dead":
        app.faults.set(fault);
        app.abortAll("error");
        return;
      default:
        app.faults.set(fault);
    }
  }
}
