// One publisher's messages in their right order, exactly once, whatever the wire does: PUB/SUB loses messages, engines restart
// and count from 0 again, and the buffer from which messages can be had again is finite. Between the sockets and the index;
// pure: it is told what arrived and says what to do. It must never call an index whole from which messages may be missing.
import type { Batch } from "./decode.ts";

/** A message as it came; null = its payload made no sense. */
export interface Message {
  readonly seq: number;
  readonly batch: Batch | null;
}

export const partialReasons = ["late_join", "messages_lost", "bad_message", "bad_event"] as const;
/** Why what is known of a publisher may not be all. */
export type PartialReason = (typeof partialReasons)[number];

export const recoveryReasons = ["join", "gap", "restart", "reconnect", "poll"] as const;
/** Why messages are asked for again. */
export type RecoveryReason = (typeof recoveryReasons)[number];

/** What the feed wants done. */
export interface FeedActions {
  /** Forget all of this publisher: it has started anew, or too much is missing. */
  clear(why: "restart" | "lost"): void;
  apply(batch: Batch): void;
  /** Ask for all messages from `seq` on; an earlier question that is still open is void. */
  askReplay(seq: number, reason: RecoveryReason): void;
}

/** Messages that may wait for the end of a recovery; more are asked for again. */
const maxWaiting = 4096;
const maxFruitless = 2;

/** When a message was written; -1 = it can't be read. */
const secondsOf = ({ batch }: Message): number => batch?.seconds ?? -1;

export class KvEventFeed {
  readonly #actions: FeedActions;
  readonly #canReplay: boolean;
  /** Number of the last message that was applied; -1 = none. */
  #last = -1;
  /** When that one was written: tells messages of an engine from those of the one before it. -1 = it could not be read. */
  #lastSeconds = 0;
  /** The latest time that any message named. */
  #latestSeconds = 0;
  #partial: PartialReason | null = null;
  #recovering: RecoveryReason | null = null;
  /** The present recovery begins with the last message that is known, to see whether it is still the same engine. */
  #verifying = false;
  #waiting: Message[] = [];
  /** Recoveries in a row that brought nothing. */
  #fruitless = 0;
  /** Stale messages that were left out. */
  duplicates = 0;

  constructor(canReplay: boolean, actions: FeedActions) {
    this.#canReplay = canReplay;
    this.#actions = actions;
  }

  /** null = the index holds what the publisher holds. */
  get partial(): PartialReason | null {
    return this.#partial;
  }

  /** What it holds may be another engine's, or of long ago: it is about to know. */
  get catchingUp(): boolean {
    return this.#recovering === "join" || this.#recovering === "reconnect" || this.#recovering === "restart";
  }

  get last(): number {
    return this.#last;
  }

  /** The subscription stands for the first time. */
  join(): void {
    if (this.#canReplay) this.#recover("join");
  }

  /** The connection was gone for a while: messages may be missing, and it may be another process that answers. */
  reconnected(): void {
    // what waits may be the other one's, and comes again if it is not
    this.#waiting = [];
    if (this.#canReplay) this.#recover("reconnect");
    else this.#startAnew(null);
  }

  /** A look whether anything is missing that no later message would betray. */
  poll(): void {
    if (this.#canReplay && this.#recovering === null) this.#recover("poll");
  }

  /** A message of the subscription. */
  published(message: Message): void {
    if (this.#recovering === null) {
      this.#next(message);
      return;
    }
    this.#waiting.push(message);
    if (this.#waiting.length > maxWaiting) this.#waiting.shift();
  }

  /** An answer of the replay socket. */
  replayed(message: Message): void {
    if (this.#recovering === null) return;
    if (this.#verifying) {
      this.#verifying = false;
      if (message.seq === this.#last && secondsOf(message) !== this.#lastSeconds) {
        // the same number in another message: the engine has started anew since
        this.#startAnew(null);
        this.#ask(0, "restart");
        return;
      }
      // the buffer begins behind what is known: removals may be lost for good, or it may be another engine's
      if (message.seq > this.#last) this.#startAnew("messages_lost");
    }
    if (message.seq <= this.#last) return;
    if (message.seq > this.#last + 1) this.#partial ??= this.#last < 0 ? "late_join" : "messages_lost";
    this.#take(message);
  }

  /** The replay socket has said all it has. */
  replayEnded(): void {
    if (this.#recovering === null) return;
    if (this.#verifying) {
      // it does not even know the last message: another engine, which has said less so far
      this.#startAnew(null);
      this.#ask(0, "restart");
      return;
    }
    this.#goOn();
  }

  /** The replay socket does not answer: what was to be had from it is lost. */
  replayFailed(): void {
    if (this.#recovering === "reconnect") this.#startAnew(null);
    this.#fruitless = maxFruitless;
    this.#goOn();
  }

  #goOn(): void {
    this.#recovering = null;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const message of waiting) this.published(message);
  }

  #next(message: Message): void {
    if (message.seq === this.#last + 1) this.#take(message);
    else if (message.seq <= this.#last) {
      if (secondsOf(message) <= this.#latestSeconds) this.duplicates++;
      else {
        // numbers went back and time went on
        this.#startAnew(null);
        this.#missing(message, "restart");
      }
    } else this.#missing(message, "gap");
  }

  /** Messages before this one were not seen. */
  #missing(message: Message, reason: RecoveryReason): void {
    if (message.seq === this.#last + 1) {
      this.#take(message);
      return;
    }
    // what two questions in a row have not brought is lost
    if (this.#canReplay && this.#fruitless < maxFruitless) {
      this.#fruitless++;
      this.#waiting.push(message);
      this.#recover(reason);
      return;
    }
    this.#startAnew(this.#last < 0 ? "late_join" : "messages_lost");
    this.#take(message);
  }

  #take(message: Message): void {
    const { seq, batch } = message;
    this.#last = seq;
    this.#lastSeconds = secondsOf(message);
    this.#latestSeconds = Math.max(this.#latestSeconds, this.#lastSeconds);
    this.#fruitless = 0;
    if (batch === null) {
      this.#partial ??= "bad_message";
      return;
    }
    if (batch.bad.length > 0) this.#partial ??= "bad_event";
    this.#actions.apply(batch);
    // an empty cache is known without its history
    if (batch.bad.length === 0 && batch.events.some((event) => event.type === "cleared")) this.#partial = null;
  }

  #startAnew(partial: PartialReason | null): void {
    this.#actions.clear(partial === null ? "restart" : "lost");
    this.#last = -1;
    this.#lastSeconds = 0;
    this.#latestSeconds = 0;
    this.#partial = partial;
  }

  #recover(reason: RecoveryReason): void {
    this.#ask(Math.max(0, this.#last), reason);
    this.#verifying = this.#last >= 0;
  }

  #ask(seq: number, reason: RecoveryReason): void {
    this.#recovering = reason;
    this.#verifying = false;
    this.#actions.askReplay(seq, reason);
  }
}
