// How large a request line, a header and a number of headers may be: every recorded size, and the server's answer to it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import { send } from "./support.ts";

const recorded = JSON.parse(readFileSync(new URL("fixtures/http_limits.json", import.meta.url), "utf8")) as Readonly<
  Record<string, string>
>;

/** Builds the request that a recorded name stands for. */
function requestOf(name: string): string {
  const [, amount = "", kind = ""] = /^(?:one_header_|url_)?(\d+)(KiB|_extra_headers)$/.exec(name) ?? [];
  const count = Number(amount) * (kind === "KiB" ? 1024 : 1);
  assert.ok(count > 0, `${name} is understood`);
  if (name.startsWith("url_")) return `GET /health?${"q".repeat(count)} HTTP/1.1\r\nhost: x\r\n\r\n`;
  const headers = name.startsWith("one_header_")
    ? `x-big: ${"a".repeat(count)}\r\n`
    : Array.from({ length: count }, (_, at) => `x-extra-${at}: v\r\n`).join("");
  return `GET /health HTTP/1.1\r\nhost: x\r\n${headers}\r\n`;
}

test("every recorded size of request line and headers gets the recorded status", async (t) => {
  const engine = await startEngine({ preset: "fast" });
  t.after(() => engine.close());
  const found: Record<string, string> = {};
  for (const name of Object.keys(recorded)) found[name] = (await send(engine, requestOf(name))).response.statusLine;
  assert.deepEqual(found, recorded);
});
