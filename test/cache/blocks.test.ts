import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BlockHasher, blockBytes, maxHashedBytes } from "../../src/cache/blocks.ts";
import { textPrompt } from "./support.ts";

const text = fc.string({ minLength: 0, maxLength: 4000, unit: "grapheme" });

function common(a: Uint32Array, b: Uint32Array): number {
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  return Math.floor(i / 2);
}

test("two prompts share as many hashes as they share whole blocks at their start", () => {
  fc.assert(
    fc.property(text, text, text, (prefix, one, two) => {
      const a = Buffer.from(prefix + one);
      const b = Buffer.from(prefix + two);
      let same = 0;
      while (same < a.length && same < b.length && a[same] === b[same]) same++;
      const found = common(textPrompt(prefix + one).hashes, textPrompt(prefix + two).hashes);
      assert.equal(found, Math.floor(same / blockBytes));
    }),
  );
});

test("the hashes do not depend on the pieces in which the bytes come", () => {
  fc.assert(
    fc.property(text, fc.array(fc.nat(700), { maxLength: 30 }), (whole, cuts) => {
      const bytes = Buffer.from(whole.repeat(3));
      const hasher = new BlockHasher();
      hasher.begin("m");
      let at = 0;
      for (const cut of cuts) {
        const end = Math.min(bytes.length, at + cut);
        hasher.write(bytes, at, end);
        at = end;
      }
      hasher.write(bytes, at, bytes.length);
      assert.deepEqual(hasher.finish(4), textPrompt(whole.repeat(3)));
    }),
  );
});

test("nothing matches across models, adapters or salts", () => {
  const long = "a".repeat(2000);
  assert.equal(common(textPrompt(long, "m").hashes, textPrompt(long, "n").hashes), 0);
  const hasher = new BlockHasher();
  const bytes = Buffer.from(long);
  const hashes = [
    ["m", "ab"],
    ["m", "a"],
    ["ma", "b"],
  ].map((seed) => {
    hasher.begin(...seed);
    hasher.write(bytes, 0, bytes.length);
    return hasher.finish(4).hashes;
  });
  const [one, two, three] = hashes;
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  assert.equal(common(one, two) + common(two, three) + common(one, three), 0);
});

test("a prompt of 10 MB costs no more than the part that is hashed; its length stays true", () => {
  const bytes = Buffer.alloc(10 * 1024 * 1024, "lorem ipsum ");
  const hasher = new BlockHasher();
  hasher.begin("m");
  hasher.write(bytes, 0, bytes.length);
  hasher.mark(1);
  const prompt = hasher.finish(4);
  assert.equal(prompt.length, bytes.length + 1);
  assert.equal(prompt.blocks, maxHashedBytes / blockBytes);
});

test("a prompt of nothing has no blocks", () => {
  assert.equal(textPrompt("").blocks, 0);
  assert.equal(textPrompt("").length, 0);
});
