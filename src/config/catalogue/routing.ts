// Options that say how an engine is chosen, and what is tried when one fails. Part of the catalogue; nothing but
// definitions.

import { boolean, choice, integer, list, optionalInteger, optionalText, pairs, seconds } from "../option.ts";
import { policyNames } from "../types.ts";

const commands = ["router", "up"] as const;
const routerOnly = ["router"] as const;
const group = "Routing" as const;
const kvEvents = "KV events" as const;
const later = "Prefix and prefill/decode policies" as const;

export const routingOptions = {
  "routing-logic": choice({
    group,
    commands,
    default: "prefixaware",
    values: policyNames,
    placeholder: "POLICY",
    refusals: [
      {
        when: { is: ["disaggregated_prefill", "disaggregated_prefill_orchestrated"] },
        why: "separate prefill and decode engines are not built yet",
        fix: "use leastload on engines that do both",
      },
    ],
    help: "How an engine is chosen: roundrobin, random, leastload, session, prefixaware or kvaware. prefixaware, since it sends a prompt where its beginning is cached as long as that is cheaper than waiting there; kvaware does the same by what engines say they hold, and needs KV events.",
  }),
  "session-key": optionalText({
    group,
    commands,
    default: null,
    placeholder: "NAME",
    help: "Header (in any case) or top-level JSON field that names the session, for `session`. Without it: x-session-id, x-user-id.",
  }),
  "router-replicas": integer({
    group,
    commands: routerOnly,
    default: 1,
    min: 1,
    max: 1000,
    help: "Routers in front of the same engines. With more than one, `prefixaware` begins a conversation where the others will look for it. Without it the router notices the others after a while, by what the engines count.",
  }),
  retries: integer({
    group,
    commands,
    default: 2,
    min: 0,
    max: 100,
    help: "Further engines tried when one fails before the first event. 2, within a budget that keeps a brown-out from being amplified.",
  }),
  "migrate-streams": boolean({
    group,
    commands,
    default: true,
    help: "Completions and chats whose engine fails in mid-stream go on at another engine, in the same stream, where that is sound.",
  }),
  "migration-stream-bytes": integer({
    group: "Limits",
    commands: routerOnly,
    default: 262_144,
    min: 1024,
    unit: "bytes",
    help: "What is kept of one stream's text, so that it can go on elsewhere; a longer one ends with an error when its engine fails.",
  }),
  "migration-budget-bytes": integer({
    group: "Limits",
    commands: routerOnly,
    default: 268_435_456,
    min: 0,
    unit: "bytes",
    help: "What is kept of all streams together, with their requests. 256 MiB; beyond it new streams are not kept, as with --no-migrate-streams.",
  }),
  "max-instance-failover-reroute-attempts": optionalInteger({
    group,
    commands: routerOnly,
    default: null,
    min: 0,
    max: 100,
    help: "production-stack's name of --retries; --retries wins where both are given.",
  }),
  "kv-index-max-bytes": integer({
    group: kvEvents,
    commands,
    default: 1024 * 1024 * 1024,
    min: 65_536,
    unit: "bytes",
    help: "Memory for the index of what engines say they hold; the oldest blocks go when it is full. 1 GiB, for ten million blocks.",
  }),
  tokenizers: pairs({
    group: kvEvents,
    commands,
    default: {},
    placeholder: "MODEL:FOLDER,...",
    expects: "pairs of a model and the folder of its tokenizer.json, with commas between them",
    help: "Reads the prompts of these models as tokens here, in threads of their own, by the tokenizer.json and the chat template in a folder. Without it an engine's `/tokenize` is asked.",
  }),
  "tokenize-timeout-seconds": seconds({
    group: kvEvents,
    commands,
    default: 0.05,
    min: 0.001,
    help: "Time limit for reading a prompt as tokens, and a millisecond more for each kB of it. When it is over the request goes on by the approximate index.",
  }),
  "kv-aware-threshold": integer({
    group: later,
    commands: routerOnly,
    default: 2000,
    min: 0,
    unit: "tokens",
    state: "no effect",
    help: "From how long a match on `kvaware` looks at caches: here it weighs every match by the time that it saves.",
  }),
  "prefix-min-match-length": integer({
    group: later,
    commands: routerOnly,
    default: 0,
    min: 0,
    unit: "characters",
    help: "For `prefixaware`: a match that is shorter counts for nothing, and the load alone decides. Bytes of text, in blocks of 256; 0, as a short match saves little and so weighs little anyhow.",
  }),
  "prefill-model-labels": list({
    group: later,
    commands: routerOnly,
    default: [],
    placeholder: "LABEL,...",
    state: "not yet",
    help: "Pool labels of prefill engines, for the prefill/decode policies.",
  }),
  "decode-model-labels": list({
    group: later,
    commands: routerOnly,
    default: [],
    placeholder: "LABEL,...",
    state: "not yet",
    help: "Pool labels of decode engines, for the prefill/decode policies.",
  }),
};
