// Fields of forms: the last part with a name is found, and nothing inside another part or its file's name is taken for
// one.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Body } from "../../src/api/body.ts";
import { BufferPool } from "../../src/http/buffer-pool.ts";
import { findFormField, formBoundary } from "../../src/api/multipart.ts";
import { LmstackError } from "../../src/errors/catalogue.ts";
import { cut } from "../http/traces.ts";
import { offsets } from "../http/splits.ts";

function invalid(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof LmstackError);
    assert.equal(error.code, "invalid_form");
    return error.message;
  }
  return assert.fail("no complaint");
}

interface Part {
  readonly name: string;
  readonly file: string | null;
  readonly value: Uint8Array;
}

const boundary = "----WebKitFormBoundary7MA4YWxk";

function form(parts: readonly Part[]): Buffer {
  const out: Buffer[] = [];
  for (const { name, file, value } of parts) {
    const quoted = (text: string): string => text.replaceAll(/["\\]/g, "\\$&");
    const suffix = file === null ? "" : `; filename="${quoted(file)}"`;
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"${suffix}\r\nX: y\r\n\r\n`;
    out.push(Buffer.from(head), Buffer.from(value), Buffer.from("\r\n"));
  }
  return Buffer.concat([...out, Buffer.from(`--${boundary}--\r\n`)]);
}

const nasty = fc.constantFrom(
  "model",
  "file",
  "Model",
  'mo"del',
  "a; name=model",
  "\r\n",
  "--",
  boundary,
  "-",
  "x",
  "\\",
  "é",
);
const value = fc.oneof(
  fc.uint8Array({ maxLength: 30 }),
  fc.array(nasty, { maxLength: 5 }).map((words) => Buffer.from(words.join(""))),
);
const part = fc.record({
  name: fc.constantFrom("model", "file", "Model", 'mo"del', "a; name=model", "stream"),
  file: fc.option(fc.constantFrom("a.wav", "model", "a; name=model", 'x"; name="model', "C:\\dir\\")),
  value,
});

test("the last part with the name is found with its place, whatever else stands in the form and however it came", () => {
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), offsets, (parts, at) => {
      fc.pre(parts.every((one) => !Buffer.concat([Buffer.from("\r\n"), one.value]).includes(`\r\n--${boundary}`)));
      const bytes = form(parts);
      const body = new Body(new BufferPool(0), -1);
      for (const piece of cut(bytes, at)) body.add(piece);
      const found = findFormField(body.slice(0, body.length), boundary, "model");
      const last = parts.findLast(({ name }) => name === "model");
      if (last === undefined) {
        assert.equal(found, null);
        return;
      }
      assert.ok(found !== null);
      assert.deepEqual(bytes.subarray(found.start, found.end), Buffer.from(last.value));
      assert.equal(found.value, Buffer.from(last.value).toString("utf8"));
    }),
    { numRuns: 1500 },
  );
});

test("a form may have words before its first boundary and behind its last", () => {
  const bytes = Buffer.concat([
    Buffer.from("preamble\r\n"),
    form([{ name: "model", file: null, value: Buffer.from("m") }]),
    Buffer.from("epilogue"),
  ]);
  assert.equal(findFormField(bytes, boundary, "model")?.value, "m");
});

test("names are read with quotes, without, in any order and any case of the field", () => {
  for (const line of [
    "Content-Disposition: form-data; name=model",
    'content-disposition:form-data;name="model"',
    'CONTENT-DISPOSITION: form-data; filename="x"; NAME="model"',
    'Content-Disposition: form-data; filename="a; name=\\"file\\""; name="model"',
  ]) {
    assert.equal(findFormField(Buffer.from(`--b\r\n${line}\r\n\r\nm\r\n--b--`), "b", "model")?.value, "m", line);
  }
  for (const line of [
    'Content-Disposition: form-data; name="file"; filename="x; name=model"',
    'Content-Disposition: form-data; filename="x\\"; name=\\"model"',
    'Content-Disposition: form-data; x-name="model"',
    'Content-Disposition: form-data; name="Model"',
    'X-Content-Disposition: form-data; name="model"',
    'Content-Type: text/plain; name="model"',
  ]) {
    assert.equal(findFormField(Buffer.from(`--b\r\n${line}\r\n\r\nm\r\n--b--`), "b", "model"), null, line);
  }
});

// A line that only begins with the boundary was taken for one: vLLM's parser goes on reading data there, so the router
// could find another model than the engine.
test("a boundary that is followed by anything but the end of its line is refused", () => {
  const field = 'Content-Disposition: form-data; name="model"\r\n\r\n';
  for (const text of [
    `--b\r\n${field}m\r\n--bc\r\n${field}evil\r\n--b--`,
    `--b \r\n${field}m\r\n--b--`,
    `--b\r\n${field}m\r\n--b-\r\n`,
    `--b\n${field}m\r\n--b--`,
  ]) {
    assert.match(
      invalid(() => findFormField(Buffer.from(text), "b", "model")),
      /boundary is not at the end of its line/,
    );
  }
});

test("a form without its boundary, or whose last part has no end, says so", () => {
  const field = 'Content-Disposition: form-data; name="model"\r\n\r\nm';
  assert.match(
    invalid(() => findFormField(Buffer.from("{}"), "b", "model")),
    /boundary does not occur/,
  );
  assert.match(
    invalid(() => findFormField(Buffer.alloc(0), "b", "model")),
    /boundary does not occur/,
  );
  assert.match(
    invalid(() => findFormField(Buffer.from(`--b\r\n${field}`), "b", "model")),
    /last part has no end/,
  );
  assert.match(
    invalid(() => findFormField(Buffer.from(`--b\r\n${field}\r\n--b\r\n`), "b", "model")),
    /last part has no end/,
  );
});

test("the boundary is read from the content type, quoted or not", () => {
  for (const [type, expected] of [
    ["multipart/form-data; boundary=abc", "abc"],
    ['Multipart/Form-Data;BOUNDARY="a b;c"', "a b;c"],
    ['multipart/form-data; charset="x; boundary=no"; boundary=yes', "yes"],
    ["multipart/form-data; x-boundary=no; boundary=yes", "yes"],
    ["multipart/form-data ; boundary=abc ; charset=utf-8", "abc"],
  ] as const) {
    assert.equal(formBoundary(type), expected);
  }
  for (const type of [
    null,
    "",
    "application/json",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    `multipart/form-data; boundary=${"x".repeat(71)}`,
    "multipart/mixed; boundary=a",
  ]) {
    assert.match(
      invalid(() => formBoundary(type)),
      /multipart\/form-data with a boundary/,
    );
  }
});
