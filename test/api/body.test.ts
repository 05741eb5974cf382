// A body in pieces behaves like one buffer, and does not cost an object a byte.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Body } from "../../src/api/body.ts";

/** Around the sizes at which pieces are joined. */
const size = fc.oneof(fc.nat(10), fc.constantFrom(4095, 4096, 4097, 20_000));
const piece = size.chain((length) => fc.nat(255).map((byte) => Buffer.alloc(length, byte === 0 ? "abc" : byte)));

test("slices and splices are those of one buffer, wherever they stand and whoever looked before", () => {
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.nat(),
      fc.nat(),
      fc.nat(12),
      fc.uint8Array({ maxLength: 5 }),
      (pieces, a, b, looked, replacement) => {
        const body = new Body();
        for (const [i, one] of pieces.entries()) {
          body.add(one);
          if (i === looked) assert.ok(body.pieces.length > 0);
        }
        const whole = Buffer.concat(pieces);
        const [start = 0, end = 0] = [a % (whole.length + 1), b % (whole.length + 1)].sort((x, y) => x - y);
        assert.equal(body.length, whole.length);
        assert.ok(Buffer.concat([...body.pieces]).equals(whole));
        assert.ok(body.slice(start, end).equals(whole.subarray(start, end)));
        const spliced = Buffer.concat([whole.subarray(0, start), replacement, whole.subarray(end)]);
        assert.ok(Buffer.concat(body.splice(start, end, Buffer.from(replacement))).equals(spliced));
        assert.ok(Buffer.concat([...body.pieces]).equals(whole), "the body itself is not changed");
      },
    ),
    { numRuns: 600 },
  );
});

test("a body in pieces of a byte is kept in few pieces, a large one is not copied", () => {
  const crumbs = new Body();
  for (let i = 0; i < 300_000; i++) crumbs.add(Buffer.from([i & 0xff]));
  assert.ok(crumbs.pieces.length < 10, `${crumbs.pieces.length} pieces`);
  assert.equal(crumbs.slice(299_999, 300_000)[0], 299_999 & 0xff);
  const large = Buffer.alloc(1024 * 1024);
  const body = new Body();
  body.add(large);
  assert.equal(body.pieces[0], large);
  assert.equal(body.slice(10, 20).buffer, large.buffer);
});
