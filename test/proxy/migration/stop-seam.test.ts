// A stop string across the seam of two engines' texts: found as one engine would have found it in the whole.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StopScan } from "../../../src/proxy/migration/stop-seam.ts";

/** What one engine makes of a text: cut behind or before the first stop string. */
function unbroken(text: string, stops: readonly string[], includes: boolean): string {
  for (let end = 1; end <= text.length; end++) {
    const stop = stops.find((entry) => text.slice(0, end).endsWith(entry));
    if (stop !== undefined) return text.slice(0, includes ? end : end - stop.length);
  }
  return text;
}

/** What a client gets of the second part, and whether a stop string ended it. */
function joined(before: string, pieces: readonly string[], stops: readonly string[], includes: boolean) {
  const scan = new StopScan(stops, includes, before);
  let text = "";
  for (const piece of pieces) {
    const seam = scan.push(piece);
    text += seam.text;
    if (seam.stop !== null) return { text, stopped: true };
  }
  return { text: text + scan.rest(), stopped: false };
}

const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 6 });
const cases = fc.record({
  before: letters,
  pieces: fc.array(letters, { maxLength: 5 }),
  stop: fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 }),
});

test("with the stop string in the text, a client has the same text as of one engine, up to the seam's end", () => {
  fc.assert(
    fc.property(cases, ({ before, pieces, stop }) => {
      // the first engine would have stopped there
      fc.pre(!before.includes(stop));
      const after = pieces.join("");
      const got = joined(before, pieces, [stop], true);
      const across = (before + after).indexOf(stop, Math.max(0, before.length - stop.length + 1));
      const crosses = across >= 0 && across < before.length;
      assert.equal(got.stopped, crosses);
      // one behind the seam is the second engine's to find
      assert.equal(before + got.text, crosses ? unbroken(before + after, [stop], true) : before + after);
    }),
    { numRuns: 2000 },
  );
});

test("without it, nothing of it is given that was still to be given", () => {
  fc.assert(
    fc.property(cases, ({ before, pieces, stop }) => {
      fc.pre(!before.includes(stop));
      const after = pieces.join("");
      const got = joined(before, pieces, [stop], false);
      const across = (before + after).indexOf(stop, Math.max(0, before.length - stop.length + 1));
      const crosses = across >= 0 && across < before.length;
      assert.equal(got.stopped, crosses);
      if (crosses) assert.equal(got.text, "");
      else assert.equal(got.text, after);
    }),
    { numRuns: 2000 },
  );
});

test("a text that can't be a stop string's beginning is given at once", () => {
  const scan = new StopScan(["END!"], false, "The E");
  assert.deepEqual(scan.push("N"), { text: "", stop: null });
  assert.deepEqual(scan.push("ough"), { text: "Nough", stop: null });
  assert.deepEqual(scan.push(" is"), { text: " is", stop: null });
});
