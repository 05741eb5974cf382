// Puts a workload on a URL in real time. The loop is open: every request goes out when the workload says so, and its times
// count from then, so that a server that is slow to answer can't hide it by being asked less ("coordinated omission").
// What the bench itself was late with is measured, and spoils the run when it is too much.

import type { Clock } from "../../clock.ts";
import { GapCounter, mean, quantile } from "../statistics.ts";
import { meanRps, type Segment, type Workload, type WorkloadRequest } from "../workload/workload.ts";
import { messagesOf, promptText } from "./prompt-text.ts";
import { StreamClient, type StreamAnswer } from "./stream-client.ts";

export interface LoadOptions {
  readonly url: URL;
  readonly apiKey: string | null;
  readonly model: string;
  readonly api: "chat" | "completions";
  readonly ignoreEos: boolean;
  readonly warmup: number;
  /** So many at any time, whatever the arrivals; null = by arrivals. */
  readonly concurrency: number | null;
  readonly timeoutMs: number;
  readonly maxLagMs: number;
}

/** How far a run is, for people. */
export interface LoadProgress {
  readonly sent: number;
  readonly ended: number;
  readonly failed: number;
  readonly total: number;
  readonly ttftP50S: number;
  readonly ttftP90S: number;
  readonly tokensPerS: number;
}

/** A second of the run. */
export interface LoadSecond {
  readonly atS: number;
  readonly inFlight: number;
  readonly tokens: number;
  /** Of the first tokens that came in it; NaN = none came. */
  readonly ttftMeanS: number;
}

/** As a row of the lab; NaN where nothing was measured. */
export interface LoadResult {
  readonly policy: string;
  readonly rate: number;
  readonly rps: number;
  readonly requests: number;
  readonly failed: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly ttftMeanS: number;
  readonly ttftP50S: number;
  readonly ttftP90S: number;
  readonly ttftP99S: number;
  readonly ttftMaxS: number;
  readonly itlP50Ms: number;
  readonly itlP99Ms: number;
  readonly e2eMeanS: number;
  readonly e2eP99S: number;
  readonly hitRate: number;
  /** Who answered is not seen from outside. */
  readonly imbalance: null;
  readonly promptTokens: number;
  readonly answerTokens: number;
  readonly outputTokensPerS: number;
  /** 99th percentile of how late the bench sent. */
  readonly lagP99Ms: number;
  /** Why the figures mean nothing; null = they do. */
  readonly discarded: string | null;
}

export interface LoadRun {
  readonly result: LoadResult;
  readonly seconds: readonly LoadSecond[];
}

const progressEveryMs = 250;

export async function runLoad(
  workload: Workload,
  rate: number,
  options: LoadOptions,
  clock: Clock,
  progress: (now: LoadProgress) => void,
): Promise<LoadRun> {
  const client = new StreamClient(options.url, options.apiKey, clock);
  const run = new Load(workload, options, client, clock);
  const timer = { stopped: false };
  const tell = (): void => {
    if (timer.stopped) return;
    progress(run.progress());
    clock.setTimer(progressEveryMs, tell);
  };
  try {
    await run.warmUp();
    tell();
    await (options.concurrency === null ? run.open() : run.closed(options.concurrency));
    progress(run.progress());
    return { result: run.result(rate), seconds: run.seconds() };
  } finally {
    timer.stopped = true;
    client.close();
  }
}

interface Measured {
  readonly dueMs: number;
  readonly answer: StreamAnswer;
}

class Load {
  readonly #workload: Workload;
  readonly #options: LoadOptions;
  readonly #client: StreamClient;
  readonly #clock: Clock;
  readonly #gaps = new GapCounter();
  readonly #lags: number[] = [];
  readonly #measured: Measured[] = [];
  readonly #answers = new Map<number, string>();
  /** Answers that later prompts hold. */
  readonly #quoted = new Set<number>();
  readonly #tokensOfSecond: number[] = [];
  readonly #inFlightOfSecond: number[] = [];
  #startMs = 0;
  #endMs = 0;
  #sent = 0;
  #tokens = 0;

  constructor(workload: Workload, options: LoadOptions, client: StreamClient, clock: Clock) {
    this.#workload = workload;
    this.#options = options;
    this.#client = client;
    this.#clock = clock;
    const answers = new Set(workload.requests.map(({ answer }) => answer.id));
    for (const { prompt } of workload.requests) {
      for (const { id } of prompt) if (answers.has(id)) this.#quoted.add(id);
    }
  }

  /** Fills connections and compiles code on both sides, with texts that the workload does not have. */
  async warmUp(): Promise<void> {
    const { warmup } = this.#options;
    const strange = (id: number, { tokens }: Segment): Segment => ({ id: 2 ** 50 + id, tokens: Math.min(tokens, 64) });
    for (const [at, request] of this.#workload.requests.slice(0, warmup).entries()) {
      const prompt = request.prompt.slice(0, 1).map((segment) => strange(at, segment));
      const answer = { id: 0, tokens: Math.min(request.answer.tokens, 8) };
      await this.#ask({ ...request, prompt, named: 0, answer }, () => undefined);
    }
  }

  /** By arrivals. */
  async open(): Promise<void> {
    const { requests } = this.#workload;
    this.#startMs = this.#clock.nowMs();
    await Promise.all(requests.map((request) => this.#later(request, this.#startMs + request.arrivalMs)));
    this.#endMs = this.#clock.nowMs();
  }

  /** So many at any time; a request is due when its turn comes. */
  async closed(concurrency: number): Promise<void> {
    const { requests } = this.#workload;
    let next = 0;
    this.#startMs = this.#clock.nowMs();
    const client = async (): Promise<void> => {
      for (let request = requests[next++]; request !== undefined; request = requests[next++]) {
        await this.#measure(request, this.#clock.nowMs());
      }
    };
    await Promise.all(Array.from({ length: concurrency }, client));
    this.#endMs = this.#clock.nowMs();
  }

  async #later(request: WorkloadRequest, dueMs: number): Promise<void> {
    // Node's timers end with 24 days, and a workload of minutes is far from that
    await new Promise<void>((resolve) => void this.#clock.setTimer(Math.max(0, dueMs - this.#clock.nowMs()), resolve));
    await this.#measure(request, dueMs);
  }

  async #measure(request: WorkloadRequest, dueMs: number): Promise<void> {
    this.#lags.push(Math.max(0, this.#clock.nowMs() - dueMs));
    this.#sent++;
    const answer = await this.#ask(request, (ms) => {
      this.#gaps.add(ms);
      this.#token();
    });
    if (!Number.isNaN(answer.firstMs)) this.#token();
    if (answer.error === null && this.#quoted.has(request.answer.id)) this.#answers.set(request.answer.id, answer.text);
    this.#measured.push({ dueMs, answer });
  }

  #token(): void {
    this.#tokens++;
    const second = this.#second();
    this.#tokensOfSecond[second] = (this.#tokensOfSecond[second] ?? 0) + 1;
    this.#inFlightOfSecond[second] = this.#sent - this.#measured.length;
  }

  #second(): number {
    return Math.floor((this.#clock.nowMs() - this.#startMs) / 1000);
  }

  #ask(request: WorkloadRequest, gap: (ms: number) => void): Promise<StreamAnswer> {
    const { api, model, ignoreEos, timeoutMs } = this.#options;
    const body = JSON.stringify({
      model,
      ...(api === "chat"
        ? { messages: messagesOf(request, this.#answers) }
        : { prompt: promptText(request, this.#answers) }),
      max_tokens: request.answer.tokens,
      ...(ignoreEos ? { ignore_eos: true } : {}),
      stream: true,
      stream_options: { include_usage: true },
    });
    return this.#client.ask({
      path: api === "chat" ? "/v1/chat/completions" : "/v1/completions",
      body,
      timeoutMs,
      keepText: this.#quoted.has(request.answer.id),
      gap,
    });
  }

  #ttfts(): number[] {
    return this.#measured
      .filter(({ answer }) => answer.error === null && !Number.isNaN(answer.firstMs))
      .map(({ dueMs, answer }) => answer.firstMs - dueMs)
      .toSorted((a, b) => a - b);
  }

  progress(): LoadProgress {
    const ttfts = this.#ttfts();
    const runningS = (this.#clock.nowMs() - this.#startMs) / 1000;
    return {
      sent: this.#sent,
      ended: this.#measured.length,
      failed: this.#measured.filter(({ answer }) => answer.error !== null).length,
      total: this.#workload.requests.length,
      ttftP50S: quantile(ttfts, 0.5) / 1000,
      ttftP90S: quantile(ttfts, 0.9) / 1000,
      tokensPerS: runningS > 0 ? this.#tokens / runningS : 0,
    };
  }

  seconds(): LoadSecond[] {
    const sums = new Map<number, { count: number; ms: number }>();
    for (const { dueMs, answer } of this.#measured) {
      if (Number.isNaN(answer.firstMs)) continue;
      const second = Math.floor((answer.firstMs - this.#startMs) / 1000);
      const sum = sums.get(second) ?? { count: 0, ms: 0 };
      sums.set(second, { count: sum.count + 1, ms: sum.ms + answer.firstMs - dueMs });
    }
    return Array.from({ length: this.#second() + 1 }, (_, atS): LoadSecond => {
      const sum = sums.get(atS);
      return {
        atS,
        inFlight: this.#inFlightOfSecond[atS] ?? 0,
        tokens: this.#tokensOfSecond[atS] ?? 0,
        ttftMeanS: sum === undefined ? Number.NaN : sum.ms / sum.count / 1000,
      };
    });
  }

  result(rate: number): LoadResult {
    const good = this.#measured.filter(({ answer }) => answer.error === null);
    const ttfts = this.#ttfts();
    const ends = good.map(({ dueMs, answer }) => answer.endMs - dueMs).toSorted((a, b) => a - b);
    const errors: Record<string, number> = {};
    for (const { answer } of this.#measured) {
      if (answer.error !== null) errors[answer.error] = (errors[answer.error] ?? 0) + 1;
    }
    let promptTokens = 0;
    let cachedTokens = 0;
    let answerTokens = 0;
    for (const { answer } of good) {
      promptTokens += answer.promptTokens;
      cachedTokens += answer.cachedTokens;
      answerTokens += answer.answerTokens;
    }
    const lags = this.#lags.toSorted((a, b) => a - b);
    const lagP99Ms = quantile(lags, 0.99);
    const tookS = (this.#endMs - this.#startMs) / 1000;
    const s = (ms: number): number => rounded(ms / 1000, 4);
    return {
      policy: this.#options.url.origin,
      rate: rounded(rate, 4),
      rps: rounded(this.#options.concurrency === null ? meanRps(this.#workload) : good.length / tookS, 3),
      requests: this.#measured.length,
      failed: this.#measured.length - good.length,
      errors,
      ttftMeanS: s(mean(ttfts)),
      ttftP50S: s(quantile(ttfts, 0.5)),
      ttftP90S: s(quantile(ttfts, 0.9)),
      ttftP99S: s(quantile(ttfts, 0.99)),
      ttftMaxS: s(ttfts.at(-1) ?? Number.NaN),
      itlP50Ms: rounded(this.#gaps.quantile(0.5), 2),
      itlP99Ms: rounded(this.#gaps.quantile(0.99), 2),
      e2eMeanS: s(mean(ends)),
      e2eP99S: s(quantile(ends, 0.99)),
      hitRate: rounded(promptTokens === 0 ? 0 : cachedTokens / promptTokens, 4),
      imbalance: null,
      promptTokens,
      answerTokens,
      outputTokensPerS: rounded(answerTokens / tookS, 1),
      lagP99Ms: rounded(lagP99Ms, 2),
      discarded: verdict(lagP99Ms, this.#options.maxLagMs, good.length),
    };
  }
}

function verdict(lagP99Ms: number, maxLagMs: number, good: number): string | null {
  if (good === 0) return "no request was answered";
  if (lagP99Ms <= maxLagMs) return null;
  return (
    `the bench itself was late: 1 % of the requests went out ${Math.round(lagP99Ms)} ms or more after their time ` +
    `(--max-lag ${maxLagMs} ms); lower the rate, or run it on a machine with more to spare`
  );
}

function rounded(value: number, digits: number): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}
