// `npm run check`: everything that can be said of the sources without running them. Exit code 1 when one step fails.
import { availableParallelism } from "node:os";

import { checkSteps, importRules } from "./support/check-steps.ts";
import { runSteps } from "./support/steps.ts";

const failed = await runSteps([...checkSteps, importRules], Math.min(2, availableParallelism()));
if (failed.length > 0) {
  process.stdout.write(`${failed.length} of ${checkSteps.length + 1} checks failed: ${failed.join(", ")}\n`);
  process.exitCode = 1;
}
