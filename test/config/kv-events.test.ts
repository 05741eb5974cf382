// Where KV events are had, in the forms that flags, the dynamic file and annotations share.

import assert from "node:assert/strict";
import { test } from "node:test";

import { inspectDynamicFile, readDynamicFile } from "../../src/config/dynamic-file.ts";
import { parseKvEvents } from "../../src/config/kv-events.ts";
import { loadRouterConfig } from "../../src/config/parse-command.ts";

const ports = { port: 5557, replayPort: 5558, ranks: 1, topic: "" };

test("a place is a port, perhaps with one for replay, a number of ranks and a topic", () => {
  assert.deepEqual(parseKvEvents("5557"), { ...ports, replayPort: null });
  assert.deepEqual(parseKvEvents(" 5557:5558 "), ports);
  assert.deepEqual(parseKvEvents("5557:5558:4@kv@llama:8b"), { ...ports, ranks: 4, topic: "kv@llama:8b" });
  assert.deepEqual(parseKvEvents("5557@kv"), { ...ports, replayPort: null, topic: "kv" });
  assert.equal(parseKvEvents("ask"), "ask");
  assert.equal(parseKvEvents("off"), "off");
});

test("what is no such place is not guessed at", () => {
  for (const text of ["", "yes", "0", "65536", "65535:5558:2", "5557:", "tcp://*:5557", "5557:5558:0", "-1"]) {
    assert.equal(parseKvEvents(text), null, text);
  }
});

test("flags: one per engine, or one for all", () => {
  const engines = ["--static-backends", "http://a:1,http://b:1", "--static-kv-events"];
  const places = (text: string) =>
    loadRouterConfig([...engines, text], {}).config.dynamic.endpoints.map((endpoint) => endpoint.kvEvents);
  assert.deepEqual(places("5557:5558,off"), [ports, "off"]);
  assert.deepEqual(places("5557:5558"), [ports, ports]);
  assert.throws(() => places("5557,5557,5557"), /static-kv-events .*3 entries for 2 backends/);
  assert.throws(() => places("kv"), /static-kv-events kv: not understood; give `ask`, `off`, or PORT/);
});

test("the dynamic file: beside the engines, or below a model", () => {
  const head = "service_discovery: static\nrouting_logic: random\n";
  const lists = `${head}static_backends: [http://a:1, http://b:1]\nstatic_kv_events: [5557:5558, off]\n`;
  const model = `${head}static_models:\n  m:\n    static_backends: [http://a:1, http://b:1]\n    static_kv_events: 5557:5558\n`;
  const places = (text: string) => readDynamicFile(text, "yaml").endpoints.map((endpoint) => endpoint.kvEvents);
  assert.deepEqual(places(lists), [ports, "off"]);
  assert.deepEqual(places(model), [ports, ports]);
  const { problems } = inspectDynamicFile(model.replace("5557:5558", "up"), "yaml", "f");
  assert.match(problems[0]?.reason ?? "", /not understood/);
  assert.equal(problems[0]?.origin.line, 6);
});
