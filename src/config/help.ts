// The text of `--help`, made from the catalogue: grouped, wrapped to 80 columns, what works first. Pure.

import { optionOf, optionsOf, type OptionName } from "./catalogue/index.ts";
import { defaultOf, optionGroups, type OptionCommand, type OptionState } from "./option.ts";

const width = 80;
const column = 30;

const commandSummaries = {
  up: "router and simulated engines on this machine, no GPU needed",
  router: "the router alone, in front of running engines",
  engine: "a simulated vLLM engine, or several",
  lab: "policies and fleets judged on a workload, in virtual time",
  bench: "load on an OpenAI-compatible URL, in real time",
  check: "says what is wrong in a configuration file, or with a running stack",
  top: "the endpoints of a running router, live in a terminal",
} as const;

const usages: Readonly<Record<OptionCommand, readonly string[]>> = {
  router: ["lmstack router --static-backends URL,... [options]", "lmstack router --dynamic-config-yaml FILE [options]"],
  up: ["lmstack up [options]"],
  engine: ["lmstack engine [options]"],
  lab: ["lmstack lab --trace FILE [options]", "lmstack lab --workload NAME [options]"],
  bench: ["lmstack bench --url URL [options]", "lmstack bench --compare A.json B.json"],
};

export function mainHelp(): string {
  const rows = Object.entries(commandSummaries).map(([name, summary]) => `  ${name.padEnd(9)} ${summary}`);
  return [
    "Usage: lmstack COMMAND [options]",
    "",
    "Commands:",
    ...rows,
    "",
    "  lmstack COMMAND --help    options of a command",
    "  lmstack --version         version",
    "",
  ].join("\n");
}

export function checkHelp(): string {
  return [
    "Usage: lmstack check config FILE",
    "       lmstack check URL [--admin-key-file FILE]",
    "",
    ...wrap(
      "Checks a file of options (--config) or a dynamic configuration file; which of them it is, its keys tell. Prints a summary, or every problem with its line and the way out. Exit code 0: good, 2: problems.",
      "",
    ),
    "",
    ...wrap(
      "With the URL of a router: asks it which engines it has, whether they are well, and, under kvaware, which of them publish no KV events, and why. Exit code 0: good, 1: something is wrong.",
      "",
    ),
    "",
  ].join("\n");
}

export function topHelp(): string {
  return [
    "Usage: lmstack top [URL] [--key-file FILE] [--once]",
    "",
    ...wrap(
      "Shows the endpoints of a running router and its latest requests, once a second, until Ctrl-C. URL is http://localhost:30080 unless another one is given; the router has to serve the console (`lmstack up` does, `lmstack router` with --console).",
      "",
    ),
    "",
    "  --key-file FILE  a key of the router's --admin-key-file, in the first line",
    "  --once           one look, then end",
    "",
  ].join("\n");
}

export function commandHelp(command: OptionCommand): string {
  const names = optionsOf(command);
  const lines = usages[command].map((usage, i) => `${i === 0 ? "Usage: " : "       "}${usage}`);
  lines.push("", ...wrap(intro(command), ""));
  for (const group of optionGroups) {
    const inGroup = names.filter((name) => optionOf(name).group === group && optionOf(name).state === "works");
    // A group whose options are all compatibility and refusals has nothing to offer.
    const useful = inGroup.filter((name) => !optionOf(name).refusals.some((refusal) => refusal.when === "set"));
    if (useful.length === 0) continue;
    lines.push("", `${group}:`, ...useful.flatMap((name) => optionLines(name, command)));
  }
  lines.push("", "Other:", ...row("  -h, --help", "This text."), ...row("  --version", "The version."));
  for (const [state, title] of [
    ["not yet", "Known, not built yet:"],
    ["no effect", "Known, without effect here:"],
  ] as const satisfies readonly (readonly [OptionState, string])[]) {
    const flags = names.filter((name) => optionOf(name).state === state).map((name) => `--${name}`);
    if (flags.length > 0) lines.push("", title, ...wrap(flags.join(", "), "  "));
  }
  return `${lines.join("\n")}\n`;
}

function intro(command: OptionCommand): string {
  const summary = `${commandSummaries[command][0]?.toUpperCase()}${commandSummaries[command].slice(1)}.`;
  const env = "Defaults are in brackets. Each option can also be given as LMSTACK_OPTION_NAME";
  return command !== "router" && command !== "up"
    ? `${summary} ${env}.`
    : `${summary} ${env}, or in the file of --config; docs/configuration.md has them all.`;
}

function optionLines(name: OptionName, command: OptionCommand): string[] {
  const option = optionOf(name);
  const negatable = option.kind === "boolean" && defaultOf(option, command) !== false;
  const flag = `  --${negatable ? "[no-]" : ""}${name}${option.placeholder === "" ? "" : ` ${option.placeholder}`}`;
  const notes: string[] = [];
  if (option.repeatable) notes.push("May be repeated.");
  const shown = defaultText(name, command);
  if (shown !== null) notes.push(`[${shown}]`);
  return row(flag, [option.help, ...notes].join(" "));
}

/** The default as it would be typed; `null` where there is none to tell. */
export function defaultText(name: OptionName, command: OptionCommand): string | null {
  const value = defaultOf(optionOf(name), command);
  if (value === null || value === "" || value === false) return null;
  if (value === true) return "on";
  if (Array.isArray(value)) return value.length === 0 ? null : value.join(",");
  if (typeof value === "object") return null;
  return String(value);
}

function row(left: string, text: string): string[] {
  const lines = wrap(text, " ".repeat(column));
  if (left.length > column - 2) return [left, ...lines];
  const [first = "", ...rest] = lines;
  return [left.padEnd(column) + first.slice(column), ...rest];
}

/** Breaks a text at blanks so that no line is wider than the screen; the indent is part of each line. */
function wrap(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line !== indent && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  lines.push(line);
  return lines;
}
