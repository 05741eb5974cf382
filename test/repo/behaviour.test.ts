// docs/behaviour.md: every row is held by tests, and every test that names a row names one that there is. That the page is in
// step with the sources is checked with the other generated pages; that the tests ran, at the end of `npm test`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { behaviourGroups } from "../../scripts/docs/behaviour-rows.ts";
import { behaviourTests, testsIn } from "../../scripts/support/behaviour-tests.ts";
import { root } from "./imports.ts";

const rows = behaviourGroups.flatMap((group) => group.rows);
const tests = behaviourTests();

test("every row has a test, or says why it has none", () => {
  const held = new Set(tests.flatMap((one) => one.rows));
  assert.deepEqual(
    rows.filter(({ row, coming }) => !held.has(row) && coming === undefined).map(({ row }) => row),
    [],
  );
});

test("every row that a test names is a row", () => {
  const known = new Set(rows.map(({ row }) => row));
  assert.deepEqual(
    tests.filter((one) => !one.rows.every((row) => known.has(row))).map(({ file, name }) => `${file}: ${name}`),
    [],
  );
  assert.equal(known.size, rows.length);
});

test("no test that holds a row is skipped or put off in the sources", () => {
  const files = [...new Set(tests.map(({ file }) => file))].filter((file) => !file.startsWith("test/e2e/"));
  const skipping = /\btest\.(?:skip|todo|only)\(|\{\s*(?:skip|todo|only):/;
  assert.deepEqual(
    files.filter((file) => skipping.test(readFileSync(join(root, file), "utf8"))),
    [],
  );
});

test("names are read from strings and templates, whatever stands in their placeholders", () => {
  const source = [
    'test("A1: plain", () => {});',
    // oxlint-disable-next-line no-template-curly-in-string -- the source of a test
    'test(`B1, B3: an engine that ${what ? `says "}"` : "dies"} is replaced`, () => {});',
    'test("no row", () => {});',
    't.test("A2: a part of another", () => {});',
    'contest("A3: something else");',
  ].join("\n");
  const found = testsIn("x.test.ts", source);
  assert.deepEqual(
    found.map((one) => [one.rows, one.name]),
    [
      [["A1"], "plain"],
      [["B1", "B3"], "an engine that ... is replaced"],
    ],
  );
  assert.ok(found[1]?.pattern.test("B1, B3: an engine that dies is replaced"));
  assert.ok(!found[1]?.pattern.test("B1: an engine that dies is replaced"));
});
