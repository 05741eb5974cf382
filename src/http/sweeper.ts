// One timer for many deadlines. A timer per request and phase would cost more than the relay itself; time limits of seconds
// don't need milliseconds, so each object looks at its own deadlines a few times a second.
import type { Clock, Timer } from "../clock.ts";

/**
 * It goes on for so long when nothing is left. Making a timer costs a request that comes alone as much as its routing does, and
 * a little traffic would make one every few requests.
 */
const restAfterMs = 2_000;

export interface Sweepable {
  /** Looks at its deadlines. May remove itself or others from the sweeper. */
  onSweep(nowMs: number): void;
  /** For the sweeper: the member's place in it, -1 outside. Hashing each request in and out would cost ten times as much. */
  sweepSlot: number;
}

export class Sweeper<Member extends Sweepable> {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #members: Member[] = [];
  /** Sweeps in a row that found nobody. */
  #emptySweeps = 0;
  #restAfterMs = restAfterMs;
  #timer: Timer | null = null;

  /** @param intervalMs how late a deadline may be noticed */
  constructor(clock: Clock, intervalMs: number) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  get size(): number {
    return this.#members.length;
  }

  /** The members at this moment. */
  [Symbol.iterator](): Iterator<Member> {
    return [...this.#members][Symbol.iterator]();
  }

  /** A member is in one sweeper at most, once. */
  add(member: Member): void {
    if (member.sweepSlot >= 0) return;
    member.sweepSlot = this.#members.length;
    this.#members.push(member);
    this.#timer ??= this.#clock.setTimer(this.#intervalMs, this.#sweep);
  }

  delete(member: Member): void {
    const slot = member.sweepSlot;
    if (slot < 0) return;
    member.sweepSlot = -1;
    const last = this.#members.pop();
    if (last === undefined || last === member) return;
    this.#members[slot] = last;
    last.sweepSlot = slot;
  }

  /** Nobody comes any more: it ends with its last member. */
  stop(): void {
    this.#restAfterMs = 0;
    if (this.#members.length > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
  }

  readonly #sweep = (): void => {
    this.#timer = null;
    const now = this.#clock.nowMs();
    this.#emptySweeps = this.#members.length === 0 ? this.#emptySweeps + 1 : 0;
    for (const member of this) if (member.sweepSlot >= 0) member.onSweep(now);
    // stops by itself, so that an idle process has no timer
    if (this.#members.length > 0 || this.#emptySweeps * this.#intervalMs < this.#restAfterMs)
      this.#timer ??= this.#clock.setTimer(this.#intervalMs, this.#sweep);
  };
}
