import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../src/clock.ts";
import { Recorder } from "../../src/console/recorder.ts";
import type { EndedRequest } from "../../src/console/shapes.ts";

const request: EndedRequest = {
  requestId: "r",
  model: "m",
  api: "chat",
  outcome: "ok",
  status: 200,
  endpoint: "a:1",
  reason: "least_load",
  attempts: 1,
  durationMs: 200,
  firstTokenMs: 50,
  promptTokens: 10,
  generatedTokens: 20,
  cachedTokens: 0,
  error: null,
  scores: null,
};

function started(): { clock: ManualClock; recorder: Recorder } {
  const clock = new ManualClock(0, 1_700_000_000_000);
  return { clock, recorder: new Recorder(() => clock.wallMs()) };
}

test("a watcher gets what ended since it last looked, once", () => {
  const { recorder } = started();
  recorder.ended({ ...request, requestId: "1" });
  recorder.ended({ ...request, requestId: "2" });
  const seen = recorder.seq;
  recorder.ended({ ...request, requestId: "3" });
  assert.deepEqual(
    recorder.since(0).map(({ requestId }) => requestId),
    ["1", "2", "3"],
  );
  assert.deepEqual(
    recorder.since(seen).map(({ requestId }) => requestId),
    ["3"],
  );
  assert.deepEqual(recorder.since(recorder.seq), []);
});

test("an hour of traffic is kept, with zeros where nothing came, and no more than an hour", () => {
  const { clock, recorder } = started();
  recorder.ended(request);
  recorder.ended({ ...request, error: "it broke", firstTokenMs: null });
  assert.deepEqual(recorder.traffic(), [], "the ten seconds are not over");
  clock.advance(30_000);
  recorder.ended({ ...request, generatedTokens: null });
  clock.advance(10_000);
  const traffic = recorder.traffic();
  assert.deepEqual(
    traffic.map(({ requests, errors, generatedTokens }) => [requests, errors, generatedTokens]),
    [
      [2, 1, 40],
      [0, 0, 0],
      [0, 0, 0],
      [1, 0, 0],
    ],
  );
  assert.equal(traffic[0]?.t, 1_700_000_000);
  assert.equal(traffic[1]?.ttftP50Ms, null);
  clock.advance(3_570_000);
  assert.deepEqual(recorder.traffic()[0]?.requests, 1, "what came first is forgotten first");
  clock.advance(60_000);
  assert.deepEqual(recorder.traffic(), [], "an hour after the last request nothing is left of it");
});

test("quantiles of first-token times are at most a fifth too much, and never too little", () => {
  const { clock, recorder } = started();
  for (let ms = 1; ms <= 100; ms++) recorder.ended({ ...request, firstTokenMs: ms * 10 });
  clock.advance(10_000);
  const [point] = recorder.traffic();
  for (const [value, exact] of [
    [point?.ttftP50Ms, 500],
    [point?.ttftP95Ms, 950],
  ] as const) {
    assert.ok(value !== undefined && value !== null);
    assert.ok(value >= exact && value <= exact * 1.2, `${value} for ${exact}`);
  }
});

test("what is kept is bounded, whatever comes", () => {
  const { recorder } = started();
  for (let at = 0; at < 10_000; at++)
    recorder.ended({ ...request, endpoint: `e:${at}`, error: at % 2 === 0 ? "it broke" : null });
  assert.equal(recorder.since(0).length, 200);
  assert.equal(recorder.errors.length, 50);
  assert.deepEqual(recorder.times("e:0"), []);
  assert.deepEqual(recorder.times("e:9999"), [50]);
  for (let at = 0; at < 100; at++) recorder.ended({ ...request, firstTokenMs: at });
  assert.equal(recorder.times("a:1").length, 40);
});
