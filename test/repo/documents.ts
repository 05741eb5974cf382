// The repository's files as its own tests see them: what git knows or would add.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { root } from "./imports.ts";

/** Paths relative to the root, of files that are or could be committed; null where there is no git. */
export function repositoryFiles(): string[] | null {
  try {
    const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return [...new Set(listed.split("\0").filter((path) => path !== ""))].toSorted();
  } catch {
    return null;
  }
}

export function readText(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** The name that GitHub gives to a heading. */
export function anchorOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}
