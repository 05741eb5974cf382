// One request after the other, or many at a time, to an OpenAI-compatible URL: sends, takes every frame of the stream with
// its time of arrival, and tells what came. Connections are kept; it must never let one request wait for another's.

import http from "node:http";
import https from "node:https";
import type { Clock } from "../../clock.ts";

/** Times are on the clock's axis, milliseconds. */
export interface StreamAnswer {
  /** null = it came whole and well. */
  readonly error: string | null;
  /** NaN = no token came. */
  readonly firstMs: number;
  readonly endMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly answerTokens: number;
  readonly text: string;
}

export interface StreamAsk {
  readonly path: string;
  readonly body: string;
  readonly timeoutMs: number;
  /** The answer's text is wanted, too. */
  readonly keepText: boolean;
  /** Between two frames with a token. */
  readonly gap: (ms: number) => void;
}

interface Frame {
  readonly error?: { readonly message?: string };
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number | null } | null;
  } | null;
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string | null; readonly reasoning_content?: string | null };
  }[];
}

export class StreamClient {
  readonly #clock: Clock;
  readonly #base: URL;
  readonly #agent: http.Agent;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(base: URL, apiKey: string | null, clock: Clock) {
    this.#base = base;
    this.#clock = clock;
    const options = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, noDelay: true };
    this.#agent = base.protocol === "https:" ? new https.Agent(options) : new http.Agent(options);
    this.#headers = {
      "content-type": "application/json",
      accept: "text/event-stream",
      ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
    };
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Never rejects: a failure is an answer as well. */
  async ask(ask: StreamAsk): Promise<StreamAnswer> {
    return await new Promise((resolve) => this.#send(ask, resolve, true));
  }

  /** The first model that the URL lists. @throws Error with what the server said */
  async firstModel(): Promise<string> {
    return await new Promise((resolve, reject) => {
      const request = this.#request("GET", "/v1/models", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => {
          try {
            const list = JSON.parse(text) as { readonly data?: readonly { readonly id?: string }[] };
            const id = list.data?.[0]?.id;
            if (id !== undefined) resolve(id);
            else reject(new Error(`/v1/models answers ${response.statusCode}: ${text.slice(0, 120)}`));
          } catch {
            reject(new Error(`/v1/models answers ${response.statusCode}, and no JSON`));
          }
        });
      });
      request.on("error", reject);
      request.end();
    });
  }

  #request(method: string, path: string, answered: (response: http.IncomingMessage) => void): http.ClientRequest {
    const url = new URL(`${this.#base.href.replace(/\/$/, "")}${path}`);
    const options = { method, agent: this.#agent, headers: this.#headers };
    return url.protocol === "https:" ? https.request(url, options, answered) : http.request(url, options, answered);
  }

  #send(ask: StreamAsk, resolve: (answer: StreamAnswer) => void, mayRetry: boolean): void {
    const clock = this.#clock;
    let firstMs = Number.NaN;
    let lastMs = Number.NaN;
    let usage: Frame["usage"] = null;
    let frames = 0;
    let text = "";
    let done = false;
    let over = false;
    let answering = false;
    const timer = clock.setTimer(ask.timeoutMs, () => request.destroy(new Error(`took over ${ask.timeoutMs} ms`)));
    const end = (error: string | null): void => {
      if (over) return;
      over = true;
      timer.cancel();
      resolve({
        error,
        firstMs,
        endMs: clock.nowMs(),
        promptTokens: usage?.prompt_tokens ?? 0,
        cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
        answerTokens: usage?.completion_tokens ?? frames,
        text,
      });
    };
    const take = (data: string, atMs: number): void => {
      if (data === "[DONE]") {
        done = true;
        return;
      }
      let frame: Frame;
      try {
        frame = JSON.parse(data) as Frame;
      } catch {
        end("a frame that is no JSON");
        return;
      }
      if (frame.error !== undefined) {
        end(`in the stream: ${frame.error.message ?? "an error"}`);
        return;
      }
      if (frame.usage !== undefined && frame.usage !== null) usage = frame.usage;
      const choice = frame.choices?.[0];
      const content = choice?.text ?? choice?.delta?.content ?? choice?.delta?.reasoning_content ?? "";
      if (content === "") return;
      frames++;
      if (Number.isNaN(firstMs)) firstMs = atMs;
      else ask.gap(atMs - lastMs);
      lastMs = atMs;
      if (ask.keepText) text += content;
    };
    const request = this.#request("POST", ask.path, (response) => {
      answering = true;
      let rest = "";
      response.setEncoding("utf8");
      if (response.statusCode !== 200) {
        response.on("data", (chunk: string) => (rest = (rest + chunk).slice(0, 2000)));
        response.on("end", () => end(`status ${response.statusCode}: ${messageIn(rest)}`));
        response.on("error", (error) => end(error.message));
        return;
      }
      response.on("data", (chunk: string) => {
        const atMs = clock.nowMs();
        rest += chunk;
        let from = 0;
        for (let at = rest.indexOf("\n\n"); at >= 0; at = rest.indexOf("\n\n", from)) {
          const frame = rest.slice(from, at);
          from = at + 2;
          if (frame.startsWith("data: ")) take(frame.slice(6), atMs);
          if (over) return;
        }
        rest = rest.slice(from);
      });
      response.on("end", () => end(done ? null : "the stream ended without [DONE]"));
      response.on("error", (error) => end(error.message));
    });
    request.on("error", (error) => {
      // The server closed a kept connection just as it was used again: no answer had begun, so nothing is lost.
      if (!over && mayRetry && !answering && request.reusedSocket) {
        over = true;
        timer.cancel();
        this.#send(ask, resolve, false);
      } else end(error.message);
    });
    request.end(ask.body);
  }
}

/** The message of an error body, whatever its shape. */
function messageIn(body: string): string {
  try {
    const parsed = JSON.parse(body) as { error?: { message?: string } | string; message?: string; detail?: string };
    const { error } = parsed;
    const message = typeof error === "string" ? error : (error?.message ?? parsed.message ?? parsed.detail);
    if (typeof message === "string") return message.slice(0, 200);
  } catch {
    // not JSON: shown as it is
  }
  return body.trim().slice(0, 200);
}
