// The help is read in a terminal of 80 columns, and it lies if it misses an option.

import assert from "node:assert/strict";
import { test } from "node:test";

import { optionOf, optionsOf } from "../../src/config/catalogue/index.ts";
import { optionCommands } from "../../src/config/option.ts";
import { parse } from "./files.ts";

function printed(argv: readonly string[]): string {
  const parsed = parse(argv);
  assert.ok(parsed.command === "print");
  return parsed.text;
}

const helps: readonly (readonly string[])[] = [
  [],
  ["--help"],
  ["check"],
  ["help", "check"],
  ...optionCommands.flatMap((command) => [
    [command, "--help"],
    [command, "-h"],
    ["help", command],
  ]),
];

for (const argv of helps) {
  test(`lmstack ${argv.join(" ")} fits 80 columns and has no blanks at line ends`, () => {
    const text = printed(argv);
    assert.match(text, /^Usage: lmstack/);
    assert.ok(text.endsWith("\n") && !text.endsWith("\n\n"));
    for (const line of text.split("\n")) {
      assert.ok(line.length <= 80, line);
      assert.equal(line, line.trimEnd());
    }
  });
}

for (const command of optionCommands) {
  test(`the help of ${command} names every option of it`, () => {
    const text = printed([command, "--help"]);
    for (const name of optionsOf(command)) assert.match(text, new RegExp(`--(\\[no-\\])?${name}\\b`), name);
  });
}

test("what is not built stands apart from what works", () => {
  const [works = "", rest = ""] = printed(["router", "--help"]).split("Known, not built yet:");
  for (const name of optionsOf("router")) {
    const here = new RegExp(`^  --(\\[no-\\])?${name}\\b`, "m").test(works);
    assert.equal(here, optionOf(name).state === "works", name);
    if (!here) assert.match(rest, new RegExp(`--${name}\\b`));
  }
});

test("asking for help wins over mistakes beside it", () => {
  assert.match(printed(["router", "--prot", "x", "--help"]), /^Usage: lmstack router/);
});
