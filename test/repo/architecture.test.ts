// ARCHITECTURE.md tells the truth: its tree is the tree, its table names every error with the status that it has.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { errorCatalogue } from "../../src/errors/catalogue.ts";
import { readText } from "./documents.ts";
import { sourceFiles } from "./imports.ts";

const page = readText("ARCHITECTURE.md");

/** Paths below `src/` of the tree; folders end in a slash. */
function treePaths(): string[] {
  const block = /```text\nsrc\/\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const folders: string[] = [];
  return block
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, indent = "", name = ""] = /^(\s*)(\S+)/.exec(line) ?? [];
      const depth = indent.length / 2 - 1;
      folders.length = depth;
      const path = folders.join("") + name;
      if (name.endsWith("/")) folders.push(name);
      return path;
    });
}

describe("the tree of ARCHITECTURE.md", () => {
  const tree = treePaths();
  const files = sourceFiles();
  const folders = new Set(
    files.flatMap((file) =>
      file
        .split("/")
        .slice(0, -1)
        .map((_, i, parts) => `${parts.slice(0, i + 1).join("/")}/`),
    ),
  );

  test("names only what exists", () => {
    const known = new Set([...files, ...folders]);
    assert.deepEqual(
      tree.filter((path) => !known.has(path)),
      [],
    );
  });

  test("names every folder of src", () => {
    assert.deepEqual([...folders].filter((folder) => !tree.includes(folder)).toSorted(), []);
  });

  test("names every file, but those of a folder that stands for all of its files", () => {
    const whole = new Set(
      tree.filter((path) => path.endsWith("/") && !tree.some((other) => other !== path && other.startsWith(path))),
    );
    const folderOf = (file: string): string => file.slice(0, file.lastIndexOf("/") + 1);
    assert.deepEqual(
      files.filter((file) => !tree.includes(file) && !whole.has(folderOf(file))),
      [],
    );
  });
});

describe("the life of a request in ARCHITECTURE.md", () => {
  const named = [...page.matchAll(/(\d{3}) `(\w+)`/g)].map(([, status, code]) => ({
    status: Number(status),
    code: code ?? "",
  }));

  test("names every error of the catalogue and no other", () => {
    assert.deepEqual([...new Set(named.map(({ code }) => code))].toSorted(), Object.keys(errorCatalogue).toSorted());
  });

  test("gives each the status of the catalogue", () => {
    const statuses = new Map<string, number>(
      Object.entries(errorCatalogue).map(([code, { status }]) => [code, status]),
    );
    assert.deepEqual(
      named.filter(({ status, code }) => statuses.get(code) !== status),
      [],
    );
  });

  test("names files that exist", () => {
    const phases = page.slice(0, page.indexOf("## The map"));
    const known = new Set(sourceFiles());
    const paths = [...phases.matchAll(/`([\w-]+\/[\w/-]+\.ts)`/g)].map(([, path]) => path ?? "");
    assert.ok(paths.length > 5);
    assert.deepEqual(
      paths.filter((path) => !known.has(path)),
      [],
    );
  });
});
