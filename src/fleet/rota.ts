// Which endpoint is asked when: each in its turn, so many at one time, sooner where that is wanted. What is asked, and how soon
// again, is the asker's; that nobody is asked twice at once, or after it has gone, is decided here.
import type { Clock, Timer } from "../clock.ts";
import type { Endpoint } from "./endpoint.ts";

export interface RotaOptions<State> {
  readonly clock: Clock;
  /** Questions under way at one time, so that a fleet of thousands is not asked all at once. */
  readonly maxAtOnce: number;
  /** What is kept of an endpoint from one question to the next, and how long the first one waits. */
  readonly begin: (endpoint: Endpoint, nowMs: number) => { readonly state: State; readonly waitMs: number };
  /** Asks. Must not throw. @returns how long the next question waits */
  readonly ask: (endpoint: Endpoint, state: State) => Promise<number>;
}

interface Turn<State> {
  readonly state: State;
  dueMs: number;
  /** When it was last asked out of turn. */
  hurriedMs: number;
  busy: boolean;
}

export class Rota<State> {
  readonly #options: RotaOptions<State>;
  readonly #turns = new Map<Endpoint, Turn<State>>();
  #timer: Timer | null = null;
  #underWay = 0;
  #stopped = false;

  constructor(options: RotaOptions<State>) {
    this.#options = options;
  }

  get size(): number {
    return this.#turns.size;
  }

  /** Whether an endpoint still has its turn: an answer of one that has gone means nothing any more. */
  has(endpoint: Endpoint): boolean {
    return this.#turns.has(endpoint);
  }

  /** Those that are asked from now on. */
  sync(endpoints: readonly Endpoint[]): void {
    if (this.#stopped) return;
    const present = new Set(endpoints);
    for (const endpoint of this.#turns.keys()) if (!present.has(endpoint)) this.#turns.delete(endpoint);
    const now = this.#options.clock.nowMs();
    for (const endpoint of present) {
      if (this.#turns.has(endpoint)) continue;
      const { state, waitMs } = this.#options.begin(endpoint, now);
      this.#turns.set(endpoint, { state, dueMs: now + waitMs, hurriedMs: Number.NEGATIVE_INFINITY, busy: false });
    }
    this.#run();
  }

  /** Asks out of turn, unless it is asked as soon anyhow, or just now. @param apartMs from one such time to the next */
  hurry(endpoint: Endpoint, apartMs: number): void {
    const turn = this.#turns.get(endpoint);
    if (turn === undefined || turn.busy) return;
    const soon = Math.max(this.#options.clock.nowMs(), turn.hurriedMs + apartMs);
    if (soon >= turn.dueMs) return;
    turn.dueMs = soon;
    turn.hurriedMs = soon;
    this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#turns.clear();
  }

  readonly #run = (): void => {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#stopped) return;
    const now = this.#options.clock.nowMs();
    let soonest = Number.POSITIVE_INFINITY;
    for (const [endpoint, turn] of this.#turns) {
      if (turn.busy) continue;
      if (turn.dueMs > now) soonest = Math.min(soonest, turn.dueMs);
      // without a place it waits for the end of another question, which comes back here
      else if (this.#underWay < this.#options.maxAtOnce) void this.#take(endpoint, turn);
    }
    if (soonest !== Number.POSITIVE_INFINITY)
      this.#timer = this.#options.clock.setTimer(Math.max(1, soonest - now), this.#run);
  };

  async #take(endpoint: Endpoint, turn: Turn<State>): Promise<void> {
    turn.busy = true;
    this.#underWay++;
    const waitMs = await this.#options.ask(endpoint, turn.state);
    this.#underWay--;
    turn.busy = false;
    turn.dueMs = this.#options.clock.nowMs() + waitMs;
    this.#run();
  }
}
