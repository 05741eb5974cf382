// What a request asks of an engine, as policies see it, from its body to where it goes.
import type { Body } from "../api/body.ts";
import type { RelayRow } from "../api/table.ts";
import type { PolicyName } from "../config/types.ts";
import type { LoadTicket } from "../routing/load.ts";
import type { RequestView } from "../routing/policy.ts";
import type { RouterContext } from "./context.ts";
import { askOfLength, leastBodyBytes, type Ask, type Placed } from "./prefixes.ts";
import type { Selection } from "./select.ts";

/** Policies that compare prompts. */
const readsPrompts: ReadonlySet<PolicyName> = new Set<PolicyName>(["prefixaware"]);

export class RequestPlacement {
  readonly #ctx: RouterContext;
  readonly #model: string;
  readonly #session: string | null;
  #ask: Ask;

  /**
   * Reads the prompt where that may pay. An endpoint that is alone gets it however it is, and a policy may not care.
   * @param model "" = there is none
   * @param bytes length of the body as it leaves
   */
  constructor(ctx: RouterContext, row: RelayRow, model: string, session: string | null, bytes: number, body: Body) {
    this.#ctx = ctx;
    this.#model = model;
    this.#session = session;
    const several = (ctx.registry.serving(model)?.length ?? 0) > 1;
    const reads = several && bytes >= leastBodyBytes && row.modelIn === "json" && readsPrompts.has(ctx.routing.name);
    this.#ask = reads ? ctx.prefixes.read(row.api, body.whole(), model) : askOfLength(bytes);
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

  /** Forgets the hashes of a long prompt: they are not kept while its answer runs. */
  forgetPrompt(): void {
    if (this.#ask.prompt !== null) this.#ask = { ...this.#ask, prompt: null };
  }
}
