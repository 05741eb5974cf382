// The dynamic file in the forms that users of production-stack have, and what is said of a wrong one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DynamicFileError, inspectDynamicFile, readDynamicFile } from "../../src/config/dynamic-file.ts";

const yaml = `service_discovery: static
routing_logic: roundrobin
static_models:
  facebook/opt-125m:
    static_backends: [http://127.0.0.1:8001, http://127.0.0.1:8002]
    static_model_type: completion
static_aliases: {my-alias: facebook/opt-125m}
`;

const json = JSON.stringify({
  service_discovery: "static",
  routing_logic: "roundrobin",
  static_backends: "http://127.0.0.1:8001,http://127.0.0.1:8002",
  static_models: "facebook/opt-125m,facebook/opt-125m",
  static_model_types: "completion,completion",
  static_aliases: "my-alias:facebook/opt-125m",
});

const expected = {
  endpoints: ["http://127.0.0.1:8001", "http://127.0.0.1:8002"].map((url) => {
    return { url, models: ["facebook/opt-125m"], label: null, modelType: "completion" };
  }),
  discovery: { kind: "static" },
  aliases: new Map([["my-alias", "facebook/opt-125m"]]),
  knownModels: [],
  inferenceHealthChecks: null,
  policy: "roundrobin",
  sessionKey: null,
};

test("the YAML form with a map of models is read", () => {
  assert.deepEqual(readDynamicFile(yaml, "yaml"), expected);
});

test("the flat JSON form says the same", () => {
  assert.deepEqual(readDynamicFile(json, "json"), expected);
});

test("either form is read in either format", () => {
  assert.deepEqual(readDynamicFile(json, "yaml"), expected);
});

test("engines can be found instead of listed, with aliases of models that nobody knows yet", () => {
  const head = "routing_logic: random\nstatic_aliases: {a: m}\n";
  const found = (rest: string) => readDynamicFile(`${head}${rest}`, "yaml");
  const pods = found("service_discovery: k8s\nk8s_namespace: [a, b]\nk8s_label_selector: app=engine\nk8s_port: 8080\n");
  assert.deepEqual(pods.discovery, {
    kind: "k8s",
    namespaces: ["a", "b"],
    labelSelector: "app=engine",
    enginePort: 8080,
  });
  assert.deepEqual(pods.endpoints, []);
  assert.deepEqual([...pods.aliases], [["a", "m"]]);
  const defaults = { kind: "k8s", namespaces: ["default"], labelSelector: "", enginePort: 8000 };
  assert.deepEqual(found("service_discovery: k8s\n").discovery, defaults);
  assert.deepEqual(found("service_discovery: dns\ndns_names: e.example:8000,_h._tcp.example\n").discovery, {
    kind: "dns",
    names: ["e.example:8000", "_h._tcp.example"],
  });
});

test("health checks and the session key are taken over", () => {
  const config = readDynamicFile(
    `service_discovery: static
routing_logic: session
session_key: x-user
static_backends: [http://a:1]
static_backend_health_checks: true
static_backend_health_check_interval: 30
static_backend_health_check_timeout_seconds: 5
`,
    "yaml",
  );
  assert.deepEqual(config.inferenceHealthChecks, { intervalMs: 30_000, timeoutMs: 5000 });
  assert.equal(config.sessionKey, "x-user");
  assert.deepEqual(config.endpoints[0]?.models, null);
});

test("models without an engine may be written down, for a fleet that was scaled to zero", () => {
  const config = readDynamicFile("service_discovery: static\nrouting_logic: random\nstatic_models: {}\n", "yaml");
  assert.deepEqual(config.endpoints, []);
});

const head = "service_discovery: static\nrouting_logic: random\n";
const wrong: readonly (readonly [name: string, text: string, says: string])[] = [
  ["no map", "- a\n", "f:1: contents: not a map of keys; write at least service_discovery and routing_logic"],
  ["empty", "", "f: contents: not a map of keys; write at least service_discovery and routing_logic"],
  [
    "a missing policy",
    "service_discovery: static\nstatic_backends: http://a:1\n",
    "f:1: routing_logic: missing; add routing_logic: leastload",
  ],
  [
    "an unknown key",
    `${head}static_backend: http://a:1\n`,
    "f:3: static_backend: unknown key; did you mean static_backends?",
  ],
  ["no engines", head, "f:1: static_backends: missing; list engines in static_backends, or per model in static_models"],
  [
    "engines that are listed and found at once",
    "service_discovery: k8s\nrouting_logic: random\nstatic_backends: http://a:1\n",
    "f:3: static_backends: given beside service_discovery k8s; leave it out, or say static",
  ],
  [
    "all namespaces and one more",
    "service_discovery: k8s\nrouting_logic: random\nk8s_namespace: '*,a'\n",
    "f:3: k8s_namespace *,a: all namespaces, and then some; give either * or names",
  ],
  [
    "DNS without a name",
    "service_discovery: dns\nrouting_logic: random\n",
    "f:1: dns_names: needed to find engines by DNS; give at least one name",
  ],
  [
    "a policy that is not built",
    "service_discovery: static\nrouting_logic: disaggregated_prefill\nstatic_backends: http://a:1\n",
    "f:2: routing_logic disaggregated_prefill: separate prefill and decode engines are not built yet; use leastload on engines that do both",
  ],
  [
    "callbacks, which could be access control",
    `${head}static_backends: http://a:1\ncallbacks: a.b\n`,
    "f:4: callbacks a.b: Python callbacks cannot run here, and ignoring one could drop access control; leave it out; --api-key-file asks clients for a key",
  ],
  [
    "a wrong URL below a model",
    `${head}static_models:\n  m:\n    static_backends:\n      - http://a:1\n      - b\n`,
    "f:7: static_models.m.static_backends[1] b: not a URL; write http://b",
  ],
  [
    "an unknown key below a model",
    `${head}static_models:\n  m:\n    static_backend: [http://a:1]\n`,
    "f:5: static_models.m.static_backend: unknown key; did you mean static_backends?",
  ],
  [
    "lists of different length",
    `${head}static_backends: http://a:1\nstatic_models: m,n\n`,
    "f:4: static_models: 2 entries for 1 engine; give one per URL of static_backends",
  ],
  [
    "an alias to nowhere",
    `${head}static_models: {m: {static_backends: [http://a:1]}}\nstatic_aliases: {x: n}\n`,
    "f:4: static_aliases.x n: no engine serves this model; known models: m",
  ],
  [
    "a number where a list belongs",
    `${head}static_backends: 7\n`,
    "f:3: static_backends 7: of the wrong type; give engine URLs with commas between them, as in http://10.0.0.1:8000,http://10.0.0.2:8000",
  ],
];

for (const [name, text, says] of wrong) {
  test(`${name} is refused with key, value and reason`, () => {
    assert.throws(
      () => readDynamicFile(text, "yaml", "f"),
      (error) => {
        assert.ok(error instanceof DynamicFileError);
        assert.equal(error.message, says);
        return true;
      },
    );
  });
}

test("broken syntax is refused with its line", () => {
  assert.match(
    String(inspectDynamicFile(`${head}static_models: {a: [\n`, "yaml", "f").problems[0]?.reason),
    /^not YAML: /,
  );
  assert.match(String(inspectDynamicFile('{"service_discovery": ', "json", "f").problems[0]?.reason), /^not JSON: /);
  // YAML would read it; a file that was said to be JSON must be JSON.
  assert.match(String(inspectDynamicFile(yaml, "json", "f").problems[0]?.reason), /^not JSON: /);
});

test("keys of what is not built are warned about", () => {
  const { warnings, config } = inspectDynamicFile(
    `${head}static_backends: http://a:1\nprefill_model_labels: p\n`,
    "yaml",
  );
  assert.deepEqual(warnings, ["prefill_model_labels: not built yet, ignored"]);
  assert.ok(config !== null);
});
