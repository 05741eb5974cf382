// Options that say which engines there are. Part of the catalogue; nothing but definitions.

import { boolean, choice, file, list, pairs, seconds } from "../option.ts";

const commands = ["router"] as const;
const group = "Endpoints" as const;

export const endpointOptions = {
  "static-backends": list({
    group,
    commands,
    default: [],
    placeholder: "URL,...",
    expects: "engine URLs with commas between them, as in http://10.0.0.1:8000,http://10.0.0.2:8000",
    help: "Engines, as URLs with commas between them.",
  }),
  "static-models": list({
    group,
    commands,
    default: [],
    placeholder: "MODEL,...",
    help: "The model of each engine, one per URL in the same order. Without it each engine is asked for its models.",
  }),
  "static-aliases": pairs({
    group,
    commands,
    default: {},
    placeholder: "ALIAS:MODEL,...",
    help: "Further names of models.",
  }),
  "known-models": list({
    group,
    commands,
    default: [],
    placeholder: "MODEL,...",
    help: "Models that exist even while no engine serves them, as when they are scaled to zero: requests for them wait for an engine (--hold-timeout-seconds) instead of being answered 404. Models whose engines discovery has found and lost are known without it, until the router restarts.",
  }),
  "dynamic-config-yaml": file({
    group,
    commands,
    default: null,
    help: "Watched YAML file with engines, aliases and policy. A change is checked as a whole and swapped in while the router runs; a rejected one leaves the old in force.",
  }),
  "dynamic-config-json": file({
    group,
    commands,
    default: null,
    help: "The same as JSON.",
  }),
  "service-discovery": choice({
    group,
    commands,
    default: null,
    values: ["static", "dns", "k8s"],
    refusals: [
      {
        when: { is: ["external-only"] },
        why: "external providers are not built yet",
        fix: "leave it out and list engines with --static-backends",
      },
    ],
    help: "Where engines come from: listed (`static`), the addresses of DNS names (`dns`), or pods and Services (`k8s`). `static` when nothing is said.",
  }),
  "static-model-types": list({
    group,
    commands,
    default: [],
    placeholder: "TYPE,...",
    help: "What a health check sends to each engine, one per URL: chat, completion, embeddings, rerank, score, transcription, vision, messages.",
  }),
  "static-model-labels": list({
    group,
    commands,
    default: [],
    placeholder: "LABEL,...",
    state: "not yet",
    help: "The pool label of each engine, one per URL, for the prefill/decode policies.",
  }),
  "static-kv-events": list({
    group,
    commands,
    default: [],
    placeholder: "WHERE,...",
    expects: "one entry per engine, or one for all: ask, off, or PORT[:REPLAY_PORT[:RANKS]][@TOPIC]",
    help: "Where each engine's KV events are had, one per URL or one for all, for `kvaware`: `ask` (its `/kv_event_sources`, the default), `off`, or `PORT[:REPLAY_PORT[:RANKS]][@TOPIC]` on the engine's host.",
  }),
  "static-backend-health-checks": boolean({
    group,
    commands,
    default: false,
    help: "Send small inference requests to engines as health checks. Off, since they cost GPU time and failures of real requests are seen at once.",
  }),
  "static-backend-health-check-interval": seconds({
    group,
    commands,
    default: 60,
    min: 1,
    help: "Time between two inference health checks of an engine.",
  }),
  "static-backend-health-check-timeout-seconds": seconds({
    group,
    commands,
    default: 10,
    min: 0.1,
    help: "Time limit of an inference health check.",
  }),
  "backend-health-check-timeout-seconds": seconds({
    group: "Connections to engines",
    commands: ["router", "up"],
    default: 10,
    min: 0.1,
    help: "Time limit of `/health` and `/v1/models` asked of an engine.",
  }),
};
