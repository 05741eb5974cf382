// One try on one endpoint: connection, ticket, time limits, and the first decision about the answer (hold it, stream it,
// pass it). It ends in exactly one of: failed (nothing reached the client), completed, interrupted, abandoned.
import type { RelayRow } from "../api/table.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import type { EngineConnection, EngineFailure, EngineReceiver, OutgoingBody } from "../http/engine-connection.ts";
import { headerValue } from "../http/head.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import { LmstackError } from "../errors/catalogue.ts";
import type { RouterConfig } from "../config/types.ts";
import type { LoadTicket } from "../routing/load.ts";
import type { ChoiceReason } from "../routing/policy.ts";
import { connectionFailure, heldFailure, mayRetryStatus, timeoutFailure, type AttemptFailure } from "./failure.ts";
import { ContinuedRelay } from "./migration/continued-relay.ts";
import type { Seam } from "./migration/seam.ts";
import { PlainRelay } from "./plain-relay.ts";
import type { Relay, RelayOwner } from "./relay.ts";
import type { StreamPace } from "./stream-pace.ts";
import { StreamRelay } from "./stream-relay.ts";
import { UsageFilter } from "./usage-filter.ts";

/** An error body is read up to here before another endpoint is tried. */
const maxHeldBytes = 64 * 1024;

export class Attempt implements EngineReceiver {
  readonly endpoint: Endpoint;
  readonly reason: ChoiceReason;
  readonly ticket: LoadTicket;
  readonly startedMs: number;
  readonly #owner: RelayOwner;
  readonly #row: RelayRow;
  readonly #connection: EngineConnection;
  readonly #expectStream: boolean;
  /** It goes on with an answer that another engine has begun; null = it answers the request. */
  readonly #seam: Seam | null;
  /** Last bytes from the engine, by the clock. */
  lastReadMs: number;
  /** The connection counts, the deadlines look: a clock read for each frame would be dearer than the rest. */
  #readsSeen = 0;
  #relay: Relay | null = null;
  #held: Buffer[] | null = null;
  #heldBytes = 0;
  #over = false;
  head: ResponseHead | null = null;
  /** Something of this attempt's answer has reached the client. */
  committed = false;
  /** Measures a stream; null before its first event. */
  pace: StreamPace | null = null;
  /** The engine has accepted a stream and the client waits for its first event. */
  streaming = false;

  constructor(
    owner: RelayOwner,
    row: RelayRow,
    endpoint: Endpoint,
    reason: ChoiceReason,
    fresh: boolean,
    expectStream: boolean,
    ticket: LoadTicket,
    nowMs: number,
    seam: Seam | null = null,
  ) {
    this.#seam = seam;
    this.#owner = owner;
    this.#row = row;
    this.endpoint = endpoint;
    this.reason = reason;
    this.startedMs = nowMs;
    this.lastReadMs = this.startedMs;
    this.#expectStream = expectStream;
    this.ticket = ticket;
    this.#connection = endpoint.pool.acquire(fresh, nowMs);
  }

  send(head: string, body: OutgoingBody, headRequest: boolean): void {
    this.#connection.send(head, body, headRequest, this);
  }

  /** The client has left, or the request has ended otherwise: the engine must stop working for it, in this very turn. */
  abandon(): void {
    this.#over = true;
    this.#connection.destroy();
  }

  /** Reads on its connection so far. */
  get reads(): number {
    return this.#connection.reads;
  }

  /** Number of the last event that the client has got of it, where the API numbers them; -1 = none. */
  get lastNumber(): number {
    return this.#relay?.lastNumber ?? -1;
  }

  /** Whether the system has taken all of the request. */
  get requestSent(): boolean {
    return this.#connection.requestSent;
  }

  resume(): void {
    this.#connection.resume();
  }

  onConnected(): void {
    this.#owner.connected(this.startedMs);
  }

  onHead(head: ResponseHead): void {
    this.head = head;
    // events that something in between has compressed can't be read: they pass like any other answer
    const stream =
      head.mediaType === "text/event-stream" &&
      head.status === 200 &&
      headerValue(head.headers, "content-encoding") === null;
    // inside a stream that has begun with a heartbeat only events can follow: any other answer is read and told as one
    if (mayRetryStatus(head.status) || (!stream && this.#owner.exchange.started)) {
      this.#held = [];
      return;
    }
    if (stream) {
      this.streaming = true;
      this.#relay = this.#streamRelay(head);
    } else this.#relay = new PlainRelay(this.#owner, this.#connection, head, this.#row, this.endpoint.id);
  }

  #streamRelay(head: ResponseHead): Relay {
    const owner = this.#owner;
    const { id } = this.endpoint;
    if (this.#seam !== null) return new ContinuedRelay(owner, this.#connection, head, this.#seam, id);
    const relay = new StreamRelay(owner, this.#connection, head, this.#row, id);
    return owner.asksForUsage === true ? new UsageFilter(owner, relay) : relay;
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    if (this.#held !== null) {
      this.#hold(this.#held, buf.subarray(start, end));
      return;
    }
    this.#relay?.onChunkData(buf, start, end);
  }

  /** Keeps a piece of an error's body. One that does not end is not read for ever, and half of one is not shown. */
  #hold(held: Buffer[], piece: Buffer): void {
    if (this.#over) return;
    this.#heldBytes += piece.length;
    if (this.#heldBytes <= maxHeldBytes) {
      held.push(Buffer.from(piece));
      return;
    }
    if (this.head !== null)
      this.#fail({ ...heldFailure(this.head, Buffer.concat(held), this.endpoint.id), answer: null });
  }

  onRead(buf: Buffer, start: number, end: number, whole: boolean, last: boolean): void {
    this.#relay?.onRead(buf, start, end, whole, last);
  }

  onMessageEnd(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#held !== null && this.head !== null) {
      this.#owner.failed(heldFailure(this.head, Buffer.concat(this.#held), this.endpoint.id));
      return;
    }
    this.#relay?.onMessageEnd();
  }

  onFailure(what: EngineFailure): void {
    if (this.#over) return;
    this.#over = true;
    if (this.committed && this.#relay?.flush() === true) return;
    if (!this.committed) this.#owner.failed(connectionFailure(what, this.endpoint.id));
    else if (this.#relay?.whole === true) this.#relay.onMessageEnd();
    else {
      this.#owner.interrupted(
        new LmstackError("stream_interrupted", `The engine ${this.endpoint.id} failed in mid-answer: ${what.detail}.`),
        null,
        "reset",
      );
    }
  }

  /** Looks at the time limits. */
  check(nowMs: number, timeouts: RouterConfig["timeouts"]): void {
    if (this.#over) return;
    if (this.#connection.reads !== this.#readsSeen) {
      this.#readsSeen = this.#connection.reads;
      this.lastReadMs = nowMs;
      // a head says nothing: an engine's server sends it also when the engine itself hangs
      if (this.committed) this.endpoint.progress.heard(nowMs);
    } else if (this.#connection.connected && !this.#connection.paused) this.endpoint.progress.expects(nowMs);
    if (!this.#connection.connected) {
      if (nowMs - this.startedMs > timeouts.connectMs)
        this.#connection.failConnect(`no connection within ${timeouts.connectMs / 1000} s`);
      return;
    }
    if (!this.committed) {
      const limited = this.head !== null || this.#expectStream;
      if (limited && nowMs - this.startedMs > timeouts.firstEventMs) {
        this.#fail(timeoutFailure("engine_first_event_timeout", this.endpoint.id, timeouts.firstEventMs));
      }
      return;
    }
    if (this.#connection.paused) {
      // the client is slow, not the engine
      this.lastReadMs = nowMs;
      this.pace?.skip(this.reads, nowMs);
      return;
    }
    this.pace?.look(this.reads, nowMs);
    if (nowMs - this.lastReadMs > timeouts.idleMs) {
      if (this.endWhole()) return;
      this.abandon();
      this.#owner.interrupted(
        new LmstackError(
          "engine_idle_timeout",
          `The engine ${this.endpoint.id} sent nothing for ${timeouts.idleMs / 1000} s.`,
        ),
        null,
        "timeout",
      );
    }
  }

  /**
   * Ends an answer of which nothing is missing but framing, as complete: whatever the reason to end it, no client could want
   * more of it.
   * @returns false, and nothing was done, when something is missing
   */
  endWhole(): boolean {
    const relay = this.#relay;
    if (this.#over || relay === null || !relay.whole) return false;
    this.abandon();
    relay.onMessageEnd();
    return true;
  }

  /** The engine hangs, and another one may do. @param movable the stream that has begun can go on there */
  stall(stallMs: number, movable: boolean): void {
    if (this.#over) return;
    if (!this.committed) this.#fail(timeoutFailure("engine_stalled", this.endpoint.id, stallMs));
    else if (this.streaming && movable && !this.#connection.paused && this.#relay?.whole !== true) {
      const { message, code } = timeoutFailure("engine_stalled", this.endpoint.id, stallMs).error;
      this.abandon();
      this.#owner.interrupted(new LmstackError(code, message), null, "stall");
    }
  }

  #fail(failure: AttemptFailure): void {
    this.abandon();
    this.#owner.failed(failure);
  }
}
