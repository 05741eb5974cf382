// The load generator against servers that misbehave, and against simulated engines: real sockets, real frames.
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { runLoad, type LoadOptions, type LoadProgress } from "../../src/bench/load/run-load.ts";
import { messagesOf, textOf } from "../../src/bench/load/prompt-text.ts";
import { generate } from "../../src/bench/workload/generators.ts";
import { firstOf, type Workload } from "../../src/bench/workload/workload.ts";
import { systemClock } from "../../src/clock.ts";

type Handle = (request: IncomingMessage, response: ServerResponse, body: string) => void;

async function serve(t: TestContext, handle: Handle): Promise<URL> {
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => handle(request, response, body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

const optionsFor = (url: URL, changed: Partial<LoadOptions> = {}): LoadOptions => ({
  url,
  apiKey: null,
  model: "m",
  api: "completions",
  ignoreEos: true,
  warmup: 0,
  concurrency: null,
  timeoutMs: 20_000,
  maxLagMs: 10_000,
  ...changed,
});

/** Requests at once, or so many milliseconds apart. */
function every(ms: number, count: number): Workload {
  const requests = Array.from({ length: count }, (_, i) => ({
    arrivalMs: i * ms,
    prompt: [{ id: i + 1, tokens: 5 }],
    promptTokens: 5,
    answer: { id: 1000 + i, tokens: 3 },
    named: 0,
    session: null,
  }));
  return { name: "even", requests, notes: [] };
}

const frame = (value: unknown): string => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;
const token = (text: string): string => frame({ choices: [{ text }] });
const usage = frame({
  choices: [],
  usage: { prompt_tokens: 10, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } },
});

const run = (workload: Workload, options: LoadOptions): ReturnType<typeof runLoad> =>
  runLoad(workload, 1, options, systemClock, () => undefined);

describe("the load generator", () => {
  test("takes frames however they are cut, and the usage at the end", async (t) => {
    const url = await serve(t, (_request, response) => {
      const bytes = `${token("a")}${token("b")}${token("c")}${usage}${frame("[DONE]")}`;
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let at = 0; at < bytes.length; at += 7) response.write(bytes.slice(at, at + 7));
      response.end();
    });
    const { result } = await run(every(0, 5), optionsFor(url));
    assert.deepEqual(
      [result.requests, result.failed, result.promptTokens, result.answerTokens, result.hitRate, result.discarded],
      [5, 0, 50, 15, 0.4, null],
    );
  });

  // A closed loop would wait for the slow answer before it sends the next, and never see how long those would have waited.
  test("sends every request at its time, and counts from then, however slow the answers are", async (t) => {
    const held: (() => void)[] = [];
    const url = await serve(t, (_request, response) => {
      held.push(() => response.end(`${token("x")}${frame("[DONE]")}`));
      response.writeHead(200, { "content-type": "text/event-stream" });
      // nobody is answered before all are here
      if (held.length === 10) for (const answer of held) answer();
    });
    const { result } = await run(every(20, 10), optionsFor(url));
    assert.equal(result.failed, 0);
    // the first waited for the last one's arrival, 180 ms later; the last one for nobody
    assert.ok(result.ttftMaxS >= 0.17 && result.ttftMeanS > 0.06, `${result.ttftMaxS} ${result.ttftMeanS}`);
  });

  test("a closed loop has so many requests at any time and no more", async (t) => {
    let now = 0;
    let most = 0;
    const url = await serve(t, (_request, response) => {
      most = Math.max(most, ++now);
      response.once("close", () => now--);
      setImmediate(() => response.end(`${token("x")}${frame("[DONE]")}`));
    });
    const { result } = await run(every(0, 40), optionsFor(url, { concurrency: 4 }));
    assert.equal(result.requests, 40);
    assert.ok(most <= 4 && most > 1, String(most));
  });

  const failures: Readonly<Record<string, readonly [Handle, RegExp]>> = {
    "an error status": [
      (_request, response) => response.writeHead(429).end(JSON.stringify({ error: { message: "too many" } })),
      /^status 429: too many$/,
    ],
    "an error in the stream": [
      (_request, response) => response.end(`${token("x")}${frame({ error: { message: "out of memory" } })}`),
      /^in the stream: out of memory$/,
    ],
    "a stream without its end": [
      (_request, response) => response.end(token("x")),
      /^the stream ended without \[DONE\]$/,
    ],
    "a cut connection": [
      (_request, response) => {
        response.write(token("x"));
        setImmediate(() => response.destroy());
      },
      /aborted|reset|hang up/,
    ],
    "a frame that is no JSON": [(_request, response) => response.end(frame("{")), /^a frame that is no JSON$/],
    "no answer at all": [() => undefined, /^took over 200 ms$/],
  };
  for (const [what, [handle, told]] of Object.entries(failures)) {
    test(`counts ${what} as a failure, by its message, and discards a run of nothing else`, async (t) => {
      const url = await serve(t, handle);
      const { result } = await run(every(0, 3), optionsFor(url, { timeoutMs: 200 }));
      assert.equal(result.failed, 3);
      assert.match(Object.keys(result.errors).join(), told);
      assert.equal(result.discarded, "no request was answered");
    });
  }

  test("discards a run in which it was late itself", async (t) => {
    const url = await serve(t, (_request, response) => response.end(`${token("x")}${frame("[DONE]")}`));
    const { result } = await run(every(1, 20), optionsFor(url, { maxLagMs: 0 }));
    assert.equal(result.failed, 0);
    assert.match(result.discarded ?? "", /^the bench itself was late: 1 % of the requests went out \d+ ms or more .+$/);
  });

  test("warms up with other texts, which count nowhere, and tells how far it is", async (t) => {
    const prompts: string[] = [];
    const url = await serve(t, (_request, response, body) => {
      prompts.push((JSON.parse(body) as { prompt: string }).prompt);
      response.end(`${token("x")}${usage}${frame("[DONE]")}`);
    });
    const told: LoadProgress[] = [];
    const options = optionsFor(url, { warmup: 2 });
    const { result } = await runLoad(every(0, 4), 1, options, systemClock, (now) => told.push(now));
    assert.equal(result.requests, 4);
    assert.equal(new Set(prompts).size, 6);
    assert.deepEqual([told.at(-1)?.sent, told.at(-1)?.ended, told.at(-1)?.total], [4, 4, 4]);
  });
});

describe("the text of a workload", () => {
  test("is the same for the same segment, and has a word for each token", () => {
    assert.equal(textOf({ id: 7, tokens: 50 }), textOf({ id: 7, tokens: 50 }));
    assert.notEqual(textOf({ id: 7, tokens: 50 }), textOf({ id: 8, tokens: 50 }));
    assert.equal(textOf({ id: 7, tokens: 50 }).split(" ").length, 50);
  });

  test("makes a conversation's turns messages that begin as those of the turn before, with what was really answered", () => {
    const { requests } = firstOf(generate("multi-turn", { seed: 1, requests: 300 }), 300);
    const [second] = requests.filter(({ prompt, named }) => prompt.length === named + 2);
    assert.ok(second !== undefined);
    const first = requests.find(({ session, prompt, named }) => session === second.session && prompt.length === named);
    assert.ok(first !== undefined);
    const answers = new Map([[first.answer.id, "what it really said"]]);
    const before = messagesOf(first, answers);
    const after = messagesOf(second, answers);
    assert.deepEqual(
      after.map(({ role }) => role),
      ["system", "user", "assistant", "user"],
    );
    assert.deepEqual(after.slice(0, 2), before);
    assert.equal(after[2]?.content, "what it really said");
  });
});
