// The oracle of the chaos runs, on views of routers that are wrong in the ways of the field: an oracle that finds nothing
// proves nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientResponse } from "../helpers/http-client.ts";
import type { Ask } from "./asks.ts";
import { judge, judgeCounts, judgeStream, wasOvertaken, type Recorded, type View } from "./oracle.ts";

const event = (text: string): string => `data: ${JSON.stringify({ choices: [{ index: 0, text }] })}\n\n`;
const done = "data: [DONE]\n\n";
const error = `data: {"error":{"message":"The engine died.","code":"stream_interrupted"}}\n\n`;
const expected = "one two three";

const streams: readonly (readonly [what: string, text: string, violation: RegExp | null])[] = [
  ["a whole answer", event("one") + event(" two") + event(" three") + done, null],
  ["an answer that breaks and says so", event("one") + error, null],
  ["comments between the events", `: ping\n\n${event("one two three")}: ping\n\n${done}`, null],
  ["an end that was made up", event("one") + done, /the end came after/],
  ["an error that is followed by a good end", event("one") + error + done, /follows the error/],
  ["two errors", event("one") + error + error, /follows the error/],
  ["an error behind the end", event(expected) + done + error, /behind the end/],
  ["two ends", event(expected) + done + done, /two ends/],
  ["text behind the end", event(expected) + done + event("x"), /follows the end/],
  ["a silent end", event("one"), /neither an end nor an error/],
  ["half an event", event("one") + 'data: {"cho', /half an event/],
  ["a repeated text", event("one") + event("one") + error, /no beginning/],
  ["a lost text", event("one") + event(" three") + done, /no beginning/],
  ["an event that is no JSON", `data: {"choices"\n\n${done}`, /no JSON/],
  [
    "the end of an engine that was told to stop",
    `data: {"choices":[{"index":0,"text":"","finish_reason":"abort"}]}\n\n${done}`,
    /told to stop/,
  ],
];

for (const [what, text, violation] of streams) {
  test(`the oracle ${violation === null ? "accepts" : "finds"} ${what}`, () => {
    const found = judgeStream("completions", text, expected, true, true);
    if (violation === null) assert.equal(found, null);
    else assert.match(found ?? "", violation);
  });
}

test("the oracle finds a stream that is cut without a word, and not where the client left", () => {
  assert.match(judgeStream("chat", "", expected, true, false) ?? "", /without a word/);
  assert.equal(judgeStream("completions", event("one"), expected, false, false), null);
});

const ask: Ask = {
  id: "chaos-0-0",
  api: "completions",
  model: "m",
  stream: false,
  bytes: Buffer.alloc(0),
  bodyAt: 0,
  expected,
};

function answer(status: number, text: string, complete = true, end: ClientResponse["end"] = "open"): ClientResponse {
  const body = Buffer.from(text);
  return {
    status,
    reason: "",
    headers: [],
    body,
    chunks: [],
    complete,
    interim: [],
    end,
    header: () => undefined,
    all: () => [],
    text,
    json: () => JSON.parse(text) as unknown,
  };
}

const view = (response: ClientResponse | null, stayed = true): View => ({ ask, manner: "plain", response, stayed });
const line = (outcome: string, status = 200, migration: string | null = null): Recorded => ({
  requestId: ask.id,
  outcome,
  status,
  attempts: 1,
  error: null,
  migration,
});
/** A reset that has overtaken all that was sent. */
const reset = answer(0, "", false, "reset");
const streamed: View = { ask: { ...ask, stream: true }, manner: "plain", response: reset, stayed: true };
const good = JSON.stringify({ choices: [{ text: expected }] });
const bad = JSON.stringify({ error: { message: "No.", code: "engine_reset" } });

/** Of the API whose errors look otherwise. */
const asMessages = (seen: View): View => ({ ...seen, ask: { ...ask, api: "messages" } });
const dead = JSON.stringify({ type: "error", error: { type: "internal_error", message: "EngineCore" } });
const late = JSON.stringify({
  error: { message: "The request's head was not received within 0.5 s.", code: "request_timeout" },
});

const records: readonly (readonly [what: string, view: View, lines: readonly Recorded[], violation: RegExp | null])[] =
  [
    ["a good answer", view(answer(200, good)), [line("ok")], null],
    ["an error", view(answer(502, bad)), [line("engine_error")], null],
    ["an answer that breaks", view(answer(200, good.slice(0, 9), false, "reset")), [line("cut")], null],
    ["an answer of which a reset left nothing", view(reset), [line("cut")], null],
    ["an error of which a reset left nothing, in place of a stream", streamed, [line("cut", 400)], null],
    ["what was no stream any more, of which a reset left nothing", streamed, [line("cut")], null],
    ["a stream of which a reset left nothing", streamed, [line("cut", 200, "no_endpoint")], /without a word/],
    ["a stream that ran out of time and left nothing", streamed, [line("engine_timeout")], /without a word/],
    ["a client that left", view(null, false), [line("client_gone")], null],
    ["another's text", view(answer(200, good.replace("two", "2"))), [line("ok")], /the text is/],
    ["a short answer that looks whole", view(answer(200, good.slice(0, 9))), [line("ok")], /the text is/],
    [
      "an answer that was cut for no reason",
      view(answer(200, good.slice(0, 9), false, "closed")),
      [line("ok")],
      /cut short/,
    ],
    ["silence", view(answer(0, "", false, "closed")), [line("engine_error")], /without a word/],
    ["a request that ended twice", view(answer(200, good)), [line("ok"), line("client_gone")], /ended 2 times/],
    ["a request that nobody recorded", view(answer(200, good)), [], /no outcome/],
    ["an error recorded as good", view(answer(502, bad)), [line("ok")], /outcome is wrong/],
    ["a good answer recorded as an error", view(answer(200, good)), [line("engine_error")], /outcome is wrong/],
    ["an engine's error blamed on the client", view(answer(502, bad)), [line("client_error")], /outcome is wrong/],
    ["a client that stayed and is said to have left", view(answer(502, bad)), [line("client_gone")], /had not left/],
    ["a defect", view(answer(500, bad.replace("engine_reset", "internal_error"))), [line("engine_error")], /defect/],
    ["vLLM's word for an engine that has died", asMessages(view(answer(500, dead))), [line("engine_error")], null],
    ["a head that did not come, of whatever API", asMessages(view(answer(408, late))), [], null],
    ["our error in another API's shape", asMessages(view(answer(502, bad))), [line("engine_error")], /another API/],
    ["an error in no shape", view(answer(502, "<html>")), [line("engine_error")], /no API's shape/],
  ];

for (const [what, seen, lines, violation] of records) {
  test(`the oracle ${violation === null ? "accepts" : "finds"} ${what}${violation === null ? "" : " (record)"}`, () => {
    const found = judge(seen, lines, false);
    if (violation === null) assert.equal(found, null);
    else assert.match(found ?? "", violation);
  });
}

test("of pipelined answers, the one whose end was a reset may take those before it along", () => {
  const first: View = { ...view(reset), behind: ["next"] };
  assert.ok(wasOvertaken(first, (id) => id === "next"));
  assert.ok(!wasOvertaken(first, () => false));
  assert.ok(!wasOvertaken({ ...first, behind: [] }, () => true));
  assert.ok(!wasOvertaken({ ...view(answer(200, good)), behind: ["next"] }, () => true));
});

test("the oracle finds counts that do not add up, and gauges that leak", () => {
  const exposition = [
    'lmstack_requests_total{model="m",api="completions",outcome="ok"} 1',
    'lmstack_attempts_total{endpoint="e",outcome="ok"} 1',
    'lmstack_retries_total{reason="stale_connection"} 0',
    'lmstack_requests_in_flight{model="m"} 0',
  ];
  assert.deepEqual(judgeCounts(exposition.join("\n"), [line("ok")], false), []);
  assert.match(judgeCounts(exposition.join("\n"), [], false).join(), /the log 0.*attempts ended/s);
  const leaking = [...exposition.slice(0, 3), 'lmstack_endpoint_in_flight{endpoint="e",phase="running"} 264'];
  assert.match(judgeCounts(leaking.join("\n"), [line("ok")], false).join(), /264/);
});
