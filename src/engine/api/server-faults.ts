// The faults that the server itself acts out: those before an answer begins, and those of the listener and the process.
// Between the server and its routes. It must never touch a request to /sim, by which faults are taken back.

import type { Timer } from "../../clock.ts";
import type { EngineApp } from "./app.ts";
import { ApiError, queueFull } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { parseFaultHeader, RequestFault } from "./faults.ts";
import type { Fault, FaultName } from "./faults.ts";
import type { FoundRoute } from "./routes.ts";

/** What only the server can do. */
export interface ServerActions {
  stopListening(): void;
  /** Listens again on the same port, unless it was closed for good. */
  listenAgain(): void;
  crash(): void;
}

/** What no single request can have. */
const ofEngine: ReadonlySet<FaultName> = new Set([
  "clock_skew",
  "kv_events_lost",
  "kv_events_duplicated",
  "kv_events_reordered",
  "kv_events_restarted",
]);

export class ServerFaults {
  readonly #app: EngineApp;
  readonly #actions: ServerActions;
  #listensAgain: Timer | null = null;

  constructor(app: EngineApp, actions: ServerActions) {
    this.#app = app;
    this.#actions = actions;
  }

  /** Under a fault the body is left in the socket for a while, so that a large one fills the client's buffers. */
  slowRead(exchange: Exchange): void {
    if (exchange.path.startsWith("/sim/")) return;
    const fault = this.#app.faultOf(exchange, "slow_body_read");
    if (fault === null) return;
    const { request } = exchange;
    request.pause();
    this.#app.clock.setTimer((fault.seconds ?? 1) * 1000, () => request.resume());
  }

  /** True when a fault answers, or deliberately does not. */
  takesOver(exchange: Exchange, { route }: FoundRoute): boolean {
    const own = this.#ownFault(exchange);
    const pick = (name: Fault["fault"]): Fault | null => this.#app.faultOf(exchange, name);
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

  /** @throws ApiError when the header is not understood, or names what no single request can have */
  #ownFault(exchange: Exchange): Fault | null {
    const header = this.#app.options.simApi ? exchange.header("x-sim-fault") : undefined;
    if (header === undefined) return null;
    const own = parseFaultHeader(header);
    if (own !== null && !ofEngine.has(own.fault)) return own;
    const reason = own === null ? "is not understood" : "is of the whole engine and not of a request: POST /sim/faults";
    throw new ApiError(400, "BadRequestError", `x-sim-fault: ${header} ${reason}`, "x-sim-fault");
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
        // Told again meanwhile, it refuses from now on for the seconds of the last word.
        if (this.#listensAgain === null) this.#actions.stopListening();
        this.#listensAgain?.cancel();
        this.#listensAgain = app.clock.setTimer((fault.seconds ?? 1) * 1000, () => {
          this.#listensAgain = null;
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
