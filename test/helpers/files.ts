// Files that tests write: in a directory of their own, gone with the test.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** Writes a file and gives its path. */
export function temporaryFile(t: TestContext, name: string, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), "lmstack-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}
