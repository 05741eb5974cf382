// Flags that only existing deployments of production-stack bring along: known, so that their commands can be judged
// one flag at a time, and either refused, or warned about. Part of the catalogue; nothing but definitions. A flag whose
// loss could open a door (access control in a callback) must be refused, never ignored.

import { boolean, choice, decimal, file, integer, optionalInteger, optionalText, seconds, text } from "../option.ts";

const commands = ["router"] as const;
const notYet = { commands, state: "not yet" } as const;
const noEffect = { commands, state: "no effect" } as const;
const extension = { ...notYet, group: "Extensions" } as const;
const batch = { ...notYet, group: "Batch API" } as const;
const lmcache = { ...noEffect, group: "LMCache" } as const;
const semantic = { ...noEffect, group: "Semantic cache" } as const;

const noController = "No LMCache controller is embedded: the index of cached prefixes is the router's own.";

export const productionStackOptions = {
  callbacks: optionalText({
    ...extension,
    default: null,
    placeholder: "MODULE",
    refusals: [
      {
        when: "set",
        why: "Python callbacks cannot run here, and ignoring one could drop access control",
        fix: "leave it out; --api-key-file asks clients for a key",
      },
    ],
    help: "Python object that is called for each request.",
  }),
  "request-rewriter": text({
    ...extension,
    default: "noop",
    placeholder: "NAME",
    refusals: [
      {
        when: { isNot: ["noop"] },
        why: "request rewriters are not built, and ignoring one could drop what it guards",
        fix: "leave it out, or give noop",
      },
    ],
    help: "Rewriter of requests; noop only.",
  }),
  "feature-gates": text({
    ...extension,
    default: "",
    placeholder: "NAME=true,...",
    refusals: [
      {
        when: "set",
        why: "there are no feature gates here, and ignoring one could drop what it guards",
        fix: "leave it out",
      },
    ],
    help: "Switches of experimental features.",
  }),
  "external-providers-config": file({
    ...extension,
    default: null,
    refusals: [
      {
        when: "set",
        why: "external providers are not built, and ignoring them would send their models nowhere",
        fix: "leave it out; OpenAI-compatible URLs can be listed in --static-backends",
      },
    ],
    help: "YAML file of hosted providers.",
  }),

  "enable-batch-api": boolean({
    ...batch,
    default: false,
    refusals: [
      {
        when: "set",
        why: "the files and batches API is not built yet",
        fix: "leave it out, and send requests one by one",
      },
    ],
    help: "Serve `/v1/files` and `/v1/batches`.",
  }),
  "file-storage-class": choice({
    ...batch,
    default: "local_file",
    values: ["local_file"],
    help: "Where files are kept.",
  }),
  "file-storage-path": text({ ...batch, default: "/tmp/vllm_files", help: "Folder of the files." }),
  "batch-processor": choice({ ...batch, default: "local", values: ["local"], help: "What runs batches." }),

  "lmcache-controller-port": integer({ ...lmcache, default: 9000, min: 0, max: 65535, help: noController }),
  "lmcache-controller-reply-port": optionalInteger({
    ...lmcache,
    default: null,
    min: 0,
    max: 65535,
    help: noController,
  }),
  "lmcache-controller-heartbeat-port": optionalInteger({
    ...lmcache,
    default: null,
    min: 0,
    max: 65535,
    help: noController,
  }),
  "lmcache-health-check-interval": seconds({ ...lmcache, default: 5, help: noController }),
  "lmcache-worker-timeout": seconds({ ...lmcache, default: 30, help: noController }),

  "semantic-cache-model": text({
    ...semantic,
    default: "all-MiniLM-L6-v2",
    help: "No answers are cached by likeness.",
  }),
  "semantic-cache-dir": text({ ...semantic, default: "semantic_cache", help: "No answers are cached by likeness." }),
  "semantic-cache-threshold": decimal({
    ...semantic,
    default: 0.95,
    min: 0,
    max: 1,
    help: "No answers are cached by likeness.",
  }),
};
