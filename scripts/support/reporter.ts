// Reporter of `node --test` for both tiers: a line for each file and each slow test, skips with their reason, failures in
// full, and the counts last, where a person and a script look first.
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import type { TestEvent } from "node:test/reporters";
import { inspect } from "node:util";

/** A test that takes longer is named. */
const slowMs = 2_000;

interface Location {
  readonly file?: string | undefined;
  readonly line?: number | undefined;
}

function place({ file, line }: Location): string {
  return file === undefined ? "" : `${relative(process.cwd(), file)}${line === undefined ? "" : `:${line}`}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** `subtestsFailed` says nothing that the subtests have not said. */
function worthTelling(error: unknown): boolean {
  return !(error instanceof Error && "failureType" in error && error.failureType === "subtestsFailed");
}

/** Message and our own frames of the stack. */
function shown(error: unknown): string {
  const cause: unknown = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause, { depth: 6 });
  const lines = text.split("\n").filter((line) => !/^\s+at .*(node:internal|node:async_hooks)/.test(line));
  return lines.map((line) => `    ${line}`).join("\n");
}

// oxlint-disable-next-line import/no-default-export -- node:test takes a reporter from there
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failures: string[] = [];
  const names: string[] = [];
  for await (const { type, data } of source) {
    if (type === "test:fail") {
      if (data.todo !== undefined || !worthTelling(data.details.error)) continue;
      const title = `not ok ${data.name} (${place(data)})\n`;
      failures.push(`${title}${shown(data.details.error)}\n`);
      yield title;
    } else if (type === "test:pass") {
      if (data.skip === undefined) names.push(data.name);
      if (data.skip !== undefined) {
        yield `skip   ${data.name} (${place(data)})${typeof data.skip === "string" ? `: ${data.skip}` : ""}\n`;
      } else if (data.nesting > 0 || data.details.type !== "suite") {
        if (data.details.duration_ms > slowMs) yield `slow   ${data.name} ${seconds(data.details.duration_ms)}\n`;
      }
    } else if (type === "test:stderr" || type === "test:stdout") {
      yield data.message;
    } else if (type === "test:summary") {
      const { counts, duration_ms: durationMs, file } = data;
      const { tests, passed, skipped, todo } = counts;
      const bad = tests - passed - skipped - todo;
      if (file !== undefined) {
        yield `${bad === 0 ? "ok    " : "FAILED"} ${place({ file })} ${passed} passed${bad === 0 ? "" : `, ${bad} failed`} ${seconds(durationMs)}\n`;
        continue;
      }
      if (failures.length > 0) yield `\n${failures.join("")}`;
      const list = process.env["LMSTACK_PASSED_TESTS"] ?? "";
      if (list !== "") writeFileSync(list, JSON.stringify(names));
      yield `\n${passed} passed, ${bad} failed${skipped === 0 ? "" : `, ${skipped} skipped`} in ${seconds(durationMs)}\n`;
    }
  }
}
