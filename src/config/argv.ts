// The flags of a command line as a layer of raw settings. It knows the names of options and whether they take a value,
// never what a value means.

import { parseArgs } from "node:util";

import { isOptionName, optionOf, optionsOf, type OptionName } from "./catalogue/index.ts";
import type { Layer, Setting } from "./layer.ts";
import { nearest } from "./nearest.ts";
import type { OptionCommand } from "./option.ts";
import type { Problem } from "./problem.ts";

export interface ArgvLayer extends Layer {
  readonly help: boolean;
  readonly version: boolean;
}

/** Reads flags. Of a flag that is repeated the last one wins, unless it is made to be repeated. */
export function readArgv(command: OptionCommand, argv: readonly string[]): ArgvLayer {
  const names = optionsOf(command);
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {
    help: { type: "boolean", short: "h" },
    version: { type: "boolean" },
  };
  for (const name of names) options[name] = { type: optionOf(name).kind === "boolean" ? "boolean" : "string" };

  const settings = new Map<OptionName, Setting>();
  const problems: Problem[] = [];
  let help = false;
  let version = false;
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true, allowPositionals: true });
  for (const token of tokens) {
    if (token.kind === "positional") {
      // What follows an unknown flag is likely its value: one mistake, one problem.
      if (problems.length === 0) problems.push(stray(command, token.value));
      continue;
    }
    if (token.kind === "option-terminator") continue;
    if (token.name === "help") help = true;
    else if (token.name === "version") version = true;
    else addFlag(command, names, token, settings, problems);
  }
  return { settings, problems, warnings: [], help, version };
}

interface OptionToken {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function addFlag(
  command: OptionCommand,
  names: readonly OptionName[],
  token: OptionToken,
  settings: Map<OptionName, Setting>,
  problems: Problem[],
): void {
  const negated = token.name.startsWith("no-") && !isOptionName(token.name);
  const name = negated ? token.name.slice(3) : token.name;
  if (!isOptionName(name) || !names.includes(name) || (negated && optionOf(name).kind !== "boolean")) {
    problems.push(unknownFlag(command, names, token.rawName));
    return;
  }
  const option = optionOf(name);
  const origin = { name: token.rawName };
  const missing = { origin, value: null, reason: "needs a value", fix: `give ${option.expects}` };
  let text: string;
  if (option.kind === "boolean") {
    if (negated && token.value !== undefined) {
      problems.push({ origin, value: token.value, reason: "takes no value", fix: `write --no-${name} alone` });
      return;
    }
    text = negated ? "false" : (token.value ?? "true");
  } else if (token.value === undefined) {
    problems.push(missing);
    return;
  } else {
    // `--port --host x`: the value was forgotten, and no value here begins with two dashes.
    if (token.inlineValue !== true && token.value.startsWith("--")) {
      problems.push(missing);
      return;
    }
    text = token.value;
  }
  const before = settings.get(name)?.raw;
  const texts = option.repeatable && before !== undefined && "texts" in before ? [...before.texts, text] : [text];
  settings.set(name, { option: name, origin, raw: { texts } });
}

function stray(command: string, value: string): Problem {
  return {
    origin: { name: command },
    value,
    reason: "an argument where none is expected",
    fix: `options begin with --; see lmstack ${command} --help`,
  };
}

function unknownFlag(command: OptionCommand, names: readonly OptionName[], rawName: string): Problem {
  const name = rawName.replace(/^-+/, "").replace(/^no-/, "");
  const problem = { origin: { name: rawName }, value: null };
  if (isOptionName(name) && !names.includes(name)) {
    const [owner] = optionOf(name).commands;
    return {
      ...problem,
      reason: `not an option of lmstack ${command}`,
      fix: `lmstack ${owner} has it; see lmstack ${command} --help`,
    };
  }
  const near = nearest(name, names);
  return {
    ...problem,
    reason: "unknown option",
    fix: near === null ? `see lmstack ${command} --help` : `did you mean --${near}?`,
  };
}
