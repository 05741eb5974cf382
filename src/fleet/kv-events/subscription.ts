// The sockets of one publisher: SUB for its events, DEALER for those that are asked for again. Between libzmq and the feed,
// which decides; here is only what takes time: connections, questions, answers that do not come. It must never keep the event
// loop from the relay, however many messages come at once.
import type { Dealer, Subscriber } from "zeromq";
import { decodeBatch, type Batch } from "../../cache/kv-events/decode.ts";
import { KvEventFeed, type PartialReason, type RecoveryReason } from "../../cache/kv-events/feed.ts";
import type { Clock } from "../../clock.ts";
import type { EventTools } from "./zmq.ts";

/** Addresses of one rank, as libzmq takes them. */
export interface PublisherAddress {
  readonly events: string;
  readonly replay: string | null;
  readonly topic: string;
}

export interface SubscriptionOptions {
  readonly tools: EventTools;
  readonly clock: Clock;
  readonly address: PublisherAddress;
  readonly clear: () => void;
  readonly apply: (batch: Batch) => void;
  readonly onRecovery: (reason: RecoveryReason) => void;
  /** A message came by itself. @param seconds since the engine wrote it, by the clocks of both */
  readonly onLag: (seconds: number) => void;
}

export type SubscriptionState = "connecting" | "joining" | "exact" | "partial" | "disconnected" | "silent" | "garbage";

/** A message of an engine's step holds a few thousand tokens; what is larger by so much is none. */
const maxMessageBytes = 64 * 1024 * 1024;
const maxQueuedMessages = 10_000;
/** How long an answer of the replay socket is waited for: vLLM looks for questions every 0.1 s at least. */
const replyMs = 2_000;
const replayAttempts = 3;
/** After a message, and after a connection was made, is there anything that it did not bring? */
const lookAgainMs = 1_000;
const slowPollMs = 30_000;
/** What was known stays good for so long without a connection. */
const graceMs = 3_000;
/** Requests that must have stored something, without a word of it: then it is not silence but deafness. */
const servedUnheard = 8;
const unheardMs = 5_000;
const garbageInARow = 3;
/** CPU time that messages may take in a row. */
const turnMs = 8;

export class KvSubscription {
  readonly #options: SubscriptionOptions;
  readonly #feed: KvEventFeed;
  readonly #sub: Subscriber;
  #dealer: Dealer | null = null;
  /** Number of the question that is open. */
  #question = 0;
  #connected = false;
  #everConnected = false;
  #joined = false;
  #changedMs: number;
  #heardMs: number;
  #pollMs: number;
  #served = 0;
  #badInARow = 0;
  #turnBeganMs: number;
  #closed = false;
  /** Messages that could not be read, whole or in part. */
  badMessages = 0;
  /** What was wrong with the last of them, for people. */
  lastBad: string | null = null;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    const { tools, clock, address, clear, apply } = options;
    const now = clock.nowMs();
    this.#changedMs = now;
    this.#heardMs = now;
    this.#pollMs = Number.POSITIVE_INFINITY;
    this.#turnBeganMs = now;
    this.#feed = new KvEventFeed(address.replay !== null, {
      clear: (why) => {
        if (why === "restart") options.onRecovery("restart");
        clear();
      },
      apply,
      askReplay: (seq, reason) => {
        if (reason !== "restart") options.onRecovery(reason);
        void this.#replay(seq, ++this.#question);
      },
    });
    this.#sub = new tools.zmq.Subscriber({
      linger: 0,
      ipv6: true,
      receiveHighWaterMark: maxQueuedMessages,
      maxMessageSize: maxMessageBytes,
      reconnectInterval: 100,
      reconnectMaxInterval: 2_000,
      // a peer that is gone without a word is noticed, and asked for what it said meanwhile
      heartbeatInterval: 5_000,
      heartbeatTimeout: 10_000,
    });
    this.#sub.events.on("handshake", () => this.#onConnected());
    this.#sub.events.on("disconnect", () => this.#onDisconnected());
    this.#sub.connect(address.events);
    this.#sub.subscribe(address.topic);
    void this.#receive();
  }

  get state(): SubscriptionState {
    const now = this.#options.clock.nowMs();
    if (!this.#everConnected) return "connecting";
    if (!this.#connected && now - this.#changedMs > graceMs) return "disconnected";
    if (this.#badInARow >= garbageInARow) return "garbage";
    if (!this.#joined || this.#feed.catchingUp) return "joining";
    if (this.#served >= servedUnheard && now - this.#heardMs > unheardMs) return "silent";
    return this.#feed.partial === null ? "exact" : "partial";
  }

  get partial(): PartialReason | null {
    return this.#feed.partial;
  }

  /** For how long it has been without a connection; 0 = it has one. */
  get disconnectedMs(): number {
    return this.#connected ? 0 : this.#options.clock.nowMs() - this.#changedMs;
  }

  /** A request has ended on the engine that must have stored blocks. */
  served(): void {
    this.#served++;
  }

  /** Called about once a second. */
  tick(): void {
    const now = this.#options.clock.nowMs();
    if (now < this.#pollMs || !this.#connected) return;
    this.#pollMs = now + slowPollMs;
    this.#feed.poll();
  }

  close(): void {
    this.#closed = true;
    this.#question++;
    this.#sub.close();
    this.#dealer?.close();
    this.#dealer = null;
  }

  #onConnected(): void {
    if (this.#closed) return;
    const { clock, address } = this.#options;
    const first = !this.#everConnected;
    this.#connected = true;
    this.#everConnected = true;
    this.#changedMs = clock.nowMs();
    this.#heardMs = this.#changedMs;
    // what was published before the subscription had reached the engine is not on its way
    this.#pollMs = this.#changedMs + lookAgainMs;
    if (first) this.#feed.join();
    else this.#feed.reconnected();
    if (address.replay === null) this.#joined = true;
  }

  #onDisconnected(): void {
    if (this.#closed || !this.#connected) return;
    this.#connected = false;
    this.#changedMs = this.#options.clock.nowMs();
  }

  async #receive(): Promise<void> {
    try {
      for await (const frames of this.#sub) {
        if (this.#closed) return;
        this.#published(frames);
        await this.#breathe();
      }
    } catch (error) {
      // a closed socket ends the wait with an error
      if (!this.#closed) this.#bad(error instanceof Error ? error.message : String(error));
    }
  }

  #published(frames: readonly Buffer[]): void {
    const now = this.#options.clock.nowMs();
    this.#heardMs = now;
    this.#served = 0;
    this.#pollMs = Math.min(this.#pollMs, now + lookAgainMs);
    const [, seq, payload] = frames;
    const number = seq === undefined ? null : seqOf(seq);
    if (frames.length !== 3 || number === null || payload === undefined) {
      this.#bad(`a message of ${frames.length} frames, or with a number that is none`);
      return;
    }
    const batch = this.#decode(payload);
    // clocks that disagree make it wrong by as much, and nothing is written before it is read
    if (batch !== null && batch.seconds > 0)
      this.#options.onLag(Math.max(0, this.#options.clock.wallMs() / 1000 - batch.seconds));
    this.#feed.published({ seq: number, batch });
  }

  #decode(payload: Uint8Array): Batch | null {
    let problem = "a payload that is no batch of events";
    try {
      const batch = decodeBatch(this.#options.tools.unpack(payload));
      if (batch !== null) {
        if (batch.bad[0] === undefined) this.#badInARow = 0;
        else this.#bad(batch.bad[0]);
        return batch;
      }
    } catch (error) {
      problem = `a payload that is no msgpack: ${error instanceof Error ? error.message : String(error)}`;
    }
    this.#bad(problem);
    return null;
  }

  #bad(problem: string): void {
    this.badMessages++;
    this.#badInARow++;
    this.lastBad = problem;
  }

  async #replay(from: number, question: number): Promise<void> {
    const { replay } = this.#options.address;
    // an earlier question may still be answered on the socket: that one is of no use any more
    if (question > 1 && this.#dealer !== null && this.#answering) this.#dropDealer();
    let start = from;
    for (let attempt = 0; attempt < replayAttempts; attempt++) {
      if (replay === null || this.#closed || question !== this.#question) return;
      try {
        this.#answering = true;
        await this.#ask(replay, start, question);
        if (question === this.#question) this.#answering = false;
        return;
      } catch {
        if (this.#closed || question !== this.#question) return;
        // no answer in time: on another connection, from where this one has ended
        this.#answering = false;
        this.#dropDealer();
        start = Math.max(0, this.#feed.last);
      }
    }
    this.#joined = true;
    this.#feed.replayFailed();
  }

  #answering = false;

  async #ask(replay: string, from: number, question: number): Promise<void> {
    const dealer = (this.#dealer ??= this.#openDealer(replay));
    await dealer.send([Buffer.alloc(0), seqBytes(from)]);
    for (;;) {
      const frames = await dealer.receive();
      if (question !== this.#question) return;
      // with the topic or without: the number and the payload are the last two
      const [seq, payload] = [frames.at(-2), frames.at(-1)];
      if (seq === undefined || payload === undefined || frames.length < 3) continue;
      if (payload.length === 0 && seq.every((byte) => byte === 0xff)) {
        // no more answers are to come, so that the next question may use the socket
        this.#answering = false;
        this.#joined = true;
        this.#feed.replayEnded();
        return;
      }
      const number = seqOf(seq);
      if (number !== null) this.#feed.replayed({ seq: number, batch: this.#decode(payload) });
      if (question !== this.#question) return;
      await this.#breathe();
    }
  }

  #openDealer(replay: string): Dealer {
    const options = {
      linger: 0,
      ipv6: true,
      sendTimeout: replyMs,
      receiveTimeout: replyMs,
      maxMessageSize: maxMessageBytes,
    };
    const dealer = new this.#options.tools.zmq.Dealer(options);
    dealer.connect(replay);
    return dealer;
  }

  #dropDealer(): void {
    this.#dealer?.close();
    this.#dealer = null;
    this.#answering = false;
  }

  /** Lets others have the loop: a queue of messages is worked off without a turn of it in between. */
  async #breathe(): Promise<void> {
    const { clock } = this.#options;
    const now = clock.nowMs();
    if (now - this.#turnBeganMs < turnMs) return;
    await new Promise<void>((resolve) => void clock.setTimer(0, resolve));
    this.#turnBeganMs = clock.nowMs();
  }
}

function seqBytes(seq: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(seq));
  return bytes;
}

function seqOf(bytes: Buffer): number | null {
  if (bytes.length !== 8) return null;
  const seq = Number(bytes.readBigUInt64BE());
  return Number.isSafeInteger(seq) ? seq : null;
}
