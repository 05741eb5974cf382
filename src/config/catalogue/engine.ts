// Options of the simulated engines, for `lmstack engine` and `lmstack up`. The names are vLLM's where vLLM has the
// option. Part of the catalogue; nothing but definitions.

import { boolean, decimal, integer, list, optionalInteger, seconds, text } from "../option.ts";

const both = ["up", "engine"] as const;
const andLab = ["up", "engine", "lab"] as const;
const engineAndLab = ["engine", "lab"] as const;
const engineOnly = ["engine"] as const;
const group = "Simulated engines" as const;

export const engineOptions = {
  engines: integer({
    group,
    commands: andLab,
    default: 4,
    defaultFor: { engine: 1, lab: 8 },
    min: 1,
    max: 1024,
    help: "How many engines. `lmstack engine` runs them in one process on consecutive ports.",
  }),
  model: list({
    group,
    commands: ["up", "engine", "bench"],
    default: ["facebook/opt-125m"],
    defaultFor: { bench: [] },
    repeatable: true,
    placeholder: "MODEL",
    expects: "the name of a model",
    help: "Model that each engine serves. The bench asks for the first one; without it, for the first that the URL lists.",
  }),
  preset: text({
    group,
    commands: andLab,
    default: "llama-3.1-8b-1xh100",
    placeholder: "NAME",
    help: "Step times and cache size of a measured model and GPU, or a JSON file with one's own.",
  }),
  seed: integer({
    group,
    commands: ["up", "engine", "lab", "bench"],
    default: 0,
    min: 0,
    max: 4_294_967_295,
    help: "The same seed gives the same answers, and the same workload.",
  }),
  speed: decimal({
    group,
    commands: both,
    default: 1,
    min: 0.001,
    max: 1_000_000,
    help: "Simulated seconds per second: 10 makes engines ten times as fast.",
  }),
  "sim-api": boolean({
    group,
    commands: engineOnly,
    default: false,
    help: "Also serve `/sim/state` and `/sim/faults`. Off, since a vLLM server has no such paths.",
  }),
  "api-key": list({
    group,
    commands: ["engine", "bench"],
    default: [],
    repeatable: true,
    placeholder: "KEY",
    secret: true,
    expects: "a key",
    help: "Key that `/v1/*` asks for; the bench sends the first one.",
  }),
  "max-model-len": integer({
    group,
    commands: engineOnly,
    default: 8192,
    min: 1,
    max: 100_000_000,
    unit: "tokens",
    help: "Longest prompt and answer together.",
  }),
  "max-num-seqs": integer({
    group,
    commands: engineAndLab,
    default: 256,
    min: 1,
    max: 1_000_000,
    unit: "requests",
    help: "Requests in one step.",
  }),
  "max-num-batched-tokens": integer({
    group,
    commands: engineAndLab,
    default: 8192,
    min: 1,
    max: 100_000_000,
    unit: "tokens",
    help: "Tokens in one step.",
  }),
  "block-size": integer({
    group,
    commands: engineOnly,
    default: 16,
    min: 1,
    max: 65536,
    unit: "tokens",
    help: "Size of a KV block.",
  }),
  "num-gpu-blocks-override": optionalInteger({
    group,
    commands: engineOnly,
    default: null,
    min: 1,
    max: 1_000_000_000,
    unit: "blocks",
    help: "Size of the KV cache; else the preset's.",
  }),
  "max-num-queued-reqs": optionalInteger({
    group,
    commands: engineOnly,
    default: null,
    min: 0,
    max: 1_000_000_000,
    unit: "requests",
    help: "Requests that may wait before new ones get 503; else no limit.",
  }),
  "max-num-queued-tokens": optionalInteger({
    group,
    commands: engineOnly,
    default: null,
    min: 0,
    max: 1_000_000_000,
    unit: "tokens",
    help: "Prompt tokens without a first answer before new requests get 503; else no limit.",
  }),
  startup: seconds({
    group,
    commands: engineOnly,
    default: 0,
    help: "Refuse connections for so long, as an engine does that loads its model.",
  }),
};
