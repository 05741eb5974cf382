// Faults: what can be told to go wrong, for whom, and how it looks on the wire. Between the server, which asks for the
// fault of a request, and the exchange, which acts it out. It must never touch a request to /sim itself.

import type { Exchange } from "./exchange.ts";
import type { EventStream } from "./event-stream.ts";
import { engineDeadMessage, errorEvent } from "./errors.ts";
import { Random } from "../core/index.ts";

export const faultNames = [
  "refuse",
  "hang",
  "hang_before_headers",
  "stall_mid_stream",
  "cut_mid_stream",
  "error_frame",
  "error_status",
  "queue_full",
  "engine_dead",
  "crash",
  "wrong_models",
  "slow_headers",
  "slow_body_read",
  "oom",
  "clock_skew",
  "metrics_slow",
  "metrics_stale",
  "metrics_missing",
  "metrics_garbage",
  "kv_events_lost",
  "kv_events_duplicated",
  "kv_events_reordered",
  "kv_events_restarted",
] as const;

export type FaultName = (typeof faultNames)[number];

export const cutVariants = ["clean", "reset", "half_frame", "half_chunk"] as const;
export type CutVariant = (typeof cutVariants)[number];

export interface Fault {
  readonly fault: FaultName;
  /** Status of `error_status`; default 500. */
  readonly status?: number;
  /** Part of the requests that it hits, 0 to 1; default 1. */
  readonly share?: number;
  /**
   * How long it lasts; until cleared without it. `refuse` needs it, default 1. `slow_headers`, `slow_body_read` and
   * `metrics_slow` are as slow as this and last until cleared; `clock_skew` is as wrong as this.
   */
  readonly seconds?: number;
  /** How `cut_mid_stream` cuts; default `reset`. */
  readonly variant?: CutVariant;
  /** Events that are sent before a mid-stream fault; default 3. */
  readonly after?: number;
  /** `retry-after` header of `error_status`, seconds. */
  readonly retryAfter?: number;
}

/** Faults whose `seconds` say how much and not how long. */
const amounts: ReadonlySet<FaultName> = new Set(["slow_headers", "slow_body_read", "metrics_slow", "clock_skew"]);

export function isFaultName(name: string): name is FaultName {
  return (faultNames as readonly string[]).includes(name);
}

/** Reads `name[:arg[:arg]]` of the x-sim-fault header: a number is a status, a count or seconds; a word is a variant. */
export function parseFaultHeader(text: string): Fault | null {
  const [name = "", ...args] = text.trim().split(":");
  if (!isFaultName(name)) return null;
  let fault: Fault = { fault: name };
  for (const arg of args) {
    const variant = cutVariants.find((entry) => entry === arg);
    const value = Number(arg);
    if (variant !== undefined) fault = { ...fault, variant };
    else if (!Number.isFinite(value)) return null;
    else if (name === "error_status") fault = { ...fault, status: value };
    else if (name === "refuse" || amounts.has(name)) fault = { ...fault, seconds: value };
    else fault = { ...fault, after: value };
  }
  return fault;
}

/** The faults in force. */
export class FaultSwitchboard {
  readonly #random: Random;
  readonly #nowMs: () => number;
  readonly #active = new Map<FaultName, { fault: Fault; untilMs: number }>();

  constructor(seed: number, nowMs: () => number) {
    this.#random = new Random(seed ^ 0x5eed);
    this.#nowMs = nowMs;
  }

  set(fault: Fault): void {
    const amount = amounts.has(fault.fault);
    const untilMs = fault.seconds === undefined || amount ? Infinity : this.#nowMs() + fault.seconds * 1000;
    this.#active.set(fault.fault, { fault, untilMs });
  }

  clear(name?: FaultName): void {
    if (name === undefined) this.#active.clear();
    else this.#active.delete(name);
  }

  list(): readonly Fault[] {
    for (const [name, entry] of this.#active) if (entry.untilMs <= this.#nowMs()) this.#active.delete(name);
    return [...this.#active.values()].map((entry) => entry.fault);
  }

  /** The fault of this name if it is in force and, by its share, hits this time. */
  hit(name: FaultName): Fault | null {
    const entry = this.#active.get(name);
    if (entry === undefined) return null;
    if (entry.untilMs <= this.#nowMs()) {
      this.#active.delete(name);
      return null;
    }
    const share = entry.fault.share ?? 1;
    return share >= 1 || this.#random.unit() < share ? entry.fault : null;
  }
}

/** A fault bound to one exchange that streams or sends a body. */
export class RequestFault {
  readonly #fault: Fault;
  #acted = false;

  constructor(fault: Fault) {
    this.#fault = fault;
  }

  /** Asked before every event; true when the event must not be sent. */
  onFrame(exchange: Exchange, stream: EventStream, event: string, count: number): boolean {
    if (this.#acted) return true;
    if (count <= (this.#fault.after ?? 3)) return false;
    switch (this.#fault.fault) {
      case "stall_mid_stream":
        this.#acted = true;
        return true;
      case "error_frame":
        this.#acted = true;
        // Not a client abort: the sequence leaves the engine before the connection does.
        exchange.release?.();
        this.#errorFrame(stream, exchange);
        return true;
      case "cut_mid_stream":
        this.#acted = true;
        exchange.release?.();
        this.#cut(exchange, stream, event);
        return true;
      default:
        return false;
    }
  }

  /** True when the stream's normal end must not be sent. */
  holdsEnd(): boolean {
    return this.#acted;
  }

  /** Cuts a body that is not a stream; true when it did. */
  cutBody(exchange: Exchange, body: Buffer): boolean {
    if (this.#fault.fault !== "cut_mid_stream" || this.#acted) return false;
    this.#acted = true;
    exchange.response.write(body.subarray(0, Math.floor(body.length / 2)));
    if (this.#fault.variant === undefined || this.#fault.variant === "reset") exchange.socket.resetAndDestroy();
    else exchange.socket.end();
    return true;
  }

  #errorFrame(stream: EventStream, exchange: Exchange): void {
    const event = errorEvent(engineDeadMessage);
    stream.raw(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`);
    stream.raw("e\r\ndata: [DONE]\n\n\r\n");
    stream.abandon();
    exchange.response.end();
  }

  #cut(exchange: Exchange, stream: EventStream, event: string): void {
    const half = event.slice(0, Math.floor(event.length / 2));
    stream.abandon();
    switch (this.#fault.variant ?? "reset") {
      case "clean":
        // Well-formed HTTP, and no [DONE]: only the SSE reader can tell.
        exchange.response.end();
        return;
      case "half_frame":
        stream.raw(`${Buffer.byteLength(half).toString(16)}\r\n${half}\r\n`);
        exchange.response.end();
        return;
      case "half_chunk":
        stream.raw(`${Buffer.byteLength(event).toString(16)}\r\n${half}`);
        exchange.socket.end();
        return;
      case "reset":
        exchange.socket.resetAndDestroy();
    }
  }
}
