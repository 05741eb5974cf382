// docs/behaviour.md: each promised behaviour with the tests that hold it. Pure: rows and tests in, text out.
import { generatedNote } from "../../src/config/docs/markdown.ts";
import type { BehaviourTest } from "../support/behaviour-tests.ts";
import type { BehaviourGroup } from "./behaviour-rows.ts";

export function behaviourPage(groups: readonly BehaviourGroup[], tests: readonly BehaviourTest[]): string {
  const lines = [
    generatedNote("scripts/docs/behaviour-rows.ts and the names of the tests"),
    "# Behaviour",
    "",
    "What the router promises, whatever engines, clients and the network do, and the tests that hold it to each promise on real sockets. `npm test` fails when a test that is named here does not run. Beside them `npm run chaos` mixes all of it from a seed, and holds what clients, log and metrics saw against each other.",
  ];
  for (const { letter, title, rows } of groups) {
    lines.push("", `## ${letter}. ${title}`);
    for (const { row, title: name, promise, coming } of rows) {
      lines.push("", `### ${row} ${name}`, "", promise);
      const own = tests.filter((test) => test.rows.includes(row));
      if (own.length === 0) lines.push("", `No test: ${coming ?? "MISSING"}.`);
      else lines.push("");
      for (const file of new Set(own.map((test) => test.file))) {
        const names = own.filter((test) => test.file === file).map((test) => `  - ${escaped(test.name)}`);
        lines.push(`- [${file}](../${file})${file.startsWith("test/e2e/") ? " (full tier)" : ""}`, ...new Set(names));
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

/** As it stands, in Markdown. */
function escaped(text: string): string {
  return text.replaceAll(/[\\`*_[\]<>|]/g, (sign) => `\\${sign}`);
}
