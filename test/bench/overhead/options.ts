// The command line of `npm run bench:overhead`: parsed once, checked here, explained by `--help`.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { BenchError } from "./processes.ts";

export const LOAD_NAMES = ["300B", "100kB", "1MiB", "frames200", "frames600", "latency", "memory"] as const;
export type LoadName = (typeof LOAD_NAMES)[number];

export interface Options {
  readonly loads: readonly LoadName[];
  readonly windows: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Cores that others may keep busy on average in a window that counts. */
  readonly foreignLimit: number;
  readonly minutes: number;
  readonly routerCore: number;
  readonly loadCore: number;
  readonly withFloor: boolean;
  readonly withHaproxy: boolean;
  /** Also measures our router without metrics. */
  readonly withBare: boolean;
  readonly quick: boolean;
  readonly candidateCommand: string | undefined;
  readonly routerFlags: readonly string[];
  readonly jsonFile: string | undefined;
  readonly writeDocs: boolean;
  readonly profileDirectory: string | undefined;
}

export const HELP = `npm run bench:overhead -- [options]

Measures our router's CPU, latency and memory against nginx and haproxy in front of
the same four fake engines. Needs Linux, taskset, nginx and wrk; haproxy if installed.

  --only LOADS            comma list of ${LOAD_NAMES.join(", ")}
  --windows N             windows per load and router (5; --quick: 3)
  --seconds N             length of a window (5; --quick: 1.5)
  --quick                 a look, not a measurement: short windows, short warm-up
  --foreign-limit CORES   throw a window away above this foreign CPU (0.2)
  --minutes N             stop measuring after this time and report (40)
  --cores R,L             core of the router, core of engines and load (0,1)
  --floor                 also measure a bare socket splice in Node, the floor for TypeScript
  --metrics               also measure our router with its metrics taken out: what they cost
  --no-haproxy            leave haproxy out
  --candidate-command CMD measure CMD as "ours"; {port} and {engines} are filled in
  --router-flags FLAGS    more flags for our router, in one quoted word
  --json FILE             write every window and the summary
  --write-docs            put the table into docs/benchmarks.md
  --profile DIR           run only our router, with --cpu-prof, and print where its CPU goes
  --help
`;

const OPTIONS = {
  only: { type: "string" },
  windows: { type: "string" },
  seconds: { type: "string" },
  quick: { type: "boolean", default: false },
  "foreign-limit": { type: "string" },
  minutes: { type: "string" },
  cores: { type: "string" },
  floor: { type: "boolean", default: false },
  metrics: { type: "boolean", default: false },
  "no-haproxy": { type: "boolean", default: false },
  "candidate-command": { type: "string" },
  "router-flags": { type: "string" },
  json: { type: "string" },
  "write-docs": { type: "boolean", default: false },
  profile: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

/** `parseArgs`, with its complaint as one line. */
function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (error) {
    throw new BenchError(`${error instanceof Error ? error.message : String(error)}; see --help.`);
  }
}

export function parseOptions(args: readonly string[]): Options | "help" {
  const values = parse(args);
  if (values.help) return "help";
  const quick = values.quick;
  const [routerCore = 0, loadCore = 0] =
    values.cores === undefined
      ? [0, Math.min(1, availableParallelism() - 1)]
      : values.cores.split(",").map((core) => numberOf("--cores", core, 0));
  return {
    loads: loadsOf(values.only),
    windows: numberOf("--windows", values.windows ?? (quick ? "3" : "5"), 1),
    seconds: numberOf("--seconds", values.seconds ?? (quick ? "1.5" : "5"), 0.5),
    warmUpSeconds: quick ? 1 : 3,
    foreignLimit: numberOf("--foreign-limit", values["foreign-limit"] ?? "0.2", 0),
    minutes: numberOf("--minutes", values.minutes ?? "40", 0.1),
    routerCore,
    loadCore,
    withFloor: values.floor,
    withBare: values.metrics,
    withHaproxy: !values["no-haproxy"],
    quick,
    candidateCommand: values["candidate-command"],
    routerFlags: words(values["router-flags"]),
    jsonFile: values.json,
    writeDocs: values["write-docs"],
    profileDirectory: values.profile,
  };
}

function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}

function loadsOf(only: string | undefined): LoadName[] {
  if (only === undefined) return [...LOAD_NAMES];
  return only.split(",").map((wanted) => {
    const found = LOAD_NAMES.find((name) => name.toLowerCase() === wanted.trim().toLowerCase());
    if (found === undefined)
      throw new BenchError(`--only ${wanted}: no such load; there are ${LOAD_NAMES.join(", ")}.`);
    return found;
  });
}

function numberOf(option: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < least) {
    throw new BenchError(`${option} ${text}: has to be a number of at least ${least}.`);
  }
  return value;
}
