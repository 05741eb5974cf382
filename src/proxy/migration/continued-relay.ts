// Passes on the stream of the engine that goes on with an answer, as the rest of that answer. Unlike every other relay it takes
// events apart and writes them anew: they have to look as if the first engine had sent them. It must never let the rest end
// like a whole one when it is not.
import { LmstackError } from "../../errors/catalogue.ts";
import type { EngineConnection } from "../../http/engine-connection.ts";
import type { ResponseHead } from "../../http/response-parser.ts";
import { SseScanner, type FrameKind, type FrameSink } from "../../http/sse-scanner.ts";
import type { MigrationCause } from "../../observe/catalogue.ts";
import { firstFrameFailure } from "../failure.ts";
import type { Relay, RelayOwner } from "../relay.ts";
import { isRecord } from "../../api/json-values.ts";
import type { Seam } from "./seam.ts";

interface Failure {
  /** What the engine did. */
  readonly message: string;
  readonly cause: MigrationCause;
  readonly frame: Buffer | null;
}

export class ContinuedRelay implements Relay, FrameSink {
  readonly #owner: RelayOwner;
  readonly #connection: EngineConnection;
  readonly #head: ResponseHead;
  readonly #seam: Seam;
  readonly #endpointId: string;
  readonly #scanner = new SseScanner(this);
  /** Events of the present read for the client. */
  #text = "";
  #sawLast = false;
  #failed: Failure | null = null;
  #committed = false;
  #over = false;

  constructor(owner: RelayOwner, connection: EngineConnection, head: ResponseHead, seam: Seam, endpointId: string) {
    this.#owner = owner;
    this.#connection = connection;
    this.#head = head;
    this.#seam = seam;
    this.#endpointId = endpointId;
  }

  get whole(): boolean {
    return this.#sawLast;
  }

  onChunkData(buf: Buffer, start: number, end: number): void {
    if (this.#over || this.#failed !== null || this.#sawLast) return;
    if (!this.#scanner.feed(buf, start, end)) this.#fails("sent a frame without end", "reset");
  }

  onFrame(kind: FrameKind, buf: Buffer, start: number, end: number, payloadStart: number): void {
    if (this.#failed !== null || this.#sawLast || kind === "comment") return;
    if (kind === "error") {
      this.#fails("failed in mid-stream", "error_frame", Buffer.from(buf.subarray(start, end)));
      return;
    }
    if (kind === "done") {
      this.#last();
      return;
    }
    const event = parse(buf.toString("utf8", payloadStart, end));
    const woven = event === null ? null : this.#seam.weave(event);
    if (woven === null || woven.goes === "broken") {
      this.#fails("sent what does not belong to this answer", "error_frame");
      return;
    }
    if (woven.goes === "aborted") {
      this.#fails("was told to stop in mid-stream", "abort");
      return;
    }
    if (woven.usage !== null) this.#owner.usage(woven.usage);
    for (const piece of woven.events) this.#text += `data: ${JSON.stringify(piece)}\n\n`;
    this.#begin();
    if (woven.goes === "stopped") this.#last();
  }

  onRead(): void {
    if (this.#over) return;
    const { exchange } = this.#owner;
    if (this.#text !== "") {
      const bytes = Buffer.from(this.#text);
      this.#text = "";
      exchange.writePiece(bytes);
      if (exchange.needsDrain) this.#connection.pause();
    }
    if (this.#failed === null) return;
    this.#connection.destroy();
    this.#break(this.#failed);
  }

  flush(): boolean {
    if (this.#committed) this.onRead();
    return this.#over;
  }

  onMessageEnd(): void {
    if (this.#over) return;
    if (!this.#sawLast || !this.#committed) {
      this.#break({ message: "ended its stream before the last event", cause: "reset", frame: null });
      return;
    }
    this.#over = true;
    const { exchange } = this.#owner;
    exchange.endPieces();
    this.#owner.completed();
  }

  /** The first event is here: no other engine will be tried for this piece. */
  #begin(): void {
    if (this.#committed) return;
    this.#committed = true;
    this.#owner.commit(this.#head, true, null);
  }

  #last(): void {
    this.#sawLast = true;
    this.#text += "data: [DONE]\n\n";
  }

  #fails(message: string, cause: MigrationCause, frame: Buffer | null = null): void {
    this.#failed = { message, cause, frame };
  }

  #break({ message, cause, frame }: Failure): void {
    this.#over = true;
    const error = new LmstackError("stream_interrupted", `The engine ${this.#endpointId} ${message}.`);
    if (this.#committed) this.#owner.interrupted(error, frame, cause);
    else this.#owner.failed(firstFrameFailure(this.#head, Buffer.alloc(0), this.#endpointId));
  }
}

function parse(payload: string): Record<string, unknown> | null {
  try {
    const event: unknown = JSON.parse(payload);
    return isRecord(event) ? event : null;
  } catch {
    return null;
  }
}
