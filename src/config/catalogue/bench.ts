// Options of `lmstack bench`: what is put under load, and how. Part of the catalogue; nothing but definitions.

import { boolean, choice, integer, optionalInteger, seconds, text } from "../option.ts";

const benchOnly = ["bench"] as const;
const real = "Load in real time" as const;

export const benchOptions = {
  url: text({
    group: real,
    commands: benchOnly,
    default: "http://localhost:30080",
    placeholder: "URL",
    help: "What to put under load: a router or an engine, anything that speaks OpenAI's API.",
  }),
  api: choice({
    group: real,
    commands: benchOnly,
    default: "chat",
    values: ["chat", "completions"],
    help: "Which API to use.",
  }),
  warmup: integer({
    group: real,
    commands: benchOnly,
    default: 8,
    min: 0,
    max: 100_000,
    unit: "requests",
    help: "Requests of other texts that are sent before and not counted.",
  }),
  concurrency: optionalInteger({
    group: real,
    commands: benchOnly,
    default: null,
    min: 1,
    max: 100_000,
    unit: "requests",
    help: "Closed loop: so many requests at any time and no arrival times. Else the loop is open: a slow answer delays no other request.",
  }),
  timeout: seconds({
    group: real,
    commands: benchOnly,
    default: 600,
    min: 0.1,
    help: "A request that takes longer is cut and counts as failed.",
  }),
  "max-lag": seconds({
    group: real,
    commands: benchOnly,
    default: 0.1,
    min: 0.001,
    help: "The run is discarded when the bench itself sent 1 % of the requests later than this.",
  }),
  "ignore-eos": boolean({
    group: real,
    commands: benchOnly,
    default: true,
    help: "Ask for answers of exactly the workload's length. Off for servers that do not know the field.",
  }),
};
