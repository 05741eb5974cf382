// Options of `lmstack lab`: a workload, which `lmstack bench` takes as well, policies, a fleet. Part of the catalogue;
// nothing but definitions.

import { boolean, file, integer, list, optionalInteger, optionalText, seconds, text } from "../option.ts";

const both = ["lab", "bench"] as const;
const labOnly = ["lab"] as const;
const group = "Workload" as const;
const virtual = "Runs in virtual time" as const;

export const labOptions = {
  trace: file({
    group,
    commands: both,
    default: null,
    help: "Trace to replay: Mooncake JSON lines, or the CSV of Azure or BurstGPT. Else --workload.",
  }),
  workload: text({
    group,
    commands: both,
    default: "multi-turn",
    placeholder: "NAME",
    expects: "the name of a workload",
    help: "Generated workload: multi-turn, shared-prefixes, agents, long-documents, hot-prefix or groups.",
  }),
  requests: optionalInteger({
    group,
    commands: both,
    default: null,
    min: 1,
    max: 10_000_000,
    unit: "requests",
    help: "How many: the first of a trace, else all of it; 2000 of a generated workload, 200 for the bench.",
  }),
  rate: list({
    group,
    commands: both,
    default: ["1"],
    placeholder: "X,Y",
    expects: "factors with commas between them",
    help: "Factor on the workload's own arrivals. The bench takes one.",
  }),
  rps: list({
    group,
    commands: both,
    default: [],
    placeholder: "X,Y",
    expects: "requests a second with commas between them",
    help: "Mean arrivals a second, in place of --rate. The bench takes one.",
  }),
  json: optionalText({
    group,
    commands: both,
    default: null,
    placeholder: "OUT",
    help: "File for all figures.",
  }),
  html: optionalText({
    group,
    commands: both,
    default: null,
    placeholder: "OUT",
    help: "File for a report with plots; it needs no other file.",
  }),
  policy: list({
    group: virtual,
    commands: labOnly,
    default: ["all"],
    placeholder: "A,B",
    expects: "names of policies with commas between them",
    help: "Policies to run: the router's, variants of its cost, what other routers do; all, own or baselines for many at once.",
  }),
  routers: integer({
    group: virtual,
    commands: labOnly,
    default: 1,
    min: 1,
    max: 64,
    help: "Replicas of the router in front of the same engines.",
  }),
  "scrape-interval": seconds({
    group: virtual,
    commands: labOnly,
    default: 1,
    min: 0.01,
    help: "How often a router reads the engines' metrics, in virtual time.",
  }),
  jobs: optionalInteger({
    group: virtual,
    commands: labOnly,
    default: null,
    min: 1,
    max: 256,
    unit: "threads",
    help: "Runs at one time; else one for each core, at most 8.",
  }),
  "compare-waits": boolean({
    group: virtual,
    commands: labOnly,
    default: false,
    help: "Run each of the router's policies once more with its queue in order of arrival, and once more for each request that waited long for its first token, in order from when it came: whether late binding made it wait longer. Slow at high load.",
  }),
  "find-capacity": boolean({
    group: virtual,
    commands: labOnly,
    default: false,
    help: "Find the highest rate at which --slo holds, for each policy.",
  }),
  "find-engines": boolean({
    group: virtual,
    commands: labOnly,
    default: false,
    help: "Find the smallest fleet with which --slo holds, for each policy and rate.",
  }),
  slo: list({
    group: virtual,
    commands: labOnly,
    default: ["ttft_p90=3s"],
    placeholder: "NAME=X",
    expects: "objectives such as ttft_p90=2s,itl_p99=100ms",
    help: "Objective: ttft_, itl_ or e2e_ with mean, p50, p90 or p99, as far as the table has it.",
  }),
};
