// The text of a `--config` file as a layer of raw settings with line numbers. It must never let an unknown key pass: a
// mistyped option would silently keep its default.

import { LineCounter, isMap, isScalar, parseDocument } from "yaml";

import { isOptionName, optionsOf, type OptionName } from "./catalogue/index.ts";
import type { Layer, Setting } from "./layer.ts";
import { nearest } from "./nearest.ts";
import type { OptionCommand } from "./option.ts";
import type { Origin, Problem } from "./problem.ts";

/** Reads the text of a `--config` file: one map, keys are flag names with dashes or underscores. */
export function readConfigText(command: OptionCommand, path: string, text: string): Layer {
  const settings = new Map<OptionName, Setting>();
  const problems: Problem[] = [];
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const at = (offset: number | undefined): Pick<Origin, "file" | "line"> =>
    offset === undefined ? { file: path } : { file: path, line: counter.linePos(offset).line };

  for (const error of document.errors) {
    problems.push({
      origin: { name: "syntax", ...at(error.pos[0]) },
      value: null,
      reason: error.message.split("\n")[0] ?? error.message,
      fix: "correct the YAML",
    });
  }
  if (problems.length > 0) return { settings, problems, warnings: [] };
  if (document.contents === null) return { settings, problems, warnings: [] };
  if (!isMap(document.contents)) {
    const origin = { name: "contents", ...at(document.contents.range?.[0]) };
    problems.push({ origin, value: null, reason: "not a map", fix: "write one option a line, as in port: 8001" });
    return { settings, problems, warnings: [] };
  }
  const names: readonly OptionName[] = optionsOf(command).filter((name) => name !== "config");
  for (const pair of document.contents.items) {
    const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
    const origin = { name: key, ...at(isScalar(pair.key) ? pair.key.range?.[0] : undefined) };
    const name = key.replaceAll("_", "-");
    if (!isOptionName(name) || !names.includes(name)) {
      problems.push({ origin, value: null, reason: "unknown key", fix: hint(command, name, names) });
    } else if (settings.has(name)) {
      problems.push({ origin, value: null, reason: "given twice", fix: "remove one of them" });
    } else {
      const data: unknown = pair.value === null ? null : document.createNode(pair.value).toJSON();
      settings.set(name, { option: name, origin, raw: { data } });
    }
  }
  return { settings, problems, warnings: [] };
}

function hint(command: OptionCommand, name: string, names: readonly OptionName[]): string {
  if (name === "config") return "a configuration file cannot name another one";
  const near = nearest(name, names);
  return near === null ? `keys are the flags of lmstack ${command} without the dashes` : `did you mean ${near}?`;
}
