// What the configuration holds is read by the running code. The bug behind it: three options stood in the documents as
// working, were parsed and checked, and nobody ever looked at their values.
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadRouterConfig } from "../../src/config/parse-command.ts";
import { optionOf, type OptionName } from "../../src/config/catalogue/index.ts";
import { readText, repositoryFiles } from "./documents.ts";

/** Values that nobody reads yet, with the option that says so. */
const waiting: Readonly<Record<string, OptionName>> = {};

/** Names of all values in it, however deep. */
function namesIn(value: object): string[] {
  return Object.entries(value).flatMap(([name, inner]: [string, unknown]) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner) && !(inner instanceof Map)
      ? [name, ...namesIn(inner)]
      : [name],
  );
}

const files = repositoryFiles();

test(
  "each value of the router's configuration is read outside of config, or its option says `not yet`",
  {
    skip: files === null ? "no git here" : false,
  },
  () => {
    const code = (files ?? [])
      .filter((path) => /^src\/(?!config\/|engine\/).*\.ts$/.test(path))
      .map(readText)
      .join("\n");
    const configs = [
      ["--static-backends", "http://e:1", "--static-backend-health-checks"],
      ["--service-discovery", "k8s"],
      ["--service-discovery", "dns", "--dns-names", "e.test"],
    ].map((argv) => loadRouterConfig(argv, {}).config);
    const unread = [...new Set(configs.flatMap(namesIn))].filter((name) => !new RegExp(`\\b${name}\\b`).test(code));
    assert.deepEqual(unread.sort(), Object.keys(waiting).sort());
    for (const name of Object.values(waiting)) assert.equal(optionOf(name).state, "not yet", name);
  },
);
