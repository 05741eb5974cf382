// Shell scripts have no compiler; shellcheck is what there is.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { test } from "node:test";

import { root } from "../repo/imports.ts";
import { requireTool } from "./requires.ts";

test("shellcheck has nothing against the scripts that users and CI run", (t) => {
  const shellcheck = requireTool(t, "shellcheck");
  if (shellcheck === null) return;
  const files = ["utils/*.sh", "scripts/*.sh"].flatMap((pattern) => globSync(pattern, { cwd: root }));
  assert.ok(files.length > 5);
  const run = spawnSync(shellcheck, files, { cwd: root, encoding: "utf8" });
  assert.equal(run.stdout + run.stderr, "");
});
