// Templates that connections share: who sends the same lines has one, each origin its own, and nobody is remembered for ever.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HeadTemplate, HeadTemplates } from "../../src/http/head-template.ts";
import type { HeaderList } from "../../src/http/head.ts";

const changing = ["content-length", "x-request-id"];

interface Head {
  readonly name: string;
}

function made(fields: HeaderList, name: string): HeadTemplate<Head> {
  let text = "POST /v1/completions HTTP/1.1";
  for (let i = 0; i < fields.length; i += 2) text += `\r\n${fields[i]}: ${fields[i + 1]}`;
  const template = HeadTemplate.of<Head>(text, fields, changing, { name });
  assert.ok(template !== null);
  return template;
}

function matches(template: HeadTemplate<Head>, head: string): boolean {
  const bytes = Buffer.from(head, "latin1");
  return template.match(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
}

test("heads that differ only in length and id have one template, others and other origins have theirs", () => {
  const shared = new HeadTemplates<Head>();
  const first = shared.share(made(["host", "a", "content-length", "10"], "first"), "http 10.0.0.1");
  const same = shared.share(made(["host", "a", "content-length", "2000"], "same"), "http 10.0.0.1");
  assert.equal(same, first);
  assert.deepEqual(same.head, { name: "first" });
  for (const [fields, origin] of [
    [["host", "b", "content-length", "10"], "http 10.0.0.1"],
    [["host", "a", "x-request-id", "10"], "http 10.0.0.1"],
    [["content-length", "10", "host", "a"], "http 10.0.0.1"],
    [["host", "a", "content-length", "10"], "http 10.0.0.2"],
    [["host", "a", "content-length", "10"], "https 10.0.0.1"],
  ] as const) {
    const other = made(fields, "other");
    assert.equal(shared.share(other, origin), other, `${fields.join()} of ${origin}`);
  }
});

test("one more kind of head than is remembered takes nothing from those that are in use", () => {
  const shared = new HeadTemplates<Head>();
  const kept = Array.from({ length: 600 }, (_, i) => shared.share(made(["host", `h${i}`], `${i}`), ""));
  for (const [i, template] of kept.entries()) {
    assert.ok(matches(template, `POST /v1/completions HTTP/1.1\r\nhost: h${i}\r\n\r\n`));
  }
  const last = shared.share(made(["host", "h599"], "again"), "");
  assert.equal(last.head.name, "599");
});

test("a head is recognised exactly where it is the same but for its holes, whichever byte is another one", () => {
  const head =
    "POST /v1/completions HTTP/1.1\r\nhost: engines\r\nx-request-id: abc\r\naccept: */*\r\ncontent-length: 12\r\n\r\n";
  const template = made(["host", "engines", "x-request-id", "abc", "accept", "*/*", "content-length", "12"], "it");
  const hole = (at: number): boolean => {
    const lineStart = head.lastIndexOf("\r\n", at) + 2;
    const value = head.indexOf(": ", lineStart) + 2;
    return (
      at >= value &&
      at < head.indexOf("\r\n", lineStart) &&
      /^(x-request-id|content-length):/.test(head.slice(lineStart))
    );
  };
  assert.ok(matches(template, head));
  fc.assert(
    fc.property(fc.nat(head.length - 1), fc.nat(255), fc.nat(7), (at, code, before) => {
      const changed = head.slice(0, at) + String.fromCharCode(code) + head.slice(at + 1);
      if (changed === head || hole(at)) return;
      const bytes = Buffer.from("x".repeat(before) + changed, "latin1");
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      assert.equal(template.match(bytes, view, before, bytes.length), false, JSON.stringify(changed));
      assert.ok(matches(template, head));
    }),
    { numRuns: 3000 },
  );
});
