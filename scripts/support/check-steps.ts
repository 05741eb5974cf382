// What `npm run check` looks at, and `npm test` before it runs the tests.
import type { Step } from "./steps.ts";

export const checkSteps: readonly Step[] = [
  {
    name: "lint",
    command: "oxlint",
    args: ["--type-aware", "--format=unix", "--deny-warnings", "--ignore-pattern", "test/e2e"],
    hint: "the rules and their reasons: .oxlintrc.json",
  },
  { name: "types", command: "tsc", args: ["--noEmit"] },
  { name: "types of the console", command: "tsc", args: ["--noEmit", "-p", "src/console/web"] },
  {
    name: "unused code",
    command: "knip",
    args: ["--no-progress"],
    hint: "delete what nobody uses, or list why it stays in knip.json",
  },
  { name: "generated docs", command: "node", args: ["scripts/docs.ts", "--check"], hint: "npm run docs" },
  { name: "format", command: "oxfmt", args: ["--list-different"], hint: "npx oxfmt formats these files in place" },
];

/** A test among the others, so `npm test` does not run it twice. */
export const importRules: Step = {
  name: "import rules",
  command: "node",
  args: ["--test", "--test-reporter=dot", "test/repo/imports.test.ts"],
  hint: "the allowed edges and their reasons: test/repo/rooms.ts",
};
