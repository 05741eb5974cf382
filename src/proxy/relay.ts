// What the two relays (streams, everything else) share: the side towards the request that they serve, and chunk framing.
import type { Usage } from "../api/usage.ts";
import type { LmstackError } from "../errors/catalogue.ts";
import type { EngineConnection } from "../http/engine-connection.ts";
import { latin1 } from "../http/bytes.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ResponseHead } from "../http/response-parser.ts";
import type { MigrationCause } from "../observe/catalogue.ts";
import type { AttemptFailure } from "./failure.ts";
import type { KeptStream } from "./migration/kept-stream.ts";

/** What a relay tells the request that it serves. */
export interface RelayOwner {
  readonly exchange: Exchange;
  /** The router has asked for the stream's usage, and the client has not. */
  readonly asksForUsage?: boolean;
  /** A connection was made for it. @param startedMs when that began, by the clock */
  connected(startedMs: number): void;
  /** Takes what passes of a stream that another engine could go on with; null = this stream is none. */
  keep(): KeptStream | null;
  /**
   * The first event, or the first bytes, are about to be written: the head leaves now, and no retry is possible any more.
   * @param nowMs by the clock, where it has been read
   * @param whole all of the body, to be written before anything else is done: the client need not wait for the books
   */
  commit(head: ResponseHead, stream: boolean, length: number | null, nowMs?: number, whole?: string): void;
  usage(usage: Usage): void;
  /** An engine made a stored response. */
  responseId(id: string): void;
  /** Nothing has reached the client: another endpoint may be tried. */
  failed(failure: AttemptFailure): void;
  /** The engine's answer has been passed on whole. @param nowMs by the clock, where it has been read */
  completed(nowMs?: number): void;
  /**
   * The answer broke after its first event.
   * @param frame what the engine itself says about it: an event that the client has not got; null = nothing
   */
  interrupted(error: LmstackError, frame: Buffer | null, cause: MigrationCause): void;
}

/** Bytes of an answer's body on their way from the engine. */
export interface Relay {
  onChunkData(buf: Buffer, start: number, end: number): void;
  onRead(buf: Buffer, start: number, end: number, whole: boolean, last: boolean): void;
  onMessageEnd(): void;
  /**
   * The connection failed while a read was being worked off (its framing broke behind events that were whole): passes on what
   * was taken of it, for it counts as what the client has.
   * @returns true = the answer has ended with it
   */
  flush(): boolean;
  /** The last event has passed: what is missing is framing only, and nothing that a client could want. */
  readonly whole: boolean;
  /** Number of the last event that has passed, where the API numbers them; -1 = none. */
  readonly lastNumber?: number;
}

/** Pieces up to here go on as text: one copy, and no buffer that has to be kept. */
export const maxTextBytes = 4 * 1024;
/** Towards a client that is behind, smaller pieces are copied: each would keep the whole buffer of its read. */
const keptFromBytes = 32 * 1024;

/**
 * Passes bytes [start, end) of the engine's read buffer on, large ones in place where that is possible, and holds the engine
 * back while the client is slow.
 */
export function passOn(
  exchange: Exchange,
  connection: EngineConnection,
  buf: Buffer,
  start: number,
  end: number,
): void {
  if (end - start <= maxTextBytes) exchange.writeText(latin1(buf, start, end));
  else if (connection.readsShared || (end - start < keptFromBytes && exchange.queuedBytes > 0))
    exchange.write(Buffer.from(buf.subarray(start, end)));
  else {
    exchange.write(buf.subarray(start, end));
    // the socket still refers to the bytes
    if (exchange.queuedBytes > 0) connection.keepBuffer();
  }
  if (exchange.needsDrain) connection.pause();
}
