// Which room may import which: the order of the request's path, kept by `imports.test.ts`. A room that is not here, or an
// edge without an entry, fails the test; a new edge needs a reason that holds for the room, not for the file at hand.

/** `types` = only `import type`: the room knows the shape and is handed the thing. */
export type Edge = { readonly allow: "values" | "types"; readonly why: string };

const catalogue: Edge = { allow: "values", why: "errors are values of the one catalogue" };
const time: Edge = { allow: "types", why: "time is handed in, so that tests and the lab drive it" };

/** A room is a folder of `src/`; `cli` and `clock` are files. `engine/core` and `engine/text` are rooms inside a room. */
export const rooms: Readonly<Record<string, Readonly<Record<string, Edge>>>> = {
  clock: {},
  errors: {},
  http: { errors: catalogue, clock: time },
  routing: {
    cache: { allow: "types", why: "is handed a view of what endpoints have cached, and a prompt to compare" },
  },
  cache: {},
  console: {
    http: { allow: "types", why: "answers on the exchange that it is handed" },
    clock: time,
  },
  config: {
    errors: {
      allow: "values",
      why: "a mistake of the user is a UsageError; docs/errors.md is made from the catalogue",
    },
    clock: time,
  },
  api: { errors: catalogue, http: { allow: "values", why: "finds fields in bytes, with the byte tools of http" } },
  admission: {
    clock: time,
    routing: { allow: "values", why: "the queue orders what waits by routing's rule" },
  },
  fleet: {
    http: { allow: "values", why: "an endpoint owns its connections" },
    clock: time,
    config: {
      allow: "values",
      why: "is told the endpoints as configured; reads a pod's annotation as the option of the same name",
    },
    cache: { allow: "values", why: "feeds the exact index with what engines publish" },
    api: { allow: "types", why: "reads as tokens what was found to be a prompt" },
    routing: { allow: "values", why: "an endpoint carries the load that policies look at" },
  },
  observe: {
    errors: { allow: "values", why: "label values are the catalogue's" },
    api: { allow: "values", why: "label values are the names of the table of paths" },
    routing: { allow: "values", why: "label values are the closed list of reasons" },
    cache: { allow: "values", why: "label values are why KV events are asked for again; mirrors the index" },
    fleet: { allow: "values", why: "label values are the states of an endpoint" },
    config: { allow: "values", why: "label values are the names of policies" },
    clock: time,
  },
  proxy: {
    clock: time,
    config: { allow: "values", why: "reloads the dynamic file" },
    errors: catalogue,
    http: { allow: "values", why: "joins all rooms" },
    api: { allow: "values", why: "joins all rooms" },
    admission: { allow: "values", why: "joins all rooms" },
    cache: { allow: "values", why: "joins all rooms" },
    routing: { allow: "values", why: "joins all rooms" },
    fleet: { allow: "values", why: "joins all rooms" },
    observe: { allow: "values", why: "joins all rooms" },
    console: { allow: "values", why: "joins all rooms" },
  },
  bench: {
    errors: { allow: "values", why: "a trace that can't be read is a UsageError" },
    clock: time,
    "engine/core": { allow: "values", why: "seeded random numbers: the same seed, the same workload" },
  },
  lab: {
    clock: { allow: "values", why: "virtual time is the clock that tests drive by hand" },
    errors: { allow: "values", why: "an objective that is none is a UsageError" },
    bench: { allow: "values", why: "the same workloads and the same report, in virtual time" },
    "engine/core": { allow: "values", why: "N of the simulator's own engines" },
    admission: { allow: "values", why: "requests wait in the router's own queue" },
    cache: { allow: "values", why: "the router's own index" },
    routing: { allow: "values", why: "the router's own policies" },
  },
  "engine/core": { clock: time },
  "engine/text": { "engine/core": { allow: "values", why: "seeded random numbers: the same seed, the same words" } },
  engine: {
    "engine/core": { allow: "values", why: "its own model" },
    "engine/text": { allow: "values", why: "its own words" },
    clock: {
      allow: "values",
      why: "serve.ts starts a whole engine, for a command or a test, on the machine's clock by default",
    },
  },
  commands: {
    clock: { allow: "values", why: "the machine's clock enters here" },
    config: { allow: "values", why: "is handed the configuration" },
    errors: { allow: "values", why: "explains a failed start as a UsageError" },
    console: { allow: "values", why: "up shows the page" },
    engine: { allow: "values", why: "starts simulated engines" },
    observe: { allow: "values", why: "speaks through the router's log" },
    proxy: { allow: "values", why: "starts a router" },
    fleet: { allow: "values", why: "the live view asks engines as the router does" },
    bench: { allow: "values", why: "names workloads and writes reports" },
    lab: { allow: "values", why: "runs it" },
  },
  cli: {
    commands: { allow: "values", why: "runs them" },
    config: { allow: "values", why: "hands it arguments and environment" },
    errors: { allow: "values", why: "the exit code of a UsageError is 2" },
  },
};

/** The room of a file below `src/`. */
export function roomOf(file: string): string {
  const inner = Object.keys(rooms).find((room) => room.includes("/") && file.startsWith(`${room}/`));
  if (inner !== undefined) return inner;
  const [first = "", second] = file.split("/");
  return second === undefined ? first.replace(/\.ts$/, "") : first;
}

/** What does I/O, keeps time or draws lots: not for rooms that the lab and property tests run. */
export const pureRooms = ["routing", "cache", "engine/core"];

/** Modules of Node that do neither; `types` of others are harmless. */
export const pureModules = ["node:crypto", "node:buffer"];

/** Who may use what belongs to one room, with the reason. */
export const exceptions: readonly {
  readonly what: "environment" | "time" | "timers" | "randomness" | "systemClock";
  readonly file: string;
  readonly why: string;
}[] = [
  { what: "environment", file: "cli.ts", why: "hands it to config, which reads no global" },
  { what: "time", file: "clock.ts", why: "is the clock" },
  { what: "timers", file: "clock.ts", why: "is the clock" },
  { what: "time", file: "console/page.ts", why: "a script for the browser, kept as text" },
  { what: "timers", file: "console/page.ts", why: "a script for the browser, kept as text" },
  { what: "time", file: "console/web/api.ts", why: "runs in the browser" },
  { what: "timers", file: "http/departures.ts", why: "the end of a turn of the event loop, which is no time" },
  {
    what: "timers",
    file: "observe/log.ts",
    why: "writes gathered lines a few times a second, whatever the router's clock says",
  },
  {
    what: "timers",
    file: "engine/serve.ts",
    why: "a pending timer of the clock does not keep the process alive until it listens",
  },
  { what: "timers", file: "commands/router.ts", why: "keeps the process alive until it listens" },
  { what: "timers", file: "commands/up.ts", why: "draws the live view; nothing below commands" },
  { what: "randomness", file: "commands/up.ts", why: "randomness enters where the router is started" },
  { what: "randomness", file: "commands/router.ts", why: "randomness enters where the router is started" },
  { what: "systemClock", file: "clock.ts", why: "defines it" },
  { what: "systemClock", file: "engine/serve.ts", why: "default of a whole engine" },
  { what: "systemClock", file: "commands/lab.ts", why: "says how long the rest will take" },
  { what: "systemClock", file: "commands/bench.ts", why: "the machine's clock enters here" },
  { what: "timers", file: "commands/bench.ts", why: "keeps the process alive until its first request is under way" },
  { what: "systemClock", file: "commands/up.ts", why: "the machine's clock enters here" },
  { what: "systemClock", file: "commands/router.ts", why: "the machine's clock enters here" },
];
