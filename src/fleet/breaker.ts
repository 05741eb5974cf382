// Whether an endpoint may be used, from what happened to it: ready -> ejected -> probing -> slow start -> ready. One probe
// request decides about the return, never a rush of them. Pure: time comes in as an argument.

export const breakerStates = ["ready", "ejected", "probing", "slow_start"] as const;
export type BreakerState = (typeof breakerStates)[number];

export interface BreakerOptions {
  /** Failures in a row that eject. */
  readonly consecutiveFailures: number;
  /** Share of failures in the window that ejects, with at least `minRequests` in it. */
  readonly failureRate: number;
  readonly minRequests: number;
  readonly windowMs: number;
  /** First ejection; doubled each time, up to `maxEjectMs` while active checks pass. */
  readonly ejectMs: number;
  readonly maxEjectMs: number;
  /** Traffic grows from a tenth to all of the endpoint's share over this time. */
  readonly slowStartMs: number;
  /** A probe that has told nothing for so long is given to another request. */
  readonly probeMs: number;
}

export const breakerDefaults: BreakerOptions = {
  consecutiveFailures: 5,
  failureRate: 0.5,
  minRequests: 20,
  windowMs: 10_000,
  ejectMs: 500,
  maxEjectMs: 2_500,
  slowStartMs: 5_000,
  probeMs: 10_000,
};

/** Pause between two probes of an endpoint that hangs: each one costs a request some seconds. */
const stalledMs = 5_000;

/**
 * Before all times. Not 0 or -1: V8 keeps whole numbers and fractions in different hidden classes, so the first time that is
 * noted, at a check ten seconds after the start, would throw away the optimised code of the request path.
 */
const never = Number.NEGATIVE_INFINITY;

export class Breaker {
  readonly #options: BreakerOptions;
  #state: BreakerState = "ready";
  #consecutive = 0;
  #windowStartMs = never;
  #successes = 0;
  #failures = 0;
  #ejections = 0;
  #untilMs = never;
  /** Not probed before then, whatever checks say. */
  #notBeforeMs = never;
  #probeSinceMs = never;
  #slowSinceMs = never;
  #checksPass = true;
  /** Times that it came into a state since the start. */
  readonly transitions: Record<BreakerState, number> = { ready: 0, ejected: 0, probing: 0, slow_start: 0 };

  constructor(options: BreakerOptions = breakerDefaults) {
    this.#options = options;
  }

  /** Times that it was taken out since the start. */
  get ejected(): number {
    return this.transitions.ejected;
  }

  /** When it last came back after it was taken out, by the clock. */
  get returnedMs(): number {
    return this.#slowSinceMs;
  }

  /** The state now; time alone moves it from ejected to probing and from slow start to ready. */
  state(nowMs: number): BreakerState {
    if (this.#state === "ejected" && this.#checksPass && nowMs >= this.#untilMs) {
      this.#become("probing");
      this.#probeSinceMs = never;
    }
    if (this.#state === "slow_start" && nowMs - this.#slowSinceMs >= this.#options.slowStartMs) {
      this.#become("ready");
      this.#ejections = 0;
    }
    return this.#state;
  }

  /** Nothing is wrong with it and nothing was lately: the common case, told without looking at the time. */
  get steady(): boolean {
    return this.#state === "ready";
  }

  /** Whether a request may be sent now. */
  admits(nowMs: number): boolean {
    const state = this.state(nowMs);
    if (state === "ejected") return false;
    if (state === "probing") return nowMs - this.#probeSinceMs > this.#options.probeMs;
    return true;
  }

  /** A request is sent. @returns whether it is the probe, which it is where one is due */
  picked(nowMs: number): boolean {
    if (this.state(nowMs) !== "probing") return false;
    this.#probeSinceMs = nowMs;
    return true;
  }

  /** Share of its normal traffic that it should get, 0.1 to 1. */
  weight(nowMs: number): number {
    if (this.state(nowMs) !== "slow_start") return 1;
    return Math.max(0.1, Math.min(1, (nowMs - this.#slowSinceMs) / this.#options.slowStartMs));
  }

  /** The probe said nothing about the endpoint (its client left): another request may be it. */
  inconclusive(): void {
    this.#probeSinceMs = never;
  }

  /** @param probe whether it was the probe: of an ejected endpoint no older request's end decides */
  success(nowMs: number, probe = true): void {
    if (this.#state === "probing" && !probe) return;
    this.#consecutive = 0;
    this.#roll(nowMs);
    this.#successes++;
    if (this.#state === "probing") {
      this.#become("slow_start");
      this.#slowSinceMs = nowMs;
      this.#resetWindow(nowMs);
    }
  }

  /** @param probe see {@link success} */
  failure(nowMs: number, probe = true): void {
    if (this.#state === "probing" && !probe) return;
    this.#consecutive++;
    this.#roll(nowMs);
    this.#failures++;
    if (this.#state === "ejected") return;
    const total = this.#successes + this.#failures;
    const rate = total >= this.#options.minRequests && this.#failures / total >= this.#options.failureRate;
    if (this.#state === "probing" || this.#consecutive >= this.#options.consecutiveFailures || rate) this.#eject(nowMs);
  }

  /** An active check passed: an ejected endpoint may be probed at once. */
  checkPassed(nowMs: number): void {
    const before = this.#checksPass;
    this.#checksPass = true;
    if (this.#state === "ejected" && !before) this.#untilMs = Math.max(nowMs, this.#notBeforeMs);
  }

  /** An active check failed: nothing is sent until one passes. */
  checkFailed(nowMs: number): void {
    this.#checksPass = false;
    if (this.#state !== "ejected") this.#eject(nowMs);
  }

  /**
   * It hangs: out at once, until a check passes, which has to ask for more than its word; and longer when it has hung before.
   * @param again its probe showed that it still does
   */
  stalled(nowMs: number, again: boolean): void {
    this.#checksPass = false;
    if (this.#state === "ejected") return;
    this.#eject(nowMs);
    if (again) this.#untilMs = this.#notBeforeMs = nowMs + stalledMs;
  }

  #eject(nowMs: number): void {
    const { ejectMs, maxEjectMs } = this.#options;
    this.#become("ejected");
    this.#untilMs = nowMs + Math.min(maxEjectMs, ejectMs * 2 ** Math.min(this.#ejections, 16));
    this.#ejections++;
    this.#consecutive = 0;
    this.#probeSinceMs = never;
    this.#resetWindow(nowMs);
  }

  #become(state: BreakerState): void {
    this.#state = state;
    this.transitions[state]++;
  }

  #roll(nowMs: number): void {
    if (nowMs - this.#windowStartMs >= this.#options.windowMs) this.#resetWindow(nowMs);
  }

  #resetWindow(nowMs: number): void {
    this.#windowStartMs = nowMs;
    this.#successes = 0;
    this.#failures = 0;
  }
}
