// Fields found in the bytes of JSON: they are those that JSON.parse finds, however the text is written and cut.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FieldNames, JsonFieldScanner } from "../../src/api/json-fields.ts";
import { complaint, crumbs, cut, type Complaint } from "../http/traces.ts";
import { everySplit, offsets } from "../http/splits.ts";

const wanted = ["model", "stream", "sessión", "user id", "__proto__", "", '"', "\ud83d\ude00", "\u0000"];

interface Found {
  readonly ranges: readonly (readonly [string, number, number])[];
  readonly error: Complaint | null;
}

/** Pieces lie among quotes and are wiped when they have been fed: nothing around them is read, and nothing kept of them. */
function scan(pieces: readonly Buffer[], keys: readonly string[] = wanted): Found {
  const scanner = new JsonFieldScanner(new FieldNames(keys));
  let error: Complaint | null = null;
  try {
    for (const [i, piece] of pieces.entries()) {
      const before = i % 4;
      const lent = Buffer.concat([Buffer.alloc(before, 0x22), piece, Buffer.alloc(4, 0x22)]);
      scanner.feed(lent, before, before + piece.length);
      lent.fill(0x22);
    }
    scanner.end();
  } catch (caught) {
    error = complaint(caught);
  }
  const ranges = keys.flatMap((key) => {
    const range = error === null ? scanner.range(key) : null;
    return range === null ? [] : [[key, range.start, range.end] as const];
  });
  return { ranges: ranges.sort(([a], [b]) => (a < b ? -1 : 1)), error };
}

const space = fc.constantFrom("", "", " ", "\n", "\r\n\t ");

/** A string in one of the many ways of writing it. */
function written(text: string): fc.Arbitrary<string> {
  return fc.infiniteStream(fc.nat(4)).map((choices) => {
    let out = '"';
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      const lone = code >= 0xd800 && code <= 0xdfff;
      const { value: how = 0 } = choices.next() as { value?: number };
      const hex = code.toString(16).padStart(4, "0");
      if (how === 0 || (lone && how !== 4)) out += `\\u${how === 0 ? hex : hex.toUpperCase()}`;
      else if (lone) out += `\\u${hex}`;
      else out += JSON.stringify(text.charAt(i)).slice(1, -1);
    }
    return `${out}"`;
  });
}

/**
 * No key with a backslash in it: V8 13.6 (Node 24) is no oracle there. Once it has parsed an object with the key `\\`,
 * it reads the key of `{"\\u0061":1}` as `\\`, in any later object of the process. Such keys have a test of their own.
 */
function isJudged(text: string): boolean {
  return !text.includes("\\");
}

const key = fc.oneof(
  fc.constantFrom(...wanted),
  fc.string({ unit: "binary", maxLength: 6 }).filter(isJudged),
  fc.constantFrom("Model", "model ", "modél", "mode", "models"),
);
const value = fc.oneof(
  fc.json({ maxDepth: 3 }).filter((text) => !text.includes("\\\\")),
  fc.string({ unit: "binary" }).chain(written),
  fc.constantFrom(
    "true",
    "null",
    "-1.5e+10",
    "[]",
    "{}",
    '"model"',
    '{"model":"x"}',
    '["model","]"]',
    '"}"',
    '"\\\\"',
    '"\\""',
  ),
);
const member = fc
  .tuple(space, key.chain(written), space, space, value, space)
  .map(([a, name, b, c, text, d]) => `${a}${name}${b}:${c}${text}${d}`);
const object = fc
  .tuple(fc.array(member, { maxLength: 8 }), space, space, space)
  .map(([members, a, b, c]) => `${a}{${members.length === 0 ? b : members.join(",")}}${c}`);

test("the fields found are those of JSON.parse, the last of each key, however they are written and cut", () => {
  fc.assert(
    fc.property(object, offsets, (text, at) => {
      const bytes = Buffer.from(text);
      const parsed = JSON.parse(text) as Record<string, unknown>;
      const whole = scan([bytes]);
      assert.equal(whole.error, null, text);
      const found = new Map(whole.ranges.map(([name, start, end]) => [name, bytes.toString("utf8", start, end)]));
      for (const name of wanted) {
        assert.equal(found.has(name), Object.hasOwn(parsed, name), JSON.stringify(name));
        const range = found.get(name);
        if (range === undefined) continue;
        assert.equal(range, range.trim(), "no space around it");
        assert.deepEqual(JSON.parse(range), parsed[name]);
      }
      assert.deepEqual(scan(cut(bytes, at)), whole);
      assert.deepEqual(scan(crumbs(bytes)), whole);
    }),
    { numRuns: 3000 },
  );
});

test("any split of broken JSON gives the same fields and the same complaint, and what JSON.parse takes for an object is taken", () => {
  const broken = fc
    .tuple(object, fc.nat(500), fc.constantFrom(...'{}[]":,\\ax1 \n\0é'.split("")), fc.boolean())
    .map(([text, at, byte, insert]) => {
      const place = at % (text.length + 1);
      return text.slice(0, place) + byte + text.slice(insert ? place : place + 1);
    });
  fc.assert(
    fc.property(broken, offsets, (text, at) => {
      const bytes = Buffer.from(text);
      const whole = scan([bytes]);
      assert.deepEqual(scan(cut(bytes, at)), whole);
      assert.deepEqual(scan(crumbs(bytes)), whole);
      let parsed: unknown;
      try {
        parsed = JSON.parse(bytes.toString("utf8"));
      } catch {
        return;
      }
      if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed))
        assert.equal(whole.error, null, text);
      else assert.ok(whole.error !== null, text);
    }),
    { numRuns: 3000 },
  );
});

test("every cut of a body with escapes finds the same field", () => {
  const bytes = Buffer.from(
    '{"a":"\\\\","mod\\u0065l":"x\\"y\\\\","b":[{"model":"no"},"]"],"n":-1e5,"model" : "last" , "stream":true}',
  );
  const whole = scan([bytes]);
  assert.deepEqual(
    whole.ranges.map(([name, start, end]) => [name, bytes.toString("utf8", start, end)]),
    [
      ["model", '"last"'],
      ["stream", "true"],
    ],
  );
  for (const pieces of everySplit(bytes)) assert.deepEqual(scan(pieces), whole);
});

test("keys with backslashes and escapes are told apart by what they mean", () => {
  const text = String.raw`{"\\":1,"\u0061":2,"\u005c":3,"\\u0061":4,"\"":5,"\u0022":6,"\/":7,"/":8}`;
  const { ranges } = scan([Buffer.from(text)], ["\\", "a", "\\u0061", '"', "/"]);
  const found = Object.fromEntries(ranges.map(([name, start, end]) => [name, text.slice(start, end)]));
  assert.deepEqual(found, { "\\": "3", a: "2", "\\u0061": "4", '"': "6", "/": "8" });
});

test("what is no JSON object is told with the byte at which it breaks", () => {
  for (const [text, message] of [
    ["", /is empty/],
    ["  ", /is empty/],
    ["[1]", /not a JSON object: it begins with "\["/],
    ['"x"', /begins with/],
    ['{"a":1', /ends at byte 6, inside the object/],
    ['{"a":1}x', /something follows the object at byte 7/],
    ['{"a":1,}', /a key in double quotes is expected at byte 7/],
    ["{'a':1}", /a key in double quotes is expected at byte 1/],
    ['{"a" 1}', /a colon is expected at byte 5/],
    ['{"a":}', /a value is expected at byte 5/],
    ['{"a":1 "b":2}', /a comma or the end of the object is expected at byte 7/],
    ['{"a":[1}', /unexpected "}" at byte 7/],
    ['{"a":1;}', /unexpected character in a value at byte 6/],
    [`{"a":${"[".repeat(1025)}`, /nesting deeper than 1024/],
  ] as const) {
    const { error } = scan([Buffer.from(text)]);
    assert.equal(error?.code, "invalid_json", text);
    assert.match(error.message, message);
  }
});

test("values that Python reads and JSON has not are passed on, for the engine to judge", () => {
  assert.deepEqual(scan([Buffer.from('{"a":NaN,"b":-Infinity,"model":"m"}')]).ranges.length, 1);
});

test("a key longer than any that is looked for is skipped, and not kept", () => {
  const long = "k".repeat(5_000_000);
  const bytes = Buffer.from(`{"${long}":1,"model":"m"}`);
  for (const pieces of [
    [bytes],
    cut(
      bytes,
      Array.from({ length: 100 }, (_, i) => i * 50_000),
    ),
  ]) {
    assert.deepEqual(
      scan(pieces).ranges.map(([name]) => name),
      ["model"],
    );
  }
  // cut short at the limit it would read like one that is
  const shortened = `aaa${"\\u006d".repeat(105)}`;
  assert.deepEqual(scan([Buffer.from(`{"${shortened}":1}`)], [`aaa${"m".repeat(85)}`]).ranges, []);
});
