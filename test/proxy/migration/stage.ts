// The stage of the migration's tests: simulated engines behind proxies that cut, a router in front of them, and what an
// unbroken answer looks like beside one that was cut.
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { startEngine, type EngineOptions, type RunningEngine } from "../../../src/engine/serve.ts";
import { startCuttingProxy, type Cut, type CuttingProxy } from "../../helpers/cutting-proxy.ts";
import { dataOf, post, RawClient, rawRequest, type ClientResponse } from "../../helpers/http-client.ts";
import { startTestRouter, type TestRouter, type TestRouterOptions } from "../../helpers/router.ts";

export const model = "m";

export interface Stage {
  readonly router: TestRouter;
  readonly engines: readonly RunningEngine[];
  readonly proxies: readonly CuttingProxy[];
  /** Of the next generating requests, wherever they go. */
  readonly cuts: Cut[];
}

export async function stage(
  t: TestContext,
  argv: readonly string[] = [],
  engine: EngineOptions = {},
  options: TestRouterOptions = {},
  count = 2,
): Promise<Stage> {
  const engines = await Promise.all(
    Array.from({ length: count }, () => startEngine({ preset: "fast", models: [model], simApi: true, ...engine })),
  );
  t.after(() => Promise.all(engines.map((running) => running.close())));
  const cuts: Cut[] = [];
  const proxies = await Promise.all(engines.map(({ port }) => startCuttingProxy(t, port, cuts)));
  const urls = proxies.map(({ url }) => url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls, ...argv], options);
  return { router, engines, proxies, cuts };
}

/** What the breaker and the budget of retries have seen is not what is looked at. */
export function calm({ context }: TestRouter): void {
  const now = context.clock.nowMs();
  for (const { breaker } of context.registry.list()) for (let i = 0; i < 3; i++) breaker.success(now);
  for (let i = 0; i < 10; i++) {
    context.retryBudget.request(now);
    context.migrationRetries.request(now);
  }
}

export interface Choice {
  readonly index: number;
  readonly text?: string;
  readonly delta?: { readonly role?: string; readonly content?: string };
  readonly finish_reason: string | null;
  readonly stop_reason?: unknown;
  readonly token_ids?: readonly number[] | null;
}

export interface Event {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly object: string;
  readonly choices: readonly Choice[];
  readonly usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

/** What a client makes of a stream. */
export interface Told {
  readonly text: string;
  readonly roles: number;
  readonly finish: string | null;
  readonly stop: unknown;
  readonly usage: Event["usage"];
  readonly tokenIds: readonly number[];
  readonly ids: ReadonlySet<string>;
  readonly events: readonly Event[];
}

/** Reads a stream that is whole: every event an answer's, `[DONE]` once and last. */
export function told(response: ClientResponse): Told {
  assert.equal(response.status, 200, response.text);
  assert.ok(response.complete, response.text);
  const data = dataOf(response);
  assert.equal(data.at(-1), "[DONE]", response.text);
  assert.equal(data.filter((entry) => entry === "[DONE]").length, 1);
  const events = data.slice(0, -1).map((entry) => JSON.parse(entry) as Event);
  const choices = events.flatMap((event) => event.choices);
  assert.ok(choices.every((choice) => choice.index === 0));
  const ends = choices.filter((choice) => choice.finish_reason !== null);
  assert.equal(ends.length, 1, response.text);
  return {
    text: choices.map((choice) => choice.text ?? choice.delta?.content ?? "").join(""),
    roles: choices.filter((choice) => choice.delta?.role !== undefined).length,
    finish: ends[0]?.finish_reason ?? null,
    stop: ends[0]?.stop_reason ?? null,
    usage: events.at(-1)?.choices.length === 0 ? events.at(-1)?.usage : undefined,
    tokenIds: choices.flatMap((choice) => choice.token_ids ?? []),
    ids: new Set(events.map(({ id, created, model: name, object }) => JSON.stringify([id, created, name, object]))),
    events,
  };
}

export const chat = {
  model,
  messages: [{ role: "user", content: "Tell me of rivers." }],
  max_tokens: 24,
  stream: true,
  stream_options: { include_usage: true },
};
export const completion = {
  model,
  prompt: "Once upon a time",
  max_tokens: 24,
  stream: true,
  stream_options: { include_usage: true },
};

export function ask(router: TestRouter, body: object, headers: readonly string[] = []): Promise<ClientResponse> {
  calm(router);
  return post(router.port, "messages" in body ? "/v1/chat/completions" : "/v1/completions", body, [
    "x-request-id: same",
    ...headers,
  ]);
}

/** Bytes of the head of an engine's answer, and of the HTTP chunk of each of its events. */
async function wireOf(port: number, body: object): Promise<{ head: number; chunks: number[] }> {
  const client = await RawClient.connect(port);
  const path = "messages" in body ? "/v1/chat/completions" : "/v1/completions";
  client.write(rawRequest("POST", path, JSON.stringify(body)));
  const { chunks } = await client.response();
  const head = client.received.indexOf("\r\n\r\n") + 4;
  client.close();
  return { head, chunks: chunks.map(({ length }) => length + length.toString(16).length + 4) };
}

/** After how many bytes an engine has to be cut to have sent its first event, its first two, ... all but its last one. */
export async function deathsOf(port: number, body: object): Promise<number[]> {
  const { head, chunks } = await wireOf(port, body);
  let at = head;
  return chunks.slice(0, -1).map((size) => (at += size));
}

/** Bytes of the engine's head of an answer. */
export async function headBytes(port: number, body: object): Promise<number> {
  return (await wireOf(port, body)).head;
}

/**
 * Two readings of one answer, but for the moment at which it was made.
 * @param countedApart its text was cut inside a token, so that its two halves are counted as one more
 */
export function assertSame(got: Told, wanted: Told, at: string, countedApart = false): void {
  assert.equal(got.text, wanted.text, at);
  assert.equal(got.ids.size, 1, `${at}: ${[...got.ids].join(" ")}`);
  const { roles, finish, stop, usage, tokenIds } = got;
  const expected = { roles: wanted.roles, finish: wanted.finish, stop: wanted.stop, tokenIds: wanted.tokenIds };
  assert.deepEqual({ roles, finish, stop, tokenIds }, expected, at);
  if (countedApart) {
    const more = (usage?.completion_tokens ?? 0) - (wanted.usage?.completion_tokens ?? 0);
    assert.ok(more === 0 || more === 1, at);
    assert.equal(usage?.prompt_tokens, wanted.usage?.prompt_tokens);
  } else assert.deepEqual(counts(usage), counts(wanted.usage), at);
}

function counts(usage: Event["usage"]): unknown {
  return usage === undefined ? null : [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];
}
