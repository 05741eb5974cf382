// Steady load from outside: so many requests a second whatever the answers do, half of them on connections that are kept.
// What fails is told in words. Only where the machine itself can't keep up are fewer sent.
import type { TestContext } from "node:test";
import { dataOf, RawClient, rawRequest, type ClientResponse } from "../helpers/http-client.ts";

/** More at one time means that client, router or engines get no processor: waiting longer would only show that. */
const mostAtOnce = 80;
/** Of a client, for the next bytes. */
const patienceMs = 60_000;

export interface LoadOptions {
  readonly port: number;
  readonly perSecond: number;
  readonly model: string;
  /** Tokens of each answer. */
  readonly tokens: number;
  /** Share of the requests that are streams; the rest wait for JSON. Default a half. */
  readonly streams?: number;
}

export class Load {
  readonly #options: LoadOptions;
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #running = new Set<Promise<void>>();
  /** The one that was used longest ago comes next. */
  readonly #kept: RawClient[] = [];
  #sent = 0;
  #due = 0;
  /** Of what is due, what has not been sent. */
  #left = 0;
  #stopped = false;
  /** Requests that have ended. */
  ended = 0;
  readonly failures: string[] = [];
  /** Of each request that ended well: when it was sent, by the process's clock, how long it took, and its number. */
  readonly times: { readonly sentMs: number; readonly tookMs: number; readonly number: number }[] = [];

  /** Ends with the test at the latest. */
  constructor(t: Pick<TestContext, "after">, options: LoadOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#send(), 4);
    t.after(() => this.stop());
  }

  get sent(): number {
    return this.#sent;
  }

  /** No more requests; resolves when the last one has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await Promise.all(this.#running);
    for (const client of this.#kept.splice(0)) client.close();
  }

  /** Milliseconds below which this share of the requests sent since then took. */
  quantile(share: number, sinceMs: number): number {
    const took = this.times.filter(({ sentMs }) => sentMs >= sinceMs).map(({ tookMs }) => tookMs);
    took.sort((a, b) => a - b);
    return took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
  }

  #send(): void {
    const due = ((performance.now() - this.#startMs) / 1000) * this.#options.perSecond;
    this.#left += Math.max(0, due - this.#due);
    this.#due = Math.max(due, this.#due);
    if (this.#running.size >= mostAtOnce) this.#left = 0;
    for (; this.#left >= 1 && !this.#stopped; this.#left--) {
      const run = this.#one(this.#sent++).finally(() => this.#running.delete(run));
      this.#running.add(run);
    }
  }

  async #one(number: number): Promise<void> {
    const { model, tokens, streams = 0.5 } = this.#options;
    const stream = (number * 0.618) % 1 < streams;
    const keep = number % 2 === 0;
    const sentMs = performance.now();
    try {
      const client = (keep ? this.#idle() : null) ?? (await RawClient.connect(this.#options.port));
      client.patienceMs = patienceMs;
      const body = { model, prompt: "Tell me", max_tokens: tokens, stream, ignore_eos: true };
      const fields = keep ? [] : ["connection: close"];
      client.write(
        rawRequest("POST", "/v1/completions", JSON.stringify(body), [...fields, `x-request-id: load-${number}`]),
      );
      const response = await client.response();
      const wrong = judge(response);
      if (wrong !== null) this.failures.push(`request ${number} (${stream ? "stream" : "JSON"}): ${wrong}`);
      else this.times.push({ sentMs, tookMs: performance.now() - sentMs, number });
      if (keep && client.end === "open" && response.header("connection") !== "close") this.#kept.push(client);
      else client.close();
    } catch (error) {
      this.failures.push(`request ${number}: ${String(error)}`);
    }
    this.ended++;
  }

  #idle(): RawClient | null {
    for (let client = this.#kept.shift(); client !== undefined; client = this.#kept.shift()) {
      if (client.end === "open") return client;
      client.close();
    }
    return null;
  }
}

function judge(response: ClientResponse): string | null {
  if (response.status !== 200) return `${response.status} ${response.text.slice(0, 200)}`;
  if (!response.complete) return `cut after ${response.text.length} bytes`;
  if (response.header("content-type")?.startsWith("text/event-stream") !== true) return null;
  const events = dataOf(response);
  return events.at(-1) === "[DONE]" ? null : `ended with ${events.at(-1)}`;
}
