// The order of messages: whatever is lost, doubled, restarted or cut off, what was applied is what the engine holds, or the feed
// says that it may not be.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";

import type { Batch } from "../../src/cache/kv-events/decode.ts";
import { KvEventFeed, type Message } from "../../src/cache/kv-events/feed.ts";

/** A publisher with a finite buffer, as its messages can be had: by subscription and by replay. Each stores one more number. */
class Publisher {
  seconds = 100;
  seq = 0;
  holds: number[] = [];
  buffer: Message[] = [];
  readonly steps: number;

  constructor(steps: number) {
    this.steps = steps;
  }

  say(batch?: Partial<Batch>): Message {
    this.seconds += 0.25;
    const stored = {
      type: "removed",
      ids: Uint32Array.of(this.seq, this.seconds * 4),
      medium: "gpu",
      group: null,
    } as const;
    const message = {
      seq: this.seq++,
      batch: { seconds: this.seconds, events: [stored], bad: [], ignored: 0, ...batch },
    };
    this.buffer = [...this.buffer, message].slice(-this.steps);
    this.holds.push(this.seconds * 4);
    return message;
  }

  restart(): void {
    this.seq = 0;
    this.holds = [];
    this.buffer = [];
  }
}

/** A feed that answers its own questions when it is told to, and what it applied since it last cleared. */
class Follower {
  readonly feed: KvEventFeed;
  readonly asked: number[] = [];
  readonly reasons: string[] = [];
  applied: number[] = [];
  #question: { readonly from: number } | null = null;

  constructor(canReplay = true) {
    this.feed = new KvEventFeed(canReplay, {
      clear: () => (this.applied = []),
      apply: (batch) => {
        for (const event of batch.events) if (event.type === "removed") this.applied.push(event.ids[1] ?? 0);
      },
      askReplay: (seq, reason) => {
        this.#question = { from: seq };
        this.asked.push(seq);
        this.reasons.push(reason);
      },
    });
  }

  /** Answers until nothing is asked any more. */
  answer(publisher: Publisher): void {
    while (this.#question !== null) {
      const question = this.#question;
      for (const message of publisher.buffer) {
        if (message.seq < question.from) continue;
        this.feed.replayed(message);
        // another question makes this one void
        if (this.#question !== question) break;
      }
      if (this.#question === question) {
        this.#question = null;
        this.feed.replayEnded();
      }
    }
  }
}

const numbers = ({ batch }: Message): number | undefined => {
  const [event] = batch?.events ?? [];
  return event?.type === "removed" ? event.ids[1] : undefined;
};

describe("a subscriber", () => {
  test("that joins late has what the buffer still holds, and says so when that is not all", () => {
    for (const [steps, partial] of [
      [10, null],
      [2, "late_join"],
    ] as const) {
      const publisher = new Publisher(steps);
      for (let at = 0; at < 4; at++) publisher.say();
      const follower = new Follower();
      follower.feed.join();
      follower.answer(publisher);
      assert.deepEqual(follower.applied, publisher.holds.slice(-steps));
      assert.equal(follower.feed.partial, partial);
    }
  });

  test("asks for what it missed, and puts what came meanwhile behind it", () => {
    const publisher = new Publisher(10);
    const follower = new Follower();
    follower.feed.join();
    follower.answer(publisher);
    follower.feed.published(publisher.say());
    publisher.say();
    follower.feed.published(publisher.say());
    follower.feed.published(publisher.say());
    assert.equal(follower.applied.length, 1);
    follower.answer(publisher);
    assert.deepEqual(follower.applied, publisher.holds);
    assert.equal(follower.feed.partial, null);
    assert.deepEqual(follower.reasons, ["join", "gap"]);
  });

  test("starts anew with an engine that has started anew", () => {
    const publisher = new Publisher(10);
    const follower = new Follower();
    follower.feed.join();
    follower.answer(publisher);
    for (let at = 0; at < 3; at++) follower.feed.published(publisher.say());
    publisher.restart();
    publisher.say();
    follower.feed.published(publisher.say());
    follower.answer(publisher);
    assert.deepEqual(follower.applied, publisher.holds);
    assert.equal(follower.feed.partial, null);
    assert.equal(follower.reasons.at(-1), "restart");
  });

  // The bug that this prevents: seq 10 after seq 5 looks like a gap of one engine, and 6 to 9 of another would be put on top.
  test("sees by the last message that another engine fills its gap", () => {
    const publisher = new Publisher(20);
    const follower = new Follower();
    follower.feed.join();
    follower.answer(publisher);
    for (let at = 0; at < 3; at++) follower.feed.published(publisher.say());
    publisher.restart();
    for (let at = 0; at < 8; at++) publisher.say();
    follower.feed.published(publisher.say());
    follower.answer(publisher);
    assert.deepEqual(follower.applied, publisher.holds);
    assert.equal(follower.feed.partial, null);
  });

  test("takes a message that comes twice or late for what it is", () => {
    const publisher = new Publisher(10);
    const follower = new Follower();
    follower.feed.join();
    follower.answer(publisher);
    const [first, second, third] = [publisher.say(), publisher.say(), publisher.say()];
    for (const message of [first, first, third]) follower.feed.published(message);
    follower.answer(publisher);
    follower.feed.published(second);
    follower.answer(publisher);
    assert.deepEqual(follower.applied, [first, second, third].map(numbers));
    assert.equal(follower.feed.partial, null);
    assert.equal(follower.feed.duplicates, 3);
  });

  test("forgets what it can't complete: removals may be among what is lost", () => {
    const publisher = new Publisher(2);
    const follower = new Follower();
    follower.feed.join();
    follower.answer(publisher);
    follower.feed.published(publisher.say());
    for (let at = 0; at < 5; at++) publisher.say();
    follower.feed.published(publisher.say());
    follower.answer(publisher);
    assert.deepEqual(follower.applied, publisher.holds.slice(-2));
    assert.equal(follower.feed.partial, "messages_lost");
    // an empty cache is known whatever came before
    follower.feed.published(publisher.say({ events: [{ type: "cleared" }] }));
    assert.equal(follower.feed.partial, null);
  });

  test("of an engine that replays nothing can only begin anew", () => {
    const publisher = new Publisher(0);
    const follower = new Follower(false);
    follower.feed.join();
    follower.feed.published(publisher.say());
    assert.equal(follower.feed.partial, null, "the first message of an engine is where nothing is missing");
    publisher.say();
    follower.feed.published(publisher.say());
    assert.equal(follower.feed.partial, "messages_lost");
    assert.equal(follower.applied.length, 1);
    follower.feed.reconnected();
    assert.deepEqual(follower.applied, []);
    follower.feed.published(publisher.say());
    assert.equal(follower.feed.partial, "late_join");
  });

  test("goes on without replay when the socket for it is silent", () => {
    const publisher = new Publisher(10);
    const follower = new Follower();
    publisher.say();
    follower.feed.join();
    follower.feed.published(publisher.say());
    follower.feed.replayFailed();
    assert.equal(follower.applied.length, 1);
    assert.equal(follower.feed.partial, "late_join");
    follower.feed.published(publisher.say());
    assert.equal(follower.applied.length, 2);
  });

  test("says that a message or an event which can't be read may have mattered, and does not ask for it for ever", () => {
    for (const bad of [null, { seconds: 0, events: [], bad: ["?"], ignored: 0 }]) {
      const publisher = new Publisher(10);
      const follower = new Follower();
      follower.feed.join();
      follower.answer(publisher);
      follower.feed.published(publisher.say());
      const message = publisher.say();
      const broken = {
        seq: message.seq,
        batch: bad === null ? null : { ...bad, seconds: message.batch?.seconds ?? 0 },
      };
      publisher.buffer[1] = broken;
      publisher.holds.pop();
      follower.feed.published(broken);
      assert.equal(follower.feed.partial, bad === null ? "bad_message" : "bad_event");
      follower.feed.poll();
      follower.answer(publisher);
      follower.feed.published(publisher.say());
      assert.deepEqual(follower.applied, publisher.holds);
      assert.deepEqual(follower.asked, [0, 1]);
    }
  });
});

const steps = fc.constantFrom("say", "say", "say", "lose", "double", "restart", "poll", "answer", "late", "cut");

test("after any history and one poll, what was applied is what the engine holds", () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (history, buffered) => {
      const publisher = new Publisher(buffered);
      const follower = new Follower();
      const late: Message[] = [];
      /** Another process has another connection. */
      let cut = false;
      const deliver = (...messages: readonly Message[]): void => {
        if (cut) follower.feed.reconnected();
        cut = false;
        for (const message of messages) follower.feed.published(message);
      };
      follower.feed.join();
      for (const step of history) {
        if (step === "say") deliver(publisher.say());
        else if (step === "lose") publisher.say();
        else if (step === "late") late.push(publisher.say());
        else if (step === "double") {
          const message = publisher.say();
          deliver(message, message);
        } else if (step === "restart") {
          publisher.restart();
          late.length = 0;
          cut = true;
        } else if (step === "poll") follower.feed.poll();
        else if (step === "cut") follower.feed.reconnected();
        else {
          follower.answer(publisher);
          deliver(...late.splice(0));
          follower.answer(publisher);
        }
      }
      deliver();
      follower.answer(publisher);
      follower.feed.poll();
      follower.answer(publisher);
      if (follower.feed.partial === null) assert.deepEqual(follower.applied, publisher.holds);
      else {
        // a part of it, without a hole at its end
        assert.deepEqual(follower.applied, publisher.holds.slice(publisher.holds.length - follower.applied.length));
        assert.ok(publisher.holds.length > buffered, "with a long enough buffer nothing is lost");
      }
    }),
    { numRuns: 2000 },
  );
});
