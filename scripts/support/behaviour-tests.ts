// Which tests hold which row of the promised behaviour: read from the names of the tests in the sources, so that no list can
// be out of step with them.
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { conformanceCases } from "../../test/conformance/cases.ts";
import { testFiles } from "./node-test.ts";
import { root } from "./steps.ts";

export interface BehaviourTest {
  readonly file: string;
  readonly rows: readonly string[];
  /** Without the rows; `...` where the source fills something in. */
  readonly name: string;
  /** Matches the names under which it runs. */
  readonly pattern: RegExp;
}

const call = /(?<![\w.])test\(\s*([`"])/g;
const tagged = /^((?:[A-H]\d+)(?:, [A-H]\d+)*): ([\s\S]*)$/;

/** The cases of the conformance suite are run under names that a table gives. */
const conformance: readonly BehaviourTest[] = conformanceCases.map(({ id, title }) => ({
  file: "test/conformance/router.test.ts",
  rows: [id],
  name: title,
  pattern: new RegExp(`^${escaped(`${id}: ${title}`)}$`),
}));

/** Every test of the repository whose name begins with rows. What test/repo quotes as an example is none. */
export function behaviourTests(): BehaviourTest[] {
  const named = testFiles("test/**/*.test.ts", ["test/e2e/node_modules/", "test/repo/"], []).flatMap((file) =>
    testsIn(file, readFileSync(join(root, file), "utf8")),
  );
  return [...named, ...conformance];
}

/** Those of one file, by its source. */
export function testsIn(file: string, source: string): BehaviourTest[] {
  const found: BehaviourTest[] = [];
  for (const match of source.matchAll(call)) {
    const pieces = literal(source, match.index + match[0].length, match[1] ?? '"');
    const [, rows = "", name = ""] = tagged.exec(pieces.join("...")) ?? [];
    if (rows === "") continue;
    const pattern = new RegExp(`^${pieces.map((piece) => escaped(piece)).join("[\\s\\S]*")}$`);
    found.push({ file, rows: rows.split(", "), name: name.replaceAll(/\s+/g, " "), pattern });
  }
  return found;
}

/** The fixed pieces of a string or template that begins here. */
function literal(source: string, start: number, quote: string): string[] {
  const pieces = [""];
  for (let at = start; at < source.length && source[at] !== quote; at++) {
    if (source[at] === "\\") pieces[pieces.length - 1] += source[++at] ?? "";
    else if (quote === "`" && source.startsWith("${", at)) {
      at = endOfPlaceholder(source, at + 2);
      pieces.push("");
    } else pieces[pieces.length - 1] += source[at] ?? "";
  }
  return pieces;
}

/** Place of the brace that closes a placeholder. */
function endOfPlaceholder(source: string, start: number): number {
  let depth = 1;
  for (let at = start; at < source.length; at++) {
    const here = source[at] ?? "";
    if (here === "{") depth++;
    else if (here === "}" && --depth === 0) return at;
    else if (here === '"' || here === "'" || here === "`") {
      while (++at < source.length && source[at] !== here) if (source[at] === "\\") at++;
    }
  }
  return source.length;
}

/** As it stands, in an expression. */
function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
