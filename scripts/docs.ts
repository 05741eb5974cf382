// Writes the documentation that is generated from the sources. `--check` writes nothing and names the files that are out
// of step. To add a page: a pure function that returns its text, and a row here.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { configurationPage } from "../src/config/docs/configuration.ts";
import { errorsPage } from "../src/config/docs/errors.ts";
import { configSchemaText } from "../src/config/docs/json-schema.ts";
import { observabilityFiles } from "../observability/files.ts";
import { knownKeys, valuesPage, valuesSchema, valuesYaml } from "./chart/generate.ts";
import { apiPage } from "./docs/api.ts";
import { behaviourGroups } from "./docs/behaviour-rows.ts";
import { behaviourPage } from "./docs/behaviour.ts";
import { metricsPage } from "./docs/metrics.ts";
import { behaviourTests } from "./support/behaviour-tests.ts";

/** Path from the root of the repository, and what makes its text. */
const pages: readonly (readonly [path: string, generate: () => string])[] = [
  ["docs/configuration.md", configurationPage],
  ["docs/errors.md", errorsPage],
  ["docs/api.md", apiPage],
  ["docs/metrics.md", metricsPage],
  ["docs/behaviour.md", () => behaviourPage(behaviourGroups, behaviourTests())],
  ["docs/config.schema.json", configSchemaText],
  ...observabilityFiles,
  ["docs/helm-values.md", valuesPage],
  ["helm/values.yaml", valuesYaml],
  ["helm/values.schema.json", valuesSchema],
  ["helm/files/known.json", knownKeys],
];

const root = fileURLToPath(new URL("..", import.meta.url));

function present(path: string): string | null {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return null;
  }
}

const stale = pages.filter(([path, generate]) => present(path) !== generate());

if (process.argv.includes("--check")) {
  for (const [path] of stale) process.stderr.write(`${path} is out of step: run node scripts/docs.ts\n`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const [path, generate] of stale) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), generate());
    process.stdout.write(`${path} written\n`);
  }
}
