// People arrive with the command lines of production-stack. Each of its flags is known: it works, or it is told what
// becomes of it. The list below is theirs, kept apart from our catalogue so that losing a flag fails here.

import assert from "node:assert/strict";
import { test } from "node:test";

import { productionStackFlags } from "../../src/config/catalogue/compatibility.ts";
import { mistakeOf, parse, parseRouter, type Given } from "./files.ts";

const dynamicYaml = "service_discovery: static\nrouting_logic: random\nstatic_backends: http://a:1\n";
const dynamicJson = '{"service_discovery":"static","routing_logic":"random","static_backends":"http://a:1"}';
const files: Given = { files: { "d.yaml": dynamicYaml, "d.json": dynamicJson } };

type Fate = "works" | "warns" | "refused";

/** Flag, a value that its users give, and what becomes of it here. */
const flags: readonly (readonly [flag: string, value: string | null, fate: Fate])[] = [
  ["host", "127.0.0.1", "works"],
  ["port", "8000", "works"],
  ["root-path", "/llm", "works"],
  ["service-discovery", "static", "works"],
  ["service-discovery", "k8s", "works"],
  ["service-discovery", "external-only", "refused"],
  ["k8s-service-discovery-type", "pod-ip", "works"],
  ["static-backends", "http://a:1", "works"],
  ["static-models", "m", "works"],
  ["static-aliases", "x:m", "works"],
  ["static-model-types", "chat", "works"],
  ["static-model-labels", "p", "warns"],
  ["static-backend-health-checks", null, "works"],
  ["static-backend-health-check-interval", "30", "works"],
  ["static-backend-health-check-timeout-seconds", "5", "works"],
  ["k8s-port", "8000", "works"],
  ["k8s-namespace", "default", "works"],
  ["k8s-label-selector", "a=b", "works"],
  ["k8s-label-selector", "", "works"],
  ["k8s-watcher-timeout-seconds", "0", "works"],
  ["backend-health-check-timeout-seconds", "5", "works"],
  ["routing-logic", "roundrobin", "works"],
  ["routing-logic", "session", "works"],
  ["routing-logic", "kvaware", "works"],
  ["routing-logic", "prefixaware", "works"],
  ["routing-logic", "disaggregated_prefill", "refused"],
  ["routing-logic", "disaggregated_prefill_orchestrated", "refused"],
  ["lmcache-controller-port", "9000", "warns"],
  ["lmcache-controller-reply-port", "9001", "warns"],
  ["lmcache-controller-heartbeat-port", "9002", "warns"],
  ["session-key", "x-user-id", "works"],
  ["callbacks", "callbacks.module.instance", "refused"],
  ["callbacks", "", "works"],
  ["request-rewriter", "noop", "warns"],
  ["request-rewriter", "pii", "refused"],
  ["enable-batch-api", null, "refused"],
  ["file-storage-class", "local_file", "warns"],
  ["file-storage-path", "/tmp/vllm_files", "warns"],
  ["batch-processor", "local", "warns"],
  ["engine-stats-interval", "15", "works"],
  ["request-stats-window", "60", "works"],
  ["log-stats", null, "works"],
  ["log-stats-interval", "10", "works"],
  ["dynamic-config-yaml", "d.yaml", "works"],
  ["dynamic-config-json", "d.json", "works"],
  ["semantic-cache-model", "all-MiniLM-L6-v2", "warns"],
  ["semantic-cache-dir", "semantic_cache", "warns"],
  ["semantic-cache-threshold", "0.95", "warns"],
  ["feature-gates", "SemanticCache=true", "refused"],
  ["feature-gates", "", "works"],
  ["log-level", "warning", "works"],
  ["log-format", "json", "works"],
  ["sentry-dsn", "https://key@sentry.example/1", "warns"],
  ["sentry-traces-sample-rate", "0.1", "warns"],
  ["sentry-profile-session-sample-rate", "1.0", "warns"],
  ["otel-endpoint", "collector:4317", "works"],
  ["otel-service-name", "vllm-router", "works"],
  ["otel-secure", null, "works"],
  ["prefill-model-labels", "p", "warns"],
  ["decode-model-labels", "d", "warns"],
  ["kv-aware-threshold", "2000", "warns"],
  ["prefix-min-match-length", "0", "works"],
  ["max-instance-failover-reroute-attempts", "1", "works"],
  ["lmcache-health-check-interval", "5", "warns"],
  ["lmcache-worker-timeout", "30", "warns"],
  ["external-providers-config", "providers.yaml", "refused"],
];

for (const [flag, value, fate] of flags) {
  const shown = value === null ? `--${flag}` : `--${flag} ${value === "" ? '""' : value}`;
  test(`${shown} of production-stack ${fate === "refused" ? "is refused with the reason" : fate}`, () => {
    const argv = value === null ? [`--${flag}`] : [`--${flag}`, value];
    if (fate === "refused") {
      const said = mistakeOf(["router", "--static-backends", "http://e:8000", ...argv], files);
      assert.ok(said.startsWith(value === null ? `--${flag}: ` : `--${flag} ${value}: `), said);
      assert.match(said, /not built|cannot run|no feature gates/);
      assert.doesNotMatch(said, /unknown/);
      return;
    }
    const { warnings } = parseRouter(argv, files);
    const about = warnings.filter((warning) => warning.includes(`--${flag}`) && !warning.includes("replaces"));
    assert.equal(about.length, fate === "warns" ? 1 : 0, warnings.join("; "));
  });
}

test("the compatibility table of the documentation names each of these flags", () => {
  assert.deepEqual(Object.keys(productionStackFlags).sort(), [...new Set(flags.map(([flag]) => flag))].sort());
});

test("the version flag of production-stack prints the version", () => {
  const parsed = parse(["router", "--version"]);
  assert.ok(parsed.command === "print");
  assert.match(parsed.text, /^lmstack \d+\.\d+\.\d+\n$/);
});

test("our own flags of the same style are known", () => {
  const own = [
    ["connect-timeout-seconds", "2"],
    ["first-event-timeout-seconds", "600"],
    ["idle-timeout-seconds", "120"],
    ["total-timeout-seconds", "0"],
    ["client-stall-timeout-seconds", "60"],
    ["sse-heartbeat-seconds", "15"],
    ["drain-delay-seconds", "5"],
    ["drain-timeout-seconds", "300"],
    ["retries", "2"],
    ["max-body-bytes", "67108864"],
    ["api-key-file", "keys"],
    ["admin-key-file", "keys"],
    ["engine-api-key-file", "keys"],
    ["config", "r.yaml"],
  ] as const;
  const argv = own.flatMap(([flag, value]) => [`--${flag}`, value]);
  const { config, warnings } = parseRouter(argv, { files: { keys: "k\n", "r.yaml": "" } });
  assert.deepEqual(warnings, []);
  const defaults = parseRouter([]).config;
  assert.deepEqual({ ...config, apiKeyFile: null, adminKeyFile: null, engineApiKeyFile: null }, defaults);
});
