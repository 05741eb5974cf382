// What a person reads who got something wrong: one line with option, value, reason and way out.

import assert from "node:assert/strict";
import { test } from "node:test";

import { mistakeOf, parseRouter, type Given } from "./files.ts";

const engine = ["--static-backends", "http://e:8000"];
const router = (...argv: string[]): string[] => ["router", ...engine, ...argv];

const dynamic = (rest: string): string => `service_discovery: static\nrouting_logic: random\n${rest}`;

const cases: readonly {
  readonly name: string;
  readonly argv: readonly string[];
  readonly given?: Given;
  readonly says: string;
}[] = [
  {
    name: "an unknown command",
    argv: ["rooter"],
    says: "rooter: unknown command; did you mean lmstack router?",
  },
  {
    name: "an unknown flag",
    argv: router("--rotuing-logic", "random"),
    says: "--rotuing-logic: unknown option; did you mean --routing-logic?",
  },
  {
    name: "a flag with underscores",
    argv: router("--static_models", "m"),
    says: "--static_models: unknown option; did you mean --static-models?",
  },
  {
    name: "a flag of another command",
    argv: ["up", "--static-backends", "http://a:1"],
    says: "--static-backends: not an option of lmstack up; lmstack router has it; see lmstack up --help",
  },
  {
    name: "an argument that is no flag",
    argv: router("extra"),
    says: "router extra: an argument where none is expected; options begin with --; see lmstack router --help",
  },
  {
    name: "a forgotten value at the end",
    argv: router("--port"),
    says: "--port: needs a value; give a whole number from 0 to 65535",
  },
  {
    name: "a forgotten value before the next flag",
    argv: router("--port", "--host", "h"),
    says: "--port: needs a value; give a whole number from 0 to 65535",
  },
  {
    name: "a port that is too large",
    argv: router("--port", "70000"),
    says: "--port 70000: too large; give a whole number from 0 to 65535",
  },
  {
    name: "no number",
    argv: router("--port", "http"),
    says: "--port http: not a number; give a whole number from 0 to 65535",
  },
  {
    name: "a fraction of a port",
    argv: router("--port=80.5"),
    says: "--port 80.5: not a whole number; give a whole number from 0 to 65535",
  },
  {
    name: "a negative duration",
    argv: router("--drain-timeout-seconds", "-1"),
    says: "--drain-timeout-seconds -1: too small; give a number of seconds from 0 to 2000000",
  },
  {
    name: "a wrong variable of the environment",
    argv: router(),
    given: { env: { LMSTACK_PORT: "x" } },
    says: "LMSTACK_PORT x: not a number; give a whole number from 0 to 65535",
  },
  {
    name: "a wrong value in the file, with its line",
    argv: router("--config", "r.yaml"),
    given: { files: { "r.yaml": "host: h\nport: 70000\n" } },
    says: "r.yaml:2: port 70000: too large; give a whole number from 0 to 65535",
  },
  {
    name: "an unknown key in the file, with its line",
    argv: router("--config", "r.yaml"),
    given: { files: { "r.yaml": "host: h\nretrys: 1\n" } },
    says: "r.yaml:2: retrys: unknown key; did you mean retries?",
  },
  {
    name: "one key in two spellings",
    argv: router("--config", "r.yaml"),
    given: { files: { "r.yaml": "log-level: info\nlog_level: debug\n" } },
    says: "r.yaml:2: log_level: given twice; remove one of them",
  },
  {
    name: "a file that is not there",
    argv: router("--config", "r.yaml"),
    says: "--config r.yaml: no such file; give the path of a readable file",
  },
  {
    name: "no engine at all",
    argv: ["router"],
    says: "router: there is no engine to route to; list engines with --static-backends http://HOST:8000,..., in a file with --dynamic-config-yaml FILE, or let them be found with --service-discovery k8s",
  },
  {
    name: "DNS without a name",
    argv: ["router", "--service-discovery", "dns"],
    says: "--dns-names: needed to find engines by DNS; give at least one name",
  },
  {
    name: "a DNS name with a scheme",
    argv: ["router", "--service-discovery", "dns", "--dns-names", "http://engines:8000"],
    says: "--dns-names http://engines:8000: not a DNS name; give names with commas between them, as in engines.default.svc.cluster.local:8000 or _http._tcp.engines.example",
  },
  {
    name: "a port beyond all ports",
    argv: ["router", "--service-discovery", "dns", "--dns-names", "engines:70000"],
    says: "--dns-names engines:70000: the port is out of range; give one from 1 to 65535",
  },
  {
    name: "a namespace that can't be one",
    argv: ["router", "--service-discovery", "k8s", "--k8s-namespace", "My_Space"],
    says: "--k8s-namespace My_Space: not the name of a namespace; give names with commas between them, or * for all namespaces",
  },
  {
    name: "all namespaces and one more",
    argv: ["router", "--service-discovery", "k8s", "--k8s-namespace", "*,a"],
    says: "--k8s-namespace *,a: all namespaces, and then some; give either * or names",
  },
  {
    name: "a kubeconfig that is not there",
    argv: ["router", "--service-discovery", "k8s", "--kubeconfig", "absent"],
    says: "--kubeconfig absent: no such file; give the path of a readable file",
  },
  {
    name: "a backend that is no URL",
    argv: ["router", "--static-backends", "nonsense url"],
    says: "--static-backends nonsense url: not a URL; give an engine's URL, as in http://10.0.0.1:8000",
  },
  {
    name: "a backend without a scheme",
    argv: ["router", "--static-backends", "10.0.0.1:8000"],
    says: "--static-backends 10.0.0.1:8000: not a URL; write http://10.0.0.1:8000",
  },
  {
    name: "a backend that ends in /v1",
    argv: ["router", "--static-backends", "http://a:8000/v1"],
    says: "--static-backends http://a:8000/v1: ends in /v1; give it without: http://a:8000",
  },
  {
    name: "a backend given twice",
    argv: ["router", "--static-backends", "http://a:1,http://a:1/"],
    says: "--static-backends http://a:1/: the same engine is listed twice; remove one of them",
  },
  {
    name: "more models than backends",
    argv: router("--static-models", "a,b"),
    says: "--static-models a,b: 2 entries for 1 backend; give one per URL of --static-backends, in the same order",
  },
  {
    name: "an unknown model type",
    argv: router("--static-model-types", "chat-bot"),
    says: "--static-model-types chat-bot: unknown; give one of chat, completion, embeddings, rerank, score, transcription, vision, messages",
  },
  {
    name: "an alias to a model that nobody serves",
    argv: router("--static-models", "m", "--static-aliases", "x:n"),
    says: "--static-aliases x:n: no engine serves this model; known models: m",
  },
  {
    name: "an alias that is no pair",
    argv: router("--static-aliases", "x"),
    says: '--static-aliases x: "x" is no pair; give pairs with commas between them, as in alias:model,alias2:model2',
  },
  {
    name: "an unknown policy",
    argv: router("--routing-logic", "fastest"),
    says: "--routing-logic fastest: unknown; give one of roundrobin, random, leastload, session, prefixaware, kvaware",
  },
  {
    name: "a key file that is not there",
    argv: router("--api-key-file", "keys"),
    says: "--api-key-file keys: no such file; give the path of a readable file",
  },
  {
    name: "a key file without a key",
    argv: router("--api-key-file", "keys"),
    given: { files: { keys: "\n" } },
    says: "--api-key-file keys: holds no key; write one key a line",
  },
  {
    name: "a key file of comments",
    argv: router("--admin-key-file", "keys"),
    given: { files: { keys: "# nothing yet\r\n\n" } },
    says: "--admin-key-file keys: holds no key; write one key a line",
  },
  {
    name: "a file for engines' certificates without one",
    argv: router("--engine-tls-ca-file", "ca.pem"),
    given: { files: { "ca.pem": "root:x:0:0" } },
    says: "--engine-tls-ca-file ca.pem: holds no certificate; give a PEM file of certificates",
  },
  {
    name: "a certificate without its key",
    argv: router("--tls-cert-file", "c.pem"),
    says: "--tls-cert-file c.pem: needs --tls-key-file too; give both, or neither to serve plain HTTP",
  },
  {
    name: "both dynamic files",
    argv: router("--dynamic-config-yaml", "d.yaml", "--dynamic-config-json", "d.json"),
    given: { files: { "d.yaml": dynamic("static_backends: http://a:1") } },
    says: "--dynamic-config-json d.json: given beside --dynamic-config-yaml; give one of them",
  },
  {
    name: "a mistake in the dynamic file, with its line",
    argv: ["router", "--dynamic-config-yaml", "d.yaml"],
    given: { files: { "d.yaml": dynamic("static_backends: http://a:1,b") } },
    says: "d.yaml:3: static_backends b: not a URL; write http://b",
  },
  {
    name: "a proxy that is no address",
    argv: router("--trusted-proxies", "10.0.0.0/8,gateway"),
    says: "--trusted-proxies 10.0.0.0/8,gateway: an entry is no IP address and no network; give addresses or networks with commas between them, as in 10.0.0.0/8,192.168.1.7",
  },
  {
    name: "a root path without its slash",
    argv: router("--root-path", "llm"),
    says: "--root-path llm: malformed; give a path that begins with a slash, as in /llm",
  },
  {
    name: "a body limit that can't be held",
    argv: router("--max-buffered-bytes", "65536"),
    says: "--max-body-bytes 67108864: above --max-buffered-bytes 65536; lower it, or raise the other",
  },
  {
    name: "more engines than ports",
    argv: ["engine", "--port", "65530", "--engines", "10"],
    says: "--engines 10: 10 engines from port 65530 on would need port 65539; give a lower --port, or fewer engines",
  },
  {
    name: "a check of nothing",
    argv: ["check", "confg"],
    says: "check confg: unknown target; write lmstack check config FILE, or lmstack check http://HOST:PORT",
  },
];

for (const { name, argv, given, says } of cases) {
  test(`${name} is answered with one line that says the way out`, () => {
    assert.equal(mistakeOf(argv, given), says);
  });
}

test("several mistakes are counted in the line", () => {
  assert.match(mistakeOf(router("--port", "x", "--retries", "y")), /\(and 1 more problem\)$/);
});

test("a certificate and a key that do not belong together are refused at once", () => {
  const files = { "c.pem": "nonsense", "k.pem": "nonsense" };
  const says = mistakeOf(router("--tls-cert-file", "c.pem", "--tls-key-file", "k.pem"), { files });
  assert.match(
    says,
    /^--tls-cert-file c\.pem: does not serve with --tls-key-file k\.pem .*; give a PEM chain and its own key$/,
  );
});

test("a secret is never part of a message", () => {
  const given = { files: { keys: "sk-secret\n" } };
  assert.doesNotMatch(mistakeOf(router("--api-key-file", "keys", "--port", "x"), given), /sk-secret/);
  assert.equal(mistakeOf(["engine", "--api-key", "sk-secret", "--api-key="]), "--api-key: an empty entry; give a key");
});

test("what has no effect, or not yet, is one warning each and no error", () => {
  const { warnings } = parseRouter([
    ..."--lmcache-controller-port 9001 --sentry-dsn https://x@sentry/1 --semantic-cache-dir d".split(" "),
    ..."--prefill-model-labels p".split(" "),
  ]);
  assert.deepEqual([...warnings].sort(), [
    "not built yet, ignored: --prefill-model-labels",
    "without effect here, ignored: --sentry-dsn, --lmcache-controller-port, --semantic-cache-dir",
  ]);
});
