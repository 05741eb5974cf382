// Finds engines that hang. A stopped process or a stuck driver still answers `/health`, `/metrics` and `/v1/models` with 200 and
// frozen values; what tells it is that it has work and makes no progress: no byte comes for any request of this router, and its
// counters of steps and tokens stand still. After 3 s it is suspect and gets no new requests, after `stallMs` it is taken out.
// It must never judge an engine by silence alone where that engine's counters can be had: a long prompt is silent, too.
import type { Clock, Timer } from "../clock.ts";
import type { Endpoint } from "./endpoint.ts";
import { askEngine } from "./engine-client.ts";
import type { Registry } from "./registry.ts";

export interface ProgressOptions {
  readonly clock: Clock;
  readonly registry: Registry;
  /** 0 = no engine is ever found to hang. */
  readonly stallMs: number;
  readonly timeoutMs: number;
  readonly engineKey: () => string | null;
  /** The engine hangs: it has been taken out, and what is on it had better go elsewhere. */
  readonly onStalled: (endpoint: Endpoint) => void;
  /** For the log. */
  readonly onSuspect: (endpoint: Endpoint) => void;
}

/** For an answer of a process that may be stopped. */
const maxAskMs = 2_000;
/** How often engines are looked at that have work. */
const lookMs = 500;
/** It goes on looking for so long when nobody has work: a timer made anew costs a request as much as its routing does. */
const restMs = 2_000;
/** Silence after which the engine's counters are asked for. */
const askAfterMs = 1_000;
const suspectMs = 3_000;
/** A look of a request at its deadlines that is older than this says nothing any more. */
const expectedForMs = 1_000;
/** How long a suspect engine is passed over: until a little after the next look. */
const passOverMs = 3 * lookMs;

/** What the requests on an endpoint see of it, and what its counters said. */
export class Progress {
  /** Last sign of life while it had work, by the clock. */
  lastMs = 0;
  #expectedMs = Number.NEGATIVE_INFINITY;
  /** Counters stand still since they were asked for the first time in this silence. */
  #standsStill = false;
  #counters: number | null = null;
  #refusals = 0;
  /** Found to hang, and no sign of life since. */
  stalled = false;
  suspect = false;

  /** A request waits for bytes, and its client would take them. */
  expects(nowMs: number): void {
    if (nowMs - this.#expectedMs > expectedForMs) this.#alive(nowMs);
    this.#expectedMs = nowMs;
  }

  /** Bytes have come. */
  heard(nowMs: number): void {
    this.#expectedMs = nowMs;
    this.stalled = false;
    this.#alive(nowMs);
  }

  /** What the engine's counters add up to. */
  counted(sum: number, nowMs: number): void {
    this.#refusals = 0;
    if (this.#counters === sum) this.#standsStill = true;
    else if (this.#counters !== null) this.heard(nowMs);
    this.#counters = sum;
  }

  /** The engine has no counters that are known: silence of streams that had begun is all there is. */
  uncounted(streamsRun: boolean): void {
    this.#standsStill = streamsRun;
  }

  /** It does not even answer. @param refused nobody listens there any more */
  unanswered(refused: boolean): void {
    this.#standsStill = true;
    this.#refusals = refused ? this.#refusals + 1 : 0;
  }

  /** Whether its counters should be asked for. */
  isSilent(nowMs: number): boolean {
    return nowMs - this.#expectedMs <= expectedForMs && nowMs - this.lastMs >= askAfterMs;
  }

  /** @param onTrial it was out, and the request on it decides about its return */
  judge(nowMs: number, stallMs: number, onTrial = false): "fine" | "suspect" | "stalled" {
    const silentMs = nowMs - this.lastMs;
    if (!this.isSilent(nowMs) || !this.#standsStill || silentMs < suspectMs) return "fine";
    // nobody listens there: no need to wait. One that has failed before is not given as long again: its probe is a client's
    const enough = this.#refusals >= 2 || this.stalled || onTrial ? suspectMs : stallMs;
    return silentMs >= enough ? "stalled" : "suspect";
  }

  #alive(nowMs: number): void {
    this.lastMs = nowMs;
    this.#standsStill = false;
    this.#counters = null;
    this.#refusals = 0;
    this.suspect = false;
  }
}

export class ProgressWatch {
  readonly #options: ProgressOptions;
  #timer: Timer | null = null;
  #busyAtMs = 0;
  #stopped = false;
  readonly #asking = new Set<Endpoint>();

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  /** A request has been sent: from now on engines are looked at, until none has work. */
  wake(): void {
    if (this.#timer !== null || this.#stopped || this.#options.stallMs === 0) return;
    this.#busyAtMs = this.#options.clock.nowMs();
    this.#timer = this.#options.clock.setTimer(lookMs, this.#look);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  readonly #look = (): void => {
    this.#timer = null;
    const now = this.#options.clock.nowMs();
    for (const endpoint of this.#options.registry.list()) {
      if (endpoint.inFlight === 0) continue;
      this.#busyAtMs = now;
      if (!endpoint.progress.isSilent(now)) continue;
      this.#judge(endpoint, now);
      if (!this.#asking.has(endpoint)) void this.#ask(endpoint);
    }
    if (now - this.#busyAtMs < restMs && !this.#stopped) this.#timer = this.#options.clock.setTimer(lookMs, this.#look);
  };

  #judge(endpoint: Endpoint, now: number): void {
    const { progress } = endpoint;
    const verdict = progress.judge(now, this.#options.stallMs, endpoint.breaker.state(now) === "probing");
    if (verdict === "fine") return;
    endpoint.busyUntilMs = Math.max(endpoint.busyUntilMs, now + passOverMs);
    if (!progress.suspect) this.#options.onSuspect(endpoint);
    progress.suspect = true;
    if (verdict === "suspect") return;
    const again = progress.stalled;
    progress.stalled = true;
    endpoint.breaker.stalled(now, again);
    this.#options.onStalled(endpoint);
  }

  async #ask(endpoint: Endpoint): Promise<void> {
    const { clock, timeoutMs, engineKey } = this.#options;
    const { progress } = endpoint;
    this.#asking.add(endpoint);
    try {
      const answer = await askEngine(
        endpoint,
        "GET",
        "/metrics",
        null,
        engineKey(),
        Math.min(maxAskMs, timeoutMs),
        clock,
      );
      const sum = answer.status === 200 ? sumOfCounters(answer.body.toString("latin1")) : null;
      if (sum === null) progress.uncounted(endpoint.running > 0);
      else progress.counted(sum, clock.nowMs());
    } catch (error) {
      progress.unanswered(error instanceof Error && /ECONNREFUSED/.test(error.message));
    } finally {
      this.#asking.delete(endpoint);
    }
  }
}

/** Counters of vLLM that change with every step, or with what a step has made. */
const moving =
  /^vllm:(?:iteration_tokens_total_(?:count|sum)|generation_tokens_total|prompt_tokens_total)\{[^\n]*\} (\S+)$/gm;

/** null = there are none. */
function sumOfCounters(exposition: string): number | null {
  let sum: number | null = null;
  for (const [, value] of exposition.matchAll(moving)) sum = (sum ?? 0) + Number(value);
  return sum === null || Number.isNaN(sum) ? null : sum;
}
