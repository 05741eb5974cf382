// What a request asks of an engine, as policies see it, from its body to where it goes.
import type { Body } from "../api/body.ts";
import type { RelayRow } from "../api/table.ts";
import type { LoadTicket } from "../routing/load.ts";
import type { RequestView } from "../routing/policy.ts";
import type { RouterContext } from "./context.ts";
import type { KvPlacement } from "./kv-aware.ts";
import { askOfLength, type Ask, type Placed } from "./prefixes.ts";
import { readAsk } from "./read-ask.ts";
import type { Selection } from "./select.ts";

export class RequestPlacement {
  readonly #ctx: RouterContext;
  readonly #model: string;
  readonly #session: string | null;
  #ask: Ask;
  /** Tokens that somebody else makes; null = nobody has to be waited for. */
  readonly #reading: Promise<Ask> | null;

  /**
   * Reads the prompt where that may pay.
   * @param model "" = there is none
   * @param bytes length of the body as it leaves
   */
  constructor(ctx: RouterContext, row: RelayRow, model: string, session: string | null, bytes: number, body: Body) {
    this.#ctx = ctx;
    this.#model = model;
    this.#session = session;
    const ask = readAsk(ctx, row, model === "" ? null : model, body, bytes);
    const isRead = !(ask instanceof Promise);
    this.#ask = isRead ? ask : askOfLength(bytes);
    this.#reading = isRead ? null : ask;
  }

  /** Goes on at once, or when the prompt's tokens are known or their time is over. What `next` throws `fail` gets. */
  whenRead(next: (waitedMs: number) => void, fail: (error: unknown) => void): void {
    if (this.#reading === null) next(0);
    else void this.#wait(this.#reading, next).catch(fail);
  }

  async #wait(reading: Promise<Ask>, next: (waitedMs: number) => void): Promise<void> {
    const { clock } = this.#ctx;
    const sinceMs = clock.nowMs();
    this.#ask = await reading;
    next(clock.nowMs() - sinceMs);
  }

  /** What a policy may know. */
  view(nowMs: number, mayWait: boolean): RequestView {
    const { prompt, promptTokens, maxTokens, priority } = this.#ask;
    const { routing, config } = this.#ctx;
    return {
      model: this.#model,
      sessionKey: this.#session,
      prompt,
      promptTokens,
      maxTokens,
      priority,
      othersShare: routing.othersShare,
      mayWait: mayWait && config.limits.maxQueuedRequests > 0,
      nowMs,
    };
  }

  /** Counts the request on the endpoint that it goes to. */
  send({ endpoint, cachedTokens }: Selection, nowMs: number): LoadTicket {
    const { promptTokens, maxTokens } = this.#ask;
    return endpoint.load.send(promptTokens, promptTokens - cachedTokens, maxTokens, nowMs);
  }

  /** Enters the prompt there. @returns null where it was not read */
  enter({ endpoint, cachedTokens }: Selection): Placed | null {
    const { prompt } = this.#ask;
    if (prompt === null) return null;
    const placement = this.#ctx.prefixes.index.sent(endpoint.id, prompt);
    return { placement, cachedTokens, textBytes: prompt.tokenIds === null ? prompt.length : 0 };
  }

  /** Enters it in the exact index. @returns null where that is not asked */
  follow({ endpoint, cachedTokens }: Selection): KvPlacement | null {
    return this.#ctx.kv.sent(endpoint, this.#ask, cachedTokens);
  }

  /** Forgets the hashes of a long prompt: they are not kept while its answer runs. */
  forgetPrompt(): void {
    if (this.#ask.prompt !== null) this.#ask = { ...this.#ask, prompt: null };
  }
}
