// Options of logs, metrics, traces and error reports. Part of the catalogue; nothing but definitions.

import { boolean, choice, decimal, optionalBoolean, optionalText, seconds, text } from "../option.ts";

const commands = ["router", "up"] as const;
const routerOnly = ["router"] as const;
const group = "Logs and metrics" as const;
const tracing = "Tracing and error reports" as const;

export const observingOptions = {
  "log-level": choice({
    group,
    commands: ["router", "up", "engine"],
    default: "info",
    values: ["critical", "error", "warning", "info", "debug", "trace", "fatal", "warn"],
    placeholder: "LEVEL",
    help: "critical, error, warning, info, debug or trace. From debug on a failure at start shows its stack.",
  }),
  "log-format": choice({
    group,
    commands,
    default: "text",
    values: ["text", "json"],
    placeholder: "FORMAT",
    help: "text or json.",
  }),
  "log-routing-line": optionalBoolean({
    group,
    commands,
    default: null,
    help: "One line `Routing request ...` per request on standard output, for log tools made for production-stack. On with --log-format text from --log-level info on, off with json.",
  }),
  "legacy-metrics": boolean({
    group,
    commands,
    default: true,
    help: "Also emit the metric names that production-stack's dashboards query: some ten series for each engine.",
  }),
  "request-stats-window": seconds({
    group,
    commands,
    default: 60,
    min: 1,
    help: "Sliding window of the per-server gauges of --legacy-metrics and of --log-stats.",
  }),
  "server-timing": boolean({
    group,
    commands,
    default: true,
    help: "A `Server-Timing` field on answers: where the time until the first byte went.",
  }),
  "engine-stats-interval": seconds({
    group,
    commands,
    default: 5,
    min: 0,
    help: "Time between two looks at an engine's `/metrics`; 0 turns them off. 5: the router counts load itself, and what engines say corrects it. Of more than 500 engines each is looked at more rarely, 100 a second in all.",
  }),
  "log-stats": boolean({
    group,
    commands: routerOnly,
    default: false,
    help: "Print what each engine did lately, from time to time.",
  }),
  "log-stats-interval": seconds({
    group,
    commands: routerOnly,
    default: 10,
    min: 0.1,
    help: "Time between two tables of --log-stats.",
  }),
  "otel-endpoint": optionalText({
    group: tracing,
    commands,
    default: null,
    placeholder: "HOST:PORT",
    help: "OTLP collector that gets a trace of each request: HOST:4317 by gRPC, or http://HOST:4318/v1/traces. Prompts and answers are never part of one.",
  }),
  "otel-service-name": text({
    group: tracing,
    commands,
    default: "vllm-router",
    help: "Service name in traces.",
  }),
  "otel-secure": boolean({
    group: tracing,
    commands,
    default: false,
    help: "TLS to the collector, where --otel-endpoint does not say https itself.",
  }),
  "otel-sample-ratio": decimal({
    group: tracing,
    commands,
    default: 1,
    min: 0,
    max: 1,
    help: "Share of the traces that begin here and are recorded. What a client's `traceparent` says goes first.",
  }),
  "sentry-dsn": optionalText({
    group: tracing,
    commands: routerOnly,
    default: null,
    placeholder: "URL",
    state: "no effect",
    help: "Nothing is sent to Sentry.",
  }),
  "sentry-traces-sample-rate": decimal({
    group: tracing,
    commands: routerOnly,
    default: 0.1,
    min: 0,
    max: 1,
    state: "no effect",
    help: "Nothing is sent to Sentry.",
  }),
  "sentry-profile-session-sample-rate": decimal({
    group: tracing,
    commands: routerOnly,
    default: 1,
    min: 0,
    max: 1,
    state: "no effect",
    help: "Nothing is sent to Sentry.",
  }),
};
