// Which of several places wins, and what an option is when none says anything.

import assert from "node:assert/strict";
import { test } from "node:test";

import { loadRouterConfig } from "../../src/config/parse-command.ts";
import { parse, parseRouter } from "./files.ts";

const files = { "r.yaml": "port: 3\nretries: 7\ndrain_timeout_seconds: 2m\n" };

test("a flag wins over the environment, the environment over the file, the file over the default", () => {
  const env = { LMSTACK_PORT: "2", LMSTACK_RETRIES: "6" };
  const { config } = parseRouter(["--config", "r.yaml", "--port", "1"], { env, files });
  assert.equal(config.port, 1);
  assert.equal(config.retries, 6);
  assert.equal(config.timeouts.drainTimeoutMs, 120_000);
  assert.equal(config.timeouts.connectMs, 2000);
});

test("the file may be named by the environment", () => {
  assert.equal(parseRouter([], { env: { LMSTACK_CONFIG: "r.yaml" }, files }).config.port, 3);
});

test("of a repeated flag the last one wins, as charts append theirs", () => {
  assert.equal(
    parseRouter(["--routing-logic", "session", "--routing-logic=roundrobin"]).config.dynamic.policy,
    "roundrobin",
  );
});

test("a flag that may be repeated adds up and replaces the environment as a whole", () => {
  const parsed = parse(["engine", "--model", "a", "--model=b"], { env: { LMSTACK_MODEL: "c,d" } });
  assert.ok(parsed.command === "engine");
  assert.deepEqual(parsed.options.models, ["a", "b"]);
  const fromEnvironment = parse(["engine"], { env: { LMSTACK_MODEL: "c, d" } });
  assert.ok(fromEnvironment.command === "engine");
  assert.deepEqual(fromEnvironment.options.models, ["c", "d"]);
});

test("the no form of a flag undoes what the environment says", () => {
  const env = { LMSTACK_INJECT_STREAM_USAGE: "true" };
  assert.equal(parseRouter([], { env }).config.injectStreamUsage, true);
  assert.equal(parseRouter(["--no-inject-stream-usage"], { env }).config.injectStreamUsage, false);
  assert.equal(parseRouter(["--no-legacy-metrics"]).config.legacyMetrics, false);
});

test("an empty variable counts as not set", () => {
  assert.equal(parseRouter([], { env: { LMSTACK_PORT: "" } }).config.port, 8001);
});

test("the variables that Kubernetes sets for a Service named lmstack are no options", () => {
  const env = {
    LMSTACK_PORT: "tcp://10.0.0.1:80",
    LMSTACK_SERVICE_HOST: "10.0.0.1",
    LMSTACK_PORT_80_TCP_ADDR: "10.0.0.1",
    LMSTACK_ROUTER_SERVICE_SERVICE_PORT_ROUTER_SPORT: "80",
  };
  const { config, warnings } = parseRouter([], { env });
  assert.equal(config.port, 8001);
  assert.deepEqual(warnings, []);
});

test("an unknown variable is a warning with the nearest known one", () => {
  const { warnings } = parseRouter([], { env: { LMSTACK_RETRYS: "3" } });
  assert.deepEqual(warnings, ["LMSTACK_RETRYS: no option has this name, it is ignored; did you mean LMSTACK_RETRIES?"]);
});

test("commands differ in their defaults", () => {
  const router = parseRouter([]).config;
  assert.deepEqual([router.host, router.port, router.timeouts.drainDelayMs], ["0.0.0.0", 8001, 5000]);
  const up = parse(["up"]);
  assert.ok(up.command === "up");
  assert.deepEqual([up.config.host, up.config.port, up.config.timeouts.drainDelayMs], ["127.0.0.1", 30080, 0]);
  assert.deepEqual(up.up, {
    engines: 4,
    models: ["facebook/opt-125m"],
    preset: "llama-3.1-8b-1xh100",
    seed: 0,
    speed: 1,
  });
  assert.deepEqual(up.config.dynamic.endpoints, []);
  const engine = parse(["engine"]);
  assert.ok(engine.command === "engine");
  assert.deepEqual([engine.options.host, engine.options.port, engine.options.engines], ["0.0.0.0", 8000, 1]);
});

test("the routing line is printed with text and not with json, unless it is asked for", () => {
  assert.equal(parseRouter([]).config.log.routingLine, true);
  assert.equal(parseRouter(["--log-format", "json"]).config.log.routingLine, false);
  assert.equal(parseRouter(["--log-format", "json", "--log-routing-line"]).config.log.routingLine, true);
  assert.equal(parseRouter(["--no-log-routing-line"]).config.log.routingLine, false);
  assert.equal(parseRouter(["--log-level", "debug"]).config.log.routingLine, true);
  assert.equal(parseRouter(["--log-level", "warning"]).config.log.routingLine, false);
  assert.equal(parseRouter(["--log-level", "warning", "--log-routing-line"]).config.log.routingLine, true);
});

test("levels of logs are those of production-stack", () => {
  assert.equal(parseRouter(["--log-level", "critical"]).config.log.level, "fatal");
  assert.equal(parseRouter(["--log-level", "warning"]).config.log.level, "warn");
});

test("reroute attempts are retries, unless retries are given too", () => {
  const flag = "--max-instance-failover-reroute-attempts";
  assert.equal(parseRouter([flag, "5"]).config.retries, 5);
  assert.equal(parseRouter([flag, "0"]).config.retries, 0);
  const both = parseRouter([flag, "5", "--retries", "1"]);
  assert.equal(both.config.retries, 1);
  assert.equal(both.warnings.length, 1);
});

test("backends, models, types and labels are joined by position", () => {
  const parsed = parse([
    "router",
    ..."--static-backends http://a:1/,https://b/x --static-models m,n".split(" "),
    ..."--static-model-types chat,completion --static-model-labels p,d --static-aliases x:m,y:n".split(" "),
    ..."--static-backend-health-checks --static-backend-health-check-interval 30".split(" "),
  ]);
  assert.ok(parsed.command === "router");
  assert.deepEqual(parsed.config.dynamic.endpoints, [
    { url: "http://a:1", models: ["m"], label: "p", modelType: "chat" },
    { url: "https://b/x", models: ["n"], label: "d", modelType: "completion" },
  ]);
  assert.deepEqual(
    [...parsed.config.dynamic.aliases],
    [
      ["x", "m"],
      ["y", "n"],
    ],
  );
  assert.deepEqual(parsed.config.dynamic.inferenceHealthChecks, { intervalMs: 30_000, timeoutMs: 10_000 });
});

test("one URL with two models is one endpoint that serves both", () => {
  const parsed = parse(["router", "--static-backends", "http://a:1,http://a:1/", "--static-models", "m,n"]);
  assert.ok(parsed.command === "router");
  assert.deepEqual(
    parsed.config.dynamic.endpoints.map(({ url, models }) => [url, models]),
    [["http://a:1", ["m", "n"]]],
  );
});

test("the dynamic file replaces what flags say of engines, and says so", () => {
  const text = "service_discovery: static\nrouting_logic: random\nstatic_backends: http://d:1\n";
  const { config, warnings } = parseRouter(["--dynamic-config-yaml", "d.yaml"], { files: { "d.yaml": text } });
  assert.deepEqual(
    config.dynamic.endpoints.map(({ url }) => url),
    ["http://d:1"],
  );
  assert.equal(config.dynamic.policy, "random");
  assert.deepEqual(config.dynamicFile, { path: "d.yaml", format: "yaml" });
  assert.match(warnings.join(), /d\.yaml replaces --static-backends/);
});

test("durations may have a unit", () => {
  const { timeouts } = parseRouter([
    "--connect-timeout-seconds",
    "500ms",
    "--idle-timeout-seconds=1.5",
    "--total-timeout-seconds",
    "1h",
  ]).config;
  assert.deepEqual([timeouts.connectMs, timeouts.idleMs, timeouts.totalMs], [500, 1500, 3_600_000]);
});

test("a root path loses its trailing slash", () => {
  assert.equal(parseRouter(["--root-path", "/llm/"]).config.rootPath, "/llm");
  assert.equal(parseRouter(["--root-path", "/"]).config.rootPath, "");
});

test("a socket that systemd passes to this very process is the one to listen on, unless a flag says otherwise", () => {
  const passed = (env: Record<string, string>, argv: string[] = []): number | null =>
    loadRouterConfig(["--static-backends", "http://e:1", ...argv], env).config.listenFd;
  const own = String(process.pid);
  assert.equal(passed({ LISTEN_FDS: "1", LISTEN_PID: own }), 3);
  assert.equal(passed({ LISTEN_FDS: "1", LISTEN_PID: own }, ["--listen-fd", "5"]), 5);
  assert.equal(passed({ LISTEN_FDS: "1", LISTEN_PID: "1" }), null);
  assert.equal(passed({ LISTEN_FDS: "0", LISTEN_PID: own }), null);
  assert.equal(passed({}), null);
  const { warnings } = loadRouterConfig(["--static-backends", "http://e:1"], { LISTEN_FDS: "2", LISTEN_PID: own });
  assert.match(warnings.join(), /LISTEN_FDS: of 2 sockets/);
});
