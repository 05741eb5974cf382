// What the documents promise exists: links, npm scripts, files; and the README's first commands stay to the letter.
import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { describe, test } from "node:test";

import { anchorOf, readText, repositoryFiles } from "./documents.ts";
import { root } from "./imports.ts";

const files = repositoryFiles();
const pages = (files ?? []).filter(
  (path) => path.endsWith(".md") && !path.includes("/fixtures/") && existsSync(join(root, path)),
);
const skip = files === null ? "no git here" : false;

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
}

/** Text outside of code, where a bracket is no link. */
function prose(page: string): string {
  return readText(page)
    .replaceAll(/```[\s\S]*?```/g, "")
    .replaceAll(/`[^`\n]*`/g, "code");
}

/** Commands in code, inline or in a block, one by one. */
function commands(page: string): string[] {
  const text = readText(page);
  const blocks = [...text.matchAll(/```[^\n]*\n([\s\S]*?)```/g)].flatMap(([, block = ""]) => block.split("\n"));
  const spans = [...text.replaceAll(/```[\s\S]*?```/g, "").matchAll(/`([^`\n]+)`/g)].map(([, span = ""]) => span);
  return [...blocks, ...spans].flatMap((line) => line.split("&&")).map((command) => command.trim());
}

describe("documents", { skip }, () => {
  test("links lead somewhere", () => {
    const broken: string[] = [];
    for (const page of pages) {
      for (const [, target = ""] of prose(page).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(target)) continue;
        const [path = "", anchor] = target.split("#");
        const file = path === "" ? page : posix.join(dirname(page), path);
        if (!existsSync(join(root, file))) broken.push(`${page}: ${target}`);
        else if (anchor !== undefined && statSync(join(root, file)).isFile()) {
          const headings = [...readText(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading));
          if (!headings.includes(anchor)) broken.push(`${page}: ${target}`);
        }
      }
    }
    assert.deepEqual(broken, []);
  });

  test("npm scripts that they name exist", () => {
    const { scripts } = JSON.parse(readText("package.json")) as Manifest;
    const known = new Set([...Object.keys(scripts), "ci", "run", "install", "pack"]);
    const wrong: string[] = [];
    for (const page of pages) {
      for (const command of commands(page)) {
        const name = /^npm (?:run )?(?:-s )?([\w:-]+)/.exec(command)?.[1];
        if (name !== undefined && !known.has(name)) wrong.push(`${page}: ${command}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  test("files that they name by path exist", () => {
    const wrong: string[] = [];
    for (const page of pages) {
      for (const [, path = ""] of readText(page).matchAll(/`((?:src|test|scripts|docs)\/[\w./-]+)`/g)) {
        if (!existsSync(join(root, path))) wrong.push(`${page}: ${path}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  test("the decisions are numbered without a gap and listed", () => {
    const names = pages.filter((page) => /^docs\/decisions\/\d/.test(page)).map((page) => posix.basename(page));
    assert.deepEqual(
      names.map((name) => Number(name.slice(0, 4))),
      names.map((_, i) => i + 1),
    );
    const list = readText("docs/decisions/README.md");
    assert.deepEqual(
      names.filter((name) => !list.includes(`(${name})`)),
      [],
    );
  });
});

describe("README", () => {
  const readme = readText("README.md");

  for (const line of [
    "npm ci && npm start",
    "npm ci && npm test",
    `curl http://localhost:30080/completions -H "content-type: application/json" -d '{"model": "facebook/opt-125m", "prompt": "Write a simple poem: ", "stream":false, "max_tokens": 30}'`,
    "helm install lmstack . -f values-customized.yaml",
    "kubectl port-forward svc/lmstack-router-service 30080:80",
    "npm run -s lmstack -- router --static-backends http://gpu-1:8000,http://gpu-2:8000 --port 8000",
  ]) {
    test(`says ${line.slice(0, 60)}`, () => assert.ok(readme.includes(line)));
  }
});
