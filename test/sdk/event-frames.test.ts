// `eventsource-parser` as the judge of streams: what it reads through the router is what it reads from the engine, event by
// event, whatever the API and however the bytes were cut on their way.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { model, startFleet } from "./fleet.ts";

const messages = [{ role: "user", content: "Say hello, 你好, 👋 please" }];

const streams: Readonly<Record<string, readonly [string, object]>> = {
  completions: ["/v1/completions", { prompt: "Once", max_tokens: 30, stream_options: { include_usage: true } }],
  "completions of several prompts": ["/v1/completions", { prompt: ["One", "Two", "Three"], max_tokens: 10 }],
  chat: ["/v1/chat/completions", { messages, max_tokens: 30, stream_options: { include_usage: true } }],
  "chat with usage in every event": [
    "/v1/chat/completions",
    { messages, max_tokens: 30, stream_options: { include_usage: true, continuous_usage_stats: true } },
  ],
  "chat of several choices": ["/v1/chat/completions", { messages, max_tokens: 10, n: 3 }],
  messages: ["/v1/messages", { messages, max_tokens: 30 }],
  responses: ["/v1/responses", { input: "Hi", max_output_tokens: 30 }],
};

/** The events of a stream, and what the parser complained of. */
async function events(url: string, body: object): Promise<{ events: EventSourceMessage[]; complaints: string[] }> {
  const found: EventSourceMessage[] = [];
  const complaints: string[] = [];
  const parser = createParser({
    onEvent: (event) => found.push(event),
    onError: (error) => complaints.push(error.message),
  });
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": "same" },
    body: JSON.stringify({ model, stream: true, temperature: 0, ...body }),
  });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  assert.ok(response.body !== null);
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
  return { events: found, complaints };
}

/** Ids and times differ from call to call, on the engine too. */
function masked(list: readonly EventSourceMessage[]): EventSourceMessage[] {
  return list.map((event) => ({
    ...event,
    data: event.data
      .replace(/"(id|item_id|request_id)":"[^"]*"/g, '"$1":"*"')
      .replace(/"(created|created_at|completed_at)":\d+/g, '"$1":0'),
  }));
}

test("a stream parses alike through the router and directly:", async (t) => {
  // the router may choose an engine that has not seen the prompt: usage would tell them apart
  const fleet = await startFleet(t, { engine: { enablePrefixCaching: false } });
  for (const [what, [path, body]] of Object.entries(streams)) {
    await t.test(what, async () => {
      const direct = await events(`${fleet.engines[0]?.url}${path}`, body);
      const routed = await events(`${fleet.router.url}${path}`, body);
      assert.ok(direct.events.length > 10);
      assert.deepEqual(routed.complaints, []);
      assert.deepEqual(masked(routed.events), masked(direct.events));
    });
  }
});
