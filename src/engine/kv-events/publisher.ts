// The two sockets of one rank's KV events: PUB, and ROUTER for replay. Below the event log, on top of zeromq, which is an
// optional package and is loaded only here. It must never hold up the engine: messages queue, and are lost as in vLLM.

import type * as Zmq from "zeromq";
import type { Publisher, Router } from "zeromq";
import { bindsTo } from "./config.ts";
import type { ResolvedKvEventsConfig } from "./config.ts";

export interface PublisherOptions {
  readonly config: ResolvedKvEventsConfig;
  /** Replies with the topic, as since vLLM 0.26, or without. */
  readonly framing: "topic" | "legacy";
  /** What a fault makes of one message; asked for every message. */
  readonly disturb: () => "none" | "lose" | "duplicate" | "delay" | "restart";
}

const endMarker = Buffer.alloc(8, 0xff);
const empty = Buffer.alloc(0);

interface Message {
  readonly seq: number;
  readonly payload: Buffer;
}

/** The sockets of KV events could not be opened. */
export class KvEventsError extends Error {}

export class KvEventPublisher {
  readonly #options: PublisherOptions;
  readonly #topic: Buffer;
  readonly #pub: Publisher;
  readonly #router: Router | null;
  /** The last `buffer_steps` messages, oldest first. */
  #buffer: Message[] = [];
  #queue: Message[] = [];
  /** A message that a fault keeps back until the next one has gone. */
  #delayed: Message | null = null;
  #sending = false;
  #seq = 0;
  #closed = false;

  private constructor(options: PublisherOptions, pub: Publisher, router: Router | null) {
    this.#options = options;
    this.#topic = Buffer.from(options.config.topic, "utf8");
    this.#pub = pub;
    this.#router = router;
    if (router !== null) void this.#replay(router);
  }

  /** Opens the sockets. Rejects when a port is taken, or with what to install when zeromq is not there. */
  static async open(options: PublisherOptions): Promise<KvEventPublisher> {
    const zmq = await loadZmq();
    const { config } = options;
    const pub = new zmq.Publisher({ sendHighWaterMark: config.hwm, linger: 0 });
    let router: Router | null = null;
    try {
      if (bindsTo(config.endpoint)) await pub.bind(config.endpoint);
      else pub.connect(config.endpoint);
      if (config.replay_endpoint !== null) {
        router = new zmq.Router({ linger: 0 });
        await router.bind(config.replay_endpoint);
      }
    } catch (error) {
      pub.close();
      router?.close();
      const places = [config.endpoint, config.replay_endpoint].filter((place) => place !== null).join(" or ");
      const reason = error instanceof Error ? error.message : String(error);
      throw new KvEventsError(`${places} can't be had: ${reason}`, { cause: error });
    }
    return new KvEventPublisher(options, pub, router);
  }

  /** Where a subscriber can connect; null when the engine itself connects. */
  get endpoint(): string | null {
    return bindsTo(this.#options.config.endpoint) ? this.#pub.lastEndpoint : null;
  }

  get replayEndpoint(): string | null {
    return this.#router?.lastEndpoint ?? null;
  }

  publish(payload: Buffer): void {
    if (this.#closed) return;
    const fate = this.#options.disturb();
    if (fate === "restart") {
      // As a new process: numbers from 0, nothing to replay.
      this.#seq = 0;
      this.#buffer = [];
    }
    const message = { seq: this.#seq++, payload };
    this.#buffer.push(message);
    if (this.#buffer.length > this.#options.config.buffer_steps) this.#buffer.shift();
    if (fate === "lose") return;
    if (fate === "delay" && this.#delayed === null) {
      this.#delayed = message;
      return;
    }
    this.#queue.push(message);
    if (fate === "duplicate") this.#queue.push(message);
    if (this.#delayed !== null) this.#queue.push(this.#delayed);
    this.#delayed = null;
    if (!this.#sending) void this.#send();
  }

  close(): void {
    this.#closed = true;
    this.#pub.close();
    this.#router?.close();
  }

  /** zeromq allows one send at a time. */
  async #send(): Promise<void> {
    this.#sending = true;
    for (let next = this.#queue.shift(); next !== undefined && !this.#closed; next = this.#queue.shift()) {
      try {
        await this.#pub.send([this.#topic, seqBytes(next.seq), next.payload]);
      } catch {
        // Closed under the send; whoever closes wants no more events.
        if (this.#closed) break;
      }
    }
    this.#sending = false;
  }

  async #replay(router: Router): Promise<void> {
    try {
      for await (const frames of router) {
        const [client, delimiter, start] = frames;
        // vLLM logs a request of any other form and gives no answer.
        if (frames.length !== 3 || client === undefined || delimiter === undefined || start === undefined) continue;
        const from = start.length === 0 ? 0n : BigInt(`0x${start.toString("hex")}`);
        for (const message of this.#buffer) {
          if (BigInt(message.seq) < from) continue;
          await router.send(this.#reply(client, this.#topic, seqBytes(message.seq), message.payload));
        }
        await router.send(this.#reply(client, empty, endMarker, empty));
      }
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }

  #reply(client: Buffer, topic: Buffer, seq: Buffer, payload: Buffer): Buffer[] {
    return this.#options.framing === "topic" ? [client, empty, topic, seq, payload] : [client, empty, seq, payload];
  }
}

function seqBytes(seq: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(seq));
  return bytes;
}

async function loadZmq(): Promise<typeof Zmq> {
  try {
    return await import("zeromq");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new KvEventsError(`the optional package zeromq is missing; npm install zeromq adds it (${reason})`, {
      cause: error,
    });
  }
}
