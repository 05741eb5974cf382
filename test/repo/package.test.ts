// The package and its lists: every dependency has a reason and an exact version, and nothing in the repository tells on which
// machine, or through which mirror, somebody worked.
import assert from "node:assert/strict";
import { existsSync, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";

import { readText, repositoryFiles } from "./documents.ts";
import { root } from "./imports.ts";

interface Manifest {
  readonly license?: string;
  readonly files?: readonly string[];
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly resolved?: string; readonly license?: string; readonly version?: string }>
  >;
}

const manifest = JSON.parse(readText("package.json")) as Manifest;
const e2e = JSON.parse(readText("test/e2e/package.json")) as Manifest;
const files = repositoryFiles();
const skip = files === null ? "no git here" : false;

/** Package -> licence of the table below a heading of docs/dependencies.md. */
function listed(heading: string): Map<string, string> {
  const page = readText("docs/dependencies.md");
  const start = page.indexOf(`## ${heading}\n`);
  assert.ok(start >= 0, heading);
  const end = page.indexOf("\n## ", start);
  const section = page.slice(start, end < 0 ? undefined : end);
  const rows = section.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm);
  return new Map(
    [...rows].map(([, name = "", licence = "", reason = ""]) => [
      name,
      reason.trim() === "" ? "no reason" : licence.trim(),
    ]),
  );
}

describe("dependencies", () => {
  const groups = [
    ["At run time", manifest.dependencies, "package-lock.json"],
    ["Optional: Node itself", manifest.optionalDependencies, "package-lock.json"],
    ["For development", manifest.devDependencies, "package-lock.json"],
    ["Only for the full tier", e2e.dependencies, "test/e2e/package-lock.json"],
  ] as const;

  for (const [heading, dependencies = {}, lockPath] of groups) {
    test(`docs/dependencies.md lists those ${heading.toLowerCase()}, with their licence`, () => {
      const lock = JSON.parse(readText(lockPath)) as Lock;
      const actual = Object.keys(dependencies).map((name) => [
        name,
        lock.packages[`node_modules/${name}`]?.license ?? "unknown",
      ]);
      const given = listed(heading);
      assert.deepEqual(Object.fromEntries(given), Object.fromEntries(actual));
    });

    test(`versions of those ${heading.toLowerCase()} are exact and those of the lock file`, () => {
      const lock = JSON.parse(readText(lockPath)) as Lock;
      const wrong = Object.entries(dependencies).filter(
        ([name, version]) => lock.packages[`node_modules/${name}`]?.version !== version,
      );
      assert.deepEqual(wrong, []);
    });
  }

  test("lock files name no registry but the public one", () => {
    for (const path of ["package-lock.json", "test/e2e/package-lock.json"]) {
      const lock = JSON.parse(readText(path)) as Lock;
      const hosts = Object.values(lock.packages).flatMap(({ resolved }) =>
        resolved === undefined ? [] : [new URL(resolved).host],
      );
      assert.deepEqual(
        [...new Set(hosts)].filter((host) => host !== "registry.npmjs.org"),
        [],
        path,
      );
    }
  });
});

/** What a folder takes on the disk, in MB of 1024 kB, as `du` counts it. @param seen files that were counted: some are linked */
function diskMb(folder: string, seen: Set<number>): number {
  let blocks = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const file = lstatSync(join(entry.parentPath, entry.name));
    if (!seen.has(file.ino)) blocks += file.blocks;
    seen.add(file.ino);
  }
  return (blocks * 512) / 1024 ** 2;
}

// Packages came one by one until there were 545 MB. What only the full tier needs belongs into test/e2e/package.json.
test("node_modules stays under 500 MB", { skip: process.platform === "linux" ? false : "sizes of Linux" }, () => {
  const folder = join(root, "node_modules");
  const packages = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const seen = new Set<number>();
  const sizes = packages.map(({ name }) => [name, diskMb(join(folder, name), seen)] as const);
  const total = sizes.reduce((sum, [, mb]) => sum + mb, 0);
  const largest = sizes.toSorted((x, y) => y[1] - x[1]).slice(0, 10);
  assert.ok(
    total < 500,
    `${total.toFixed(0)} MB: ${largest.map(([name, mb]) => `${name} ${mb.toFixed(0)}`).join(", ")}`,
  );
});

describe("the package", () => {
  test("is MIT, and says so in LICENSE", () => {
    assert.equal(manifest.license, "MIT");
    assert.match(readText("LICENSE"), /^MIT License\n\nCopyright \(c\) \d{4} LMStack contributors\n/);
  });

  test("publishes compiled code and documents, no sources", () => {
    const published = manifest.files ?? [];
    assert.ok(published.includes("dist") && published.includes("docs"));
    assert.ok(!published.some((path) => path.startsWith("src") || path.startsWith("test")));
  });

  test("scripts start files that exist", () => {
    const named = Object.values(manifest.scripts ?? {}).flatMap(
      (script) => script.match(/(?:\.\/)?(?:scripts|src|test)\/[\w./-]+/g) ?? [],
    );
    assert.ok(named.length > 4);
    assert.deepEqual(
      named.filter((path) => !existsSync(join(root, path))),
      [],
    );
  });
});

describe("the repository", { skip }, () => {
  test("names no machine's folders and no mirror", () => {
    // pieces, or this file would find itself; a path of a test's own making below /tmp is fine
    const folders = ["work", "home/[a-z]", "root", "Users/[A-Za-z]"].map(
      (folder) => `(?<![\\w.~-])/${folder}(?:/|\\b)`,
    );
    const places = ["localhost:4873", "artifactory", "\\.internal/", "verdaccio"];
    const telling = new RegExp([...folders, ...places].join("|"));
    const text =
      /\.(?:ts|mjs|js|json|jsonc|md|yml|yaml|sh|svg|lua|toml|txt)$|(?:^|\/)(?:Dockerfile|LICENSE|run|\.npmrc|\.gitignore|\.dockerignore)$/;
    const found: string[] = [];
    for (const path of files ?? []) {
      if (!text.test(path) || path === "test/repo/package.test.ts" || !existsSync(join(root, path))) continue;
      for (const [i, line] of readText(path).split("\n").entries()) {
        if (telling.test(line)) found.push(`${path}:${i + 1}: ${line.trim().slice(0, 100)}`);
      }
    }
    assert.deepEqual(found, []);
  });
});
