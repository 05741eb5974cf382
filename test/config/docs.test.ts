// The generated pages are in step with their sources, and the schema says the same as the loader.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { optionNames } from "../../src/config/catalogue/index.ts";
import { configurationPage } from "../../src/config/docs/configuration.ts";
import { errorsPage } from "../../src/config/docs/errors.ts";
import { configSchema } from "../../src/config/docs/json-schema.ts";
import { environmentName } from "../../src/config/option.ts";
import { errorCatalogue } from "../../src/errors/catalogue.ts";

test("the generated documentation is in step with the sources", async () => {
  const script = fileURLToPath(new URL("../../scripts/docs.ts", import.meta.url));
  await promisify(execFile)(process.execPath, [script, "--check"]);
});

test("the configuration page names every option with its variable", () => {
  const page = configurationPage();
  for (const name of optionNames) {
    assert.ok(page.includes(`| \`--${name}`), name);
    assert.ok(page.includes(`\`${environmentName(name)}\``), name);
  }
});

test("the error page names every error", () => {
  const page = errorsPage();
  for (const code of Object.keys(errorCatalogue)) assert.ok(page.includes(`| \`${code}\``), code);
});

test("the schema knows both spellings of a key, and nothing that is refused", () => {
  const properties = configSchema()["properties"] as Record<string, unknown>;
  assert.ok(Object.hasOwn(properties, "max-body-bytes") && Object.hasOwn(properties, "max_body_bytes"));
  for (const name of ["callbacks", "feature-gates", "enable-batch-api", "config", "sim-api"]) {
    assert.ok(!Object.hasOwn(properties, name), name);
  }
  assert.doesNotMatch(JSON.stringify(properties), /disaggregated_prefill"|"external-only"|"null"/);
});
