// What a conformance case works with: the router under test, known only by its address, and the engines behind it, which are
// ours and say exactly what a case needs. It must not use the code under test.
import assert from "node:assert/strict";
import { dataOf, post, RawClient, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import { jsonAnswer, wholeStream, type RawEngine, type RawHandler, type RawRequest } from "../helpers/raw-engine.ts";
import { until } from "../helpers/until.ts";

/** The model of the first three engines, and that of the fourth. */
export const model = "conformance-model";
export const otherModel = "conformance-other";

export const engineCount = 4;

/** How the router under test is handled. What it can't do is null, and the cases that need it say so. */
export interface Subject {
  /** Where it listens while it runs. */
  readonly port: number;
  /** Largest request body that it was told to take. */
  readonly limitBytes: number;
  /** Path that tells a load balancer whether to send requests. */
  readonly readyPath: string;
  /** Starts it anew with these engines; resolves when it listens. */
  readonly restart: ((engines: readonly string[]) => Promise<void>) | null;
  /** Gives it another set of engines while it runs. */
  readonly setEngines: ((engines: readonly string[]) => Promise<void>) | null;
  /** Sends SIGTERM; resolves when the process has ended. */
  readonly terminate: (() => Promise<void>) | null;
}

/** A case that can't be run on this subject. */
export class NotOffered extends Error {
  override readonly name = "NotOffered";
}

export function offered<T>(what: T | null, name: string): T {
  if (what === null) throw new NotOffered(`this router was given no way to ${name}`);
  return what;
}

export class Stand {
  readonly subject: Subject;
  readonly engines: readonly RawEngine[];

  constructor(subject: Subject, engines: readonly RawEngine[]) {
    this.subject = subject;
    this.engines = engines;
  }

  /** Those that serve {@link model}. */
  get serving(): readonly RawEngine[] {
    return this.engines.slice(0, engineCount - 1);
  }

  get urls(): string[] {
    return this.engines.map(({ url }) => url);
  }

  /** What each engine answers from now on; a good answer by default. */
  answering(handler: RawHandler = goodAnswer): void {
    for (const engine of this.engines) engine.handler = handler;
  }

  /** Requests that came to the engines since a mark. */
  mark(): { since(): RawRequest[]; of(engine: RawEngine): number } {
    const before = this.engines.map(({ requests }) => requests.length);
    return {
      since: () => this.engines.flatMap(({ requests }, i) => requests.slice(before[i])),
      of: (engine) => engine.requests.length - (before[this.engines.indexOf(engine)] ?? 0),
    };
  }

  ask(fields: readonly string[] = [], body: object = {}): Promise<ClientResponse> {
    return post(
      this.subject.port,
      "/v1/chat/completions",
      { model, messages: [{ role: "user", content: "Hello" }], ...body },
      fields,
    );
  }

  /** Many requests, so many at a time. */
  async askMany(count: number, atOnce = 1): Promise<ClientResponse[]> {
    const answers: ClientResponse[] = [];
    let left = count;
    const worker = async (): Promise<void> => {
      while (left-- > 0) answers.push(await this.ask());
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    return answers;
  }

  /** A client that has asked for a stream. */
  async openStream(): Promise<RawClient> {
    const client = await RawClient.connect(this.subject.port);
    client.write(
      rawRequest("POST", "/v1/chat/completions", JSON.stringify({ model, messages: [], stream: true, max_tokens: 9 })),
    );
    return client;
  }

  /** All engines are well and get about the same: how each case finds the router. */
  async calm(): Promise<void> {
    this.answering();
    const began = performance.now();
    // one round may be luck, where a router is still careful with an engine that had failed
    for (let rounds = 0; rounds < 3;) {
      const mark = this.mark();
      const answers = await this.askMany(30, 3);
      const shares = this.serving.map((engine) => mark.of(engine));
      rounds = answers.every(({ status }) => status === 200) && Math.min(...shares) >= 5 ? rounds + 1 : 0;
      if (performance.now() - began > 30_000)
        throw new Error(`of 30 requests the engines, which are well, got ${shares.join(", ")}`);
    }
    for (const engine of this.engines) {
      await until(
        () => engine.connections.every(({ gone, requests }) => gone || requests > 0),
        "no request is half way",
      );
    }
  }
}

/** A stream where one is asked for, else a small JSON; as vLLM writes them. */
export const goodAnswer: RawHandler = (request) => {
  const text = request.body.toString("latin1");
  request.connection.write(/"stream": ?true/.test(text) ? wholeStream("one", "two", "three") : jsonAnswer(goodBody));
};

export const goodBody = {
  id: "chatcmpl-1",
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: "one two three" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 },
};

/** An answer is whole and good, whichever form it has. */
export function assertGood(response: ClientResponse): void {
  assert.equal(response.status, 200, `${response.status} ${response.text.slice(0, 300)}`);
  assert.ok(response.complete, "the answer was cut");
  if (response.header("content-type")?.startsWith("text/event-stream") === true)
    assert.equal(dataOf(response).at(-1), "[DONE]", response.text);
}
