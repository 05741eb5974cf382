// Files that exist only in a test, and the shortest way to a parsed command. Helper of this folder.

import assert from "node:assert/strict";

import type { Files } from "../../src/config/files.ts";
import { parseCommand, type Environment, type ParsedCommand } from "../../src/config/parse-command.ts";
import { UsageError } from "../../src/errors/usage-error.ts";

export function filesOf(contents: Readonly<Record<string, string>>): Files {
  return {
    read(path) {
      // Only its own names: a file called `toString` is not in the prototype of an object.
      const text = Object.hasOwn(contents, path) ? contents[path] : undefined;
      if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: "ENOENT" });
      return text;
    },
  };
}

export interface Given {
  readonly env?: Environment;
  readonly files?: Readonly<Record<string, string>>;
}

export function parse(argv: readonly string[], given: Given = {}): ParsedCommand {
  return parseCommand(argv, given.env ?? {}, filesOf(given.files ?? {}));
}

/** Parses `lmstack router` with one engine, which every router needs. */
export function parseRouter(argv: readonly string[], given: Given = {}) {
  const parsed = parse(["router", "--static-backends", "http://e:8000", ...argv], given);
  assert.equal(parsed.command, "router");
  return parsed;
}

/** The one line that a person would read. */
export function mistakeOf(argv: readonly string[], given: Given = {}): string {
  try {
    parse(argv, given);
  } catch (error) {
    assert.ok(error instanceof UsageError, `not a UsageError: ${String(error)}`);
    assert.doesNotMatch(error.message, /\n/);
    return error.message;
  }
  return assert.fail(`accepted: ${argv.join(" ")}`);
}
