// Options of `lmstack engine` that a vLLM server has too, by vLLM's names, and what the simulator adds to them. Part of the
// catalogue; nothing but definitions.

import { boolean, choice, file, integer, list, optionalText, seconds } from "../option.ts";

const commands = ["engine"] as const;
const group = "Simulated engines" as const;

export const engineServerOptions = {
  runner: choice({
    group,
    commands,
    default: "auto",
    values: ["auto", "generate", "pooling"],
    help: "Which routes there are: those of a generating model, of a pooling one, or, with `auto`, all.",
  }),
  "data-parallel-size": integer({
    group,
    commands,
    default: 1,
    min: 1,
    max: 256,
    unit: "ranks",
    help: "Engines behind one port, each with a KV cache and metrics of its own.",
  }),
  "scheduling-policy": choice({
    group,
    commands,
    default: "fcfs",
    values: ["fcfs", "priority"],
    help: "Who comes first in an engine: the earliest, or the lowest `priority`.",
  }),
  "enable-prefix-caching": boolean({
    group,
    commands,
    default: true,
    help: "Reuse the KV blocks of equal prefixes.",
  }),
  "prefix-caching-hash-algo": choice({
    group,
    commands,
    default: "sha256",
    values: ["sha256", "sha256_cbor"],
    help: "Hashes of KV blocks, as KV events show them.",
  }),
  "enable-prompt-tokens-details": boolean({
    group,
    commands,
    default: true,
    help: "Tell cached tokens in `usage`. On, unlike vLLM, since tests of routing want to see them.",
  }),
  "enable-request-id-headers": boolean({
    group,
    commands,
    default: false,
    help: "Send `x-request-id` with every answer.",
  }),
  "enable-server-load-tracking": boolean({
    group,
    commands,
    default: false,
    help: "Let `/load` count; it is always 0 otherwise.",
  }),
  "enable-force-include-usage": boolean({
    group,
    commands,
    default: false,
    help: "Send usage in every stream, whatever the client asked for.",
  }),
  "enable-auto-tool-choice": boolean({
    group,
    commands,
    default: true,
    help: "Accept `tool_choice` auto. On, unlike vLLM; only a script calls.",
  }),
  "enable-scale-out": boolean({
    group,
    commands,
    default: false,
    help: "Open `/inference/v1/generate` and the render routes.",
  }),
  "dev-mode": boolean({
    group,
    commands,
    default: false,
    help: "Serve pause, sleep, abort and cache reset, as vLLM does under VLLM_SERVER_DEV_MODE.",
  }),
  "lora-modules": list({
    group,
    commands,
    default: [],
    repeatable: true,
    placeholder: "NAME=PATH",
    expects: "an adapter as name=path",
    help: "LoRA adapter that is served beside the models. No file is read.",
  }),
  "allow-runtime-lora-updating": boolean({
    group,
    commands,
    default: false,
    help: "Open `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`.",
  }),
  "max-loras": integer({
    group,
    commands,
    default: 1,
    min: 1,
    max: 1024,
    unit: "adapters",
    help: "Different adapters in one step.",
  }),
  "kv-events-config": optionalText({
    group,
    commands,
    default: null,
    placeholder: "JSON",
    help: "vLLM's JSON: publish what the prefix cache stores and removes on ZMQ sockets.",
  }),
  "kv-events-encoding": choice({
    group,
    commands,
    default: "map",
    values: ["map", "array"],
    help: "KV events as maps, or as the positional arrays of older versions.",
  }),
  "kv-replay-framing": choice({
    group,
    commands,
    default: "topic",
    values: ["topic", "legacy"],
    help: "Replies of the replay socket with the topic, or as before vLLM 0.26.",
  }),
  "kv-events-int-hashes": boolean({
    group,
    commands,
    default: true,
    help: "Hashes in KV events as integers; else as their 32 bytes.",
  }),
  tokenizer: optionalText({
    group,
    commands,
    default: null,
    placeholder: "DIR",
    help: "A model's folder with its `tokenizer.json`; else an approximation is built in.",
  }),
  script: file({
    group,
    commands,
    default: null,
    help: "A JSON list of `pattern`, `answer` and, to call a function, `tool`: what to answer to which prompts.",
  }),
  answer: choice({
    group,
    commands,
    default: "filler",
    values: ["filler", "echo"],
    help: "Answer in made-up sentences, or repeat the prompt.",
  }),
  "shutdown-timeout": seconds({
    group,
    commands,
    default: 0,
    help: "Let requests in flight go on for so long after SIGTERM, while new ones get 500.",
  }),
  fault: list({
    group,
    commands,
    default: [],
    repeatable: true,
    placeholder: "NAME[:ARG]",
    expects: "the name of a fault, as in cut_mid_stream:reset:5",
    help: "Something that goes wrong from the start; docs/engine.md lists them.",
  }),
};
