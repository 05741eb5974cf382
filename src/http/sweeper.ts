// One timer for many deadlines. A timer per request and phase would cost more than the relay itself; time limits of seconds
// don't need milliseconds, so each object looks at its own deadlines a few times a second.
import type { Clock, Timer } from "../clock.ts";

export interface Sweepable {
  /** Looks at its deadlines. May remove itself or others from the sweeper. */
  onSweep(nowMs: number): void;
}

export class Sweeper {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #members = new Set<Sweepable>();
  #timer: Timer | null = null;

  /** @param intervalMs how late a deadline may be noticed */
  constructor(clock: Clock, intervalMs: number) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  get size(): number {
    return this.#members.size;
  }

  add(member: Sweepable): void {
    this.#members.add(member);
    this.#timer ??= this.#clock.setTimer(this.#intervalMs, this.#sweep);
  }

  delete(member: Sweepable): void {
    this.#members.delete(member);
  }

  readonly #sweep = (): void => {
    this.#timer = null;
    const now = this.#clock.nowMs();
    for (const member of this.#members) member.onSweep(now);
    // stops by itself when nothing is left, so that an idle process has no timer
    if (this.#members.size > 0) this.#timer ??= this.#clock.setTimer(this.#intervalMs, this.#sweep);
  };
}
