// Time. The only file that reads the machine's clock; everything else is handed a `Clock`, so that tests drive time by
// hand and the lab runs an hour in seconds. It must never be imported for its `systemClock` below `commands/`: rooms
// take a clock as an argument.
// The global of the same name is a getter, which is asked at each reading.
import { performance } from "node:perf_hooks";

/** Handle of a timer that was started by {@link Clock.setTimer}. */
export interface Timer {
  /** Stops the timer. Harmless after it fired, and twice. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic time in milliseconds with a fractional part; only differences mean something. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch, for headers, logs and `created` fields. */
  wallMs(): number;
  /** Calls `fn` once, not before `delayMs` have passed. A pending timer does not keep the process alive. */
  setTimer(delayMs: number, fn: () => void): Timer;
}

/**
 * The machine's clock. A timer of it fires behind what sockets have received by then: after a stall (a stopped process, a
 * machine that is busy with others) Node runs timers that are overdue first, and whoever judges time would call those late
 * whose bytes wait in the kernel.
 */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, fn) {
    let behindReads: NodeJS.Immediate | undefined;
    const handle = setTimeout(() => {
      behindReads = setImmediate(fn);
    }, delayMs);
    handle.unref();
    return {
      cancel: () => {
        clearTimeout(handle);
        clearImmediate(behindReads);
      },
    };
  },
};

interface Entry {
  readonly dueMs: number;
  readonly order: number;
  readonly fn: () => void;
}

/**
 * A clock that moves only when told to. Timers fire in order of their due time, those due at once in the order in
 * which they were set; a timer set by a timer fires in the same `advance` if it is due.
 */
export class ManualClock implements Clock {
  #now: number;
  #order = 0;
  readonly #wallOffsetMs: number;
  #entries: Entry[] = [];

  constructor(startMs = 0, wallAtStartMs = 1_700_000_000_000) {
    this.#now = startMs;
    this.#wallOffsetMs = wallAtStartMs - startMs;
  }

  nowMs(): number {
    return this.#now;
  }

  wallMs(): number {
    return this.#now + this.#wallOffsetMs;
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#entries.length;
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const entry: Entry = { dueMs: this.#now + Math.max(0, delayMs), order: this.#order++, fn };
    this.#entries.push(entry);
    return {
      cancel: () => {
        const at = this.#entries.indexOf(entry);
        if (at >= 0) this.#entries.splice(at, 1);
      },
    };
  }

  /** Moves time forward by `ms`, firing what comes due on the way. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#earliest();
      if (next === undefined || next.dueMs > end) break;
      this.#entries.splice(this.#entries.indexOf(next), 1);
      this.#now = next.dueMs;
      next.fn();
    }
    this.#now = end;
  }

  #earliest(): Entry | undefined {
    let best: Entry | undefined;
    for (const entry of this.#entries) {
      if (best === undefined || entry.dueMs < best.dueMs || (entry.dueMs === best.dueMs && entry.order < best.order)) {
        best = entry;
      }
    }
    return best;
  }
}
