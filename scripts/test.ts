// `npm test`: the fast tier. The checks, then every test that needs nothing but npm.
//
//   npm test -- --only test/http            these tests alone, without the checks
//   npm test -- --no-check                  all tests, without the checks
//   npm test -- --test-name-pattern drain   other options go to node --test
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

import { behaviourTests } from "./support/behaviour-tests.ts";
import { checkSteps } from "./support/check-steps.ts";
import { runTests, testArguments, testFiles } from "./support/node-test.ts";
import { runSteps } from "./support/steps.ts";

/** Longest that one file may take. */
const fileTimeoutMs = 120_000;

const { only, check, rest } = testArguments(process.argv.slice(2));
const failed = check ? await runSteps(checkSteps, Math.min(2, availableParallelism())) : [];

const files = testFiles("test/**/*.test.ts", ["test/e2e/"], only);
if (files.length === 0) {
  process.stdout.write(`no test file matches ${only.join(" ")}\n`);
  process.exitCode = 1;
} else {
  // one more than there are cores, as many tests wait
  const concurrency = Math.min(4, availableParallelism() + 1);
  const options = [`--test-concurrency=${concurrency}`, `--test-timeout=${fileTimeoutMs}`, ...rest];
  const folder = mkdtempSync(join(tmpdir(), "lmstack-tests-"));
  const list = join(folder, "passed.json");
  let code: number;
  try {
    code = await runTests(files, options, {
      LMSTACK_PASSED_TESTS: list,
      // Hundreds of processes read the same sources, and reading them is half of what a short one costs.
      NODE_COMPILE_CACHE: join(folder, "compiled"),
    }).done;
    // of all tests or of none: part of them proves nothing about the others
    if (code === 0 && only.length === 0 && rest.length === 0) code = silent(list);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
  if (failed.length > 0) {
    process.stdout.write(`checks failed before the tests: ${failed.join(", ")}\n`);
  }
  process.exitCode = code === 0 && failed.length > 0 ? 1 : code;
}

/** Tests that docs/behaviour.md names and that did not run. @returns exit code */
function silent(list: string): number {
  const passed = JSON.parse(readFileSync(list, "utf8")) as string[];
  const missing = behaviourTests().filter(
    ({ file, pattern }) => !file.startsWith("test/e2e/") && !passed.some((name) => pattern.test(name)),
  );
  for (const { file, rows, name } of missing)
    process.stdout.write(`${file}: ${rows.join(", ")}: ${name} is named in docs/behaviour.md and did not run\n`);
  return missing.length === 0 ? 0 : 1;
}
