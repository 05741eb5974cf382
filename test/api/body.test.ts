// A body behaves like one buffer, keeps nothing of what it was lent, and gives its memory back.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Body } from "../../src/api/body.ts";
import { BufferPool } from "../../src/http/buffer-pool.ts";

/** Around the sizes at which memory grows. */
const size = fc.oneof(fc.nat(10), fc.constantFrom(4095, 4096, 4097, 20_000));
const piece = size.chain((length) => fc.nat(255).map((byte) => Buffer.alloc(length, byte === 0 ? "abc" : byte)));

test("slices and edits are those of one buffer, whatever length was announced and whoever used the memory before", () => {
  const pool = new BufferPool(1024 * 1024);
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.nat(),
      fc.nat(),
      fc.constantFrom(-1, 0, 1, 5_000, 50_000, "exact" as const),
      fc.uint8Array({ maxLength: 5 }),
      (pieces, a, b, announced, replacement) => {
        const whole = Buffer.concat(pieces);
        const body = new Body(pool, announced === "exact" ? whole.length : announced);
        for (const one of pieces) {
          const lent = Buffer.concat([Buffer.from("around"), one, Buffer.from("it")]);
          body.add(lent, 6, 6 + one.length);
          lent.fill(0);
        }
        const [start = 0, end = 0] = [a % (whole.length + 1), b % (whole.length + 1)].sort((x, y) => x - y);
        assert.equal(body.length, whole.length);
        const outgoing = body.outgoing();
        assert.ok(
          (typeof outgoing === "string" ? Buffer.from(outgoing, "latin1") : Buffer.concat([...outgoing])).equals(whole),
        );
        assert.equal(body.text(start, end), whole.toString("utf8", start, end));
        assert.ok(body.whole().equals(whole));
        assert.ok(body.slice(start, end).equals(whole.subarray(start, end)));
        assert.equal(body.text(start, end), whole.toString("utf8", start, end));
        const spliced = Buffer.concat([whole.subarray(0, start), replacement, whole.subarray(end)]);
        assert.ok(Buffer.concat(body.edited([{ start, end, bytes: Buffer.from(replacement) }])).equals(spliced));
        assert.ok(body.whole().equals(whole), "the body itself is not changed");
        body.release(true);
        assert.equal(body.length, 0);
      },
    ),
    { numRuns: 600 },
  );
});

test("a body in pieces of a byte costs its own length a few times over, not its square", () => {
  const body = new Body(new BufferPool(0), -1);
  for (let i = 0; i < 300_000; i++) body.add(Buffer.from([i & 0xff]));
  assert.equal(body.slice(299_999, 300_000)[0], 299_999 & 0xff);
});

test("a length that is only announced takes no more than a megabyte", () => {
  const pool = new BufferPool(1e9);
  const body = new Body(pool, 1e9);
  body.add(Buffer.from("x"));
  body.release(true);
  assert.equal(pool.freeBytes, 1024 * 1024);
});

test("memory given back is used again, within the pool's limit, and not where somebody may still read it", () => {
  const pool = new BufferPool(100_000);
  const first = pool.take(60_000);
  pool.give(first);
  assert.equal(pool.take(65_536), first);
  pool.give(first);
  pool.give(Buffer.allocUnsafeSlow(65_536));
  assert.equal(pool.freeBytes, 65_536, "beyond the limit it is left to the collector");
  const body = new Body(pool, 60_000);
  body.add(Buffer.from("x"));
  body.release(false);
  assert.equal(pool.freeBytes, 0);
});

test("a plain string is told without a parser, whatever the body is kept as; anything else is not", () => {
  const pool = new BufferPool(1024);
  const part = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.constantFrom('"', "\\", '\\"', "\n", "\u007f", "é"),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 4 }), fc.boolean(), fc.boolean(), (parts, escaped, announced) => {
      const inside = parts.join("");
      const text = escaped ? JSON.stringify(inside) : `"${inside}"`;
      const bytes = Buffer.from(text);
      const body = new Body(pool, announced ? bytes.length : -1);
      body.add(bytes);
      const plain = /^"[\x20-\x7e]*"$/.test(text) && !/["\\]/.test(text.slice(1, -1));
      assert.equal(body.plainString(0, bytes.length), plain ? text.slice(1, -1) : null);
      body.release(true);
    }),
    { numRuns: 500 },
  );
  const body = new Body(pool, 1);
  body.add(Buffer.from('"'));
  assert.equal(body.plainString(0, 1), null);
});
