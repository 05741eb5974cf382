// Options that are durations of requests and of the process's life. Part of the catalogue; nothing but definitions.

import { seconds } from "../option.ts";

const commands = ["router", "up"] as const;
const routerOnly = ["router"] as const;
const group = "Timeouts" as const;

export const timingOptions = {
  "connect-timeout-seconds": seconds({
    group,
    commands,
    default: 2,
    min: 0.01,
    help: "Time limit of a connection to an engine.",
  }),
  "first-event-timeout-seconds": seconds({
    group,
    commands,
    default: 600,
    min: 0.01,
    help: "From the request's last byte to the first event of a stream. 600, since engines queue under load and long prompts take minutes.",
  }),
  "idle-timeout-seconds": seconds({
    group,
    commands,
    default: 120,
    min: 0.01,
    help: "Longest pause inside an answer that has begun.",
  }),
  "total-timeout-seconds": seconds({
    group,
    commands,
    default: 0,
    help: "Time limit of a whole request; 0 is none. None, since only the client knows how long an answer is worth waiting for.",
  }),
  "client-stall-timeout-seconds": seconds({
    group,
    commands,
    default: 60,
    min: 0.01,
    help: "A client that takes nothing for so long is cut, and its request ended on the engine.",
  }),
  "sse-heartbeat-seconds": seconds({
    group,
    commands,
    default: 15,
    help: "A comment into a stream that is silent for so long, so that load balancers keep the connection; 0 is none. A request with the header `x-lmstack-heartbeat: off` gets none.",
  }),
  "head-timeout-seconds": seconds({
    group,
    commands,
    default: 10,
    min: 0.01,
    help: "A request's head must be complete in this time.",
  }),
  "body-idle-timeout-seconds": seconds({
    group,
    commands,
    default: 30,
    min: 0.01,
    help: "Longest pause inside a request's body.",
  }),
  "client-keep-alive-seconds": seconds({
    group,
    commands,
    default: 75,
    help: "An idle client connection is closed after this. 75, above the 60 of common load balancers, so that they close first.",
  }),
  "engine-keep-alive-seconds": seconds({
    group: "Connections to engines",
    commands,
    default: 4,
    help: "An idle connection to an engine is closed after this. 4, below the 5 after which vLLM's server closes it.",
  }),
  "stall-timeout-seconds": seconds({
    group,
    commands: routerOnly,
    default: 20,
    help: "An engine that has requests and makes no progress with any for so long (no bytes, counters that stand still) is taken out, and what can go on elsewhere does; 0 is never. 20, since a first request with logprobs may compile for 16. New requests avoid it after 3.",
  }),
  "hold-timeout-seconds": seconds({
    group,
    commands: routerOnly,
    default: 60,
    help: "How long a request for a model that is known and has no engine that may be used waits for one, as when it is scaled to zero; then 503 with retry-after. 0: it is told so at once. 60, for an engine whose image and weights are on the node; give the time that yours need to start, and have clients wait as long.",
  }),
  "drain-delay-seconds": seconds({
    group: "Start and stop",
    commands,
    default: 5,
    defaultFor: { up: 0 },
    help: "After SIGTERM, keep accepting for so long while `/ready` says 503: load balancers need that time to notice.",
  }),
  "drain-timeout-seconds": seconds({
    group: "Start and stop",
    commands,
    default: 300,
    help: "Then finish running requests for at most so long.",
  }),
};
