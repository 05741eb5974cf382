// `npm test`: the fast tier. The checks, then every test that needs nothing but npm.
//
//   npm test -- --only test/http            these tests alone, without the checks
//   npm test -- --no-check                  all tests, without the checks
//   npm test -- --test-name-pattern drain   other options go to node --test
import { availableParallelism } from "node:os";

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
  const concurrency = Math.max(2, Math.min(4, availableParallelism()));
  const options = [`--test-concurrency=${concurrency}`, `--test-timeout=${fileTimeoutMs}`, ...rest];
  const code = await runTests(files, options).done;
  if (failed.length > 0) {
    process.stdout.write(`checks failed before the tests: ${failed.join(", ")}\n`);
  }
  process.exitCode = code === 0 && failed.length > 0 ? 1 : code;
}
