// Lists of token ids in a body: read as JSON would read them, however long the numbers and wherever the list stands.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";

import { readTokenIds } from "../../src/api/token-ids.ts";

/** As many digits as an id may have, each number of them as often. */
const tokenId = fc
  .integer({ min: 1, max: 9 })
  .chain((digits) => fc.integer({ min: digits === 1 ? 0 : 10 ** (digits - 1), max: 10 ** digits - 1 }));
const space = fc.constantFrom("", "", "", " ", "\n", "\t", "\r\n  ");

describe("a list of token ids", () => {
  test("is read as JSON reads it, whatever stands before, between and behind", () => {
    const list = fc.array(fc.tuple(space, tokenId, space), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(
        list,
        fc.string({ maxLength: 9 }),
        fc.constantFrom("", "}", ',"n":1}', "     ]"),
        (parts, before, behind) => {
          const text = `[${parts.map((part) => part.join("")).join(",")}]`;
          const lead = Buffer.from(before);
          const body = Buffer.concat([lead, Buffer.from(text + behind)]);
          const { ids, whole } = readTokenIds(body, lead.length);
          assert.equal(whole, true);
          assert.deepEqual([...ids], JSON.parse(text));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("ends with what is no id, and says so", () => {
    const cases: readonly (readonly [string, readonly number[]])[] = [
      ["[1, 22, 333, -4, 5]", [1, 22, 333]],
      ["[12345, 1.5, 7]", [12345, 1]],
      ["[12345,123456,1e3,12345678]", [12345, 123456, 1]],
      ["[50256,50256,true,50256,50256]", [50256, 50256]],
      ["[50256,50256,[50256],50256]", [50256, 50256]],
      ["[50256,50256,/////,50256]", [50256, 50256]],
      ["[50256,50256,:::::,50256]", [50256, 50256]],
      ["[50256,5025\u00e9,50256,50256]", [50256, 5025]],
      ["[50256,]", [50256]],
      ["[50256,50256", [50256, 50256]],
      ["[50256,50256,", [50256, 50256]],
      ["[", []],
    ];
    for (const [text, ids] of cases) {
      assert.deepEqual(
        { ids: [...readTokenIds(Buffer.from(text), 0).ids], whole: readTokenIds(Buffer.from(text), 0).whole },
        { ids, whole: false },
        text,
      );
    }
  });

  test("does not look beyond its own part of a larger buffer", () => {
    const memory = Buffer.from("[11111,22222]33333,44444]");
    assert.deepEqual([...readTokenIds(memory.subarray(0, 11), 0).ids], [11111, 2222]);
  });
});
