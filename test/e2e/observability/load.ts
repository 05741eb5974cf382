// Load on a stack, and an account of it that owes nothing to the router: what was asked, what came back, when the first event
// did. Clients share system prompts, some leave in the middle, some ask for nonsense.

export interface Tally {
  ok: number;
  left: number;
  refused: number;
  failed: number;
  promptTokens: number;
  cachedTokens: number;
  generatedTokens: number;
  /** Seconds from sending to the first event, of streams. */
  readonly firstEvents: number[];
}

export interface LoadOptions {
  readonly url: string;
  readonly model: string;
  readonly clients: number;
  /** Pause of a client between two requests. */
  readonly pauseMs: number;
  readonly maxTokens: number;
  /** Prefix of a session's prompts, repeated so many times; longer ones fill caches. */
  readonly promptWords: number;
  /** Numbers in each prompt that no other has. */
  readonly ownWords: number;
  readonly random: () => number;
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
}

export class Load {
  readonly tally: Tally = {
    ok: 0,
    left: 0,
    refused: 0,
    failed: 0,
    promptTokens: 0,
    cachedTokens: 0,
    generatedTokens: 0,
    firstEvents: [],
  };
  readonly #options: LoadOptions;
  readonly #clients: Promise<void>[];
  #stopped = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#clients = Array.from({ length: options.clients }, (_, i) => this.#client(i));
  }

  /** No client begins anything any more; resolves when all are done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
  }

  async #client(number: number): Promise<void> {
    const { random, pauseMs } = this.#options;
    const topic = `You are assistant ${number % 5}. `.repeat(this.#options.promptWords);
    for (let turn = 0; !this.#stopped; turn++) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + random())));
      await this.#one(topic, turn).catch(() => this.tally.failed++);
    }
  }

  #one(topic: string, turn: number): Promise<void> {
    const dice = this.#options.random();
    if (dice < 0.05) return this.#nonsense();
    if (dice < 0.15) return this.#leaver(topic, turn);
    return dice < 0.4 ? this.#plain(topic, turn) : this.#stream(topic, turn);
  }

  #ask(body: object, signal?: AbortSignal): Promise<Response> {
    return fetch(`${this.#options.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: this.#options.model, ...body }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  #prompt(topic: string, turn: number): object {
    const { random, maxTokens, ownWords } = this.#options;
    return {
      prompt: `${topic} Question ${turn}: ${Array.from({ length: ownWords }, () => Math.floor(random() * 1e6)).join(" ")}`,
      max_tokens: Math.ceil(maxTokens * (0.5 + random() / 2)),
      ignore_eos: true,
    };
  }

  async #nonsense(): Promise<void> {
    const response = await this.#ask({ prompt: "x", max_tokens: -1 });
    await response.arrayBuffer();
    if (response.status === 400) this.tally.refused++;
    else this.tally.failed++;
  }

  async #plain(topic: string, turn: number): Promise<void> {
    const response = await this.#ask(this.#prompt(topic, turn));
    const body = (await response.json()) as { readonly usage?: Usage };
    if (response.status === 200 && body.usage !== undefined) this.#done(body.usage);
    else this.tally.failed++;
  }

  async #stream(topic: string, turn: number): Promise<void> {
    const began = performance.now();
    const response = await this.#ask({
      ...this.#prompt(topic, turn),
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let first = true;
    const decoder = new TextDecoder();
    for await (const piece of response.body ?? []) {
      text += decoder.decode(piece as Uint8Array, { stream: true });
      if (first && text.includes("data: {")) {
        first = false;
        this.tally.firstEvents.push((performance.now() - began) / 1000);
      }
    }
    const usage = text.endsWith("data: [DONE]\n\n") ? lastUsage(text) : null;
    if (response.status === 200 && usage !== null) this.#done(usage);
    else this.tally.failed++;
  }

  /** Goes away after the first events. */
  async #leaver(topic: string, turn: number): Promise<void> {
    const controller = new AbortController();
    const began = performance.now();
    try {
      const response = await this.#ask(
        { ...this.#prompt(topic, turn), max_tokens: 4 * this.#options.maxTokens, stream: true },
        controller.signal,
      );
      for await (const _piece of response.body ?? []) {
        if (response.status !== 200) {
          this.tally.failed++;
          return;
        }
        this.tally.firstEvents.push((performance.now() - began) / 1000);
        controller.abort();
        break;
      }
    } catch {
      // our own leaving
    }
    this.tally.left++;
  }

  #done(usage: Usage): void {
    const { tally } = this;
    tally.ok++;
    tally.promptTokens += usage.prompt_tokens;
    tally.cachedTokens += usage.prompt_tokens_details?.cached_tokens ?? 0;
    tally.generatedTokens += usage.completion_tokens;
  }
}

/** Of the last event that tells it. */
function lastUsage(text: string): Usage | null {
  for (const line of text.split("\n").toReversed()) {
    if (!line.startsWith("data: {")) continue;
    const { usage } = JSON.parse(line.slice(6)) as { readonly usage?: Usage | null };
    if (usage !== undefined && usage !== null) return usage;
  }
  return null;
}
