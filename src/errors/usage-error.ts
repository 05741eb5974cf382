// What a person at a terminal did wrong: one line with option, value, reason and way out, exit code 2. Never a stack trace.

export class UsageError extends Error {
  override readonly name = "UsageError";
}
